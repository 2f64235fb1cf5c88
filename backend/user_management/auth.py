"""How people sign in, and how a request says who it is from."""

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.auth_backends import AuthenticationBackend
from allauth.headless.contrib.rest_framework.authentication import (
    JWTTokenAuthentication,
)
from drf_spectacular.extensions import OpenApiAuthenticationExtension

from user_management.models import User


class Backend(AuthenticationBackend):
    """Signs in by e-mail and password, and loads a user with all that rights need."""

    def get_user(self, user_id):
        user = (
            User.objects.select_related("organization", "role", "team")
            .filter(pk=user_id)
            .first()
        )
        return user if user and self.user_can_authenticate(user) else None


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request):
        """Nobody signs up: organizations are made by a command, people by them."""
        return False


class TokenAuthentication(JWTTokenAuthentication):
    """`Authorization: Bearer <access token>`, as the sign-in gave it."""


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = TokenAuthentication
    name = "bearer"

    def get_security_definition(self, auto_schema):
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
