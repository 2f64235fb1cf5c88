"""How people sign in, and how a request says who it is from."""

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.auth_backends import AuthenticationBackend
from allauth.headless.contrib.rest_framework.authentication import (
    JWTTokenAuthentication,
)
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.exceptions import ImproperlyConfigured
from django.shortcuts import resolve_url
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication, exceptions

from user_management.models import User


class Backend(AuthenticationBackend):
    """Signs in by e-mail and password, and loads a user with all that rights need."""

    def authenticate(self, request, **credentials):
        # Imported here: limits need allauth's adapter, which needs the settings' hooks.
        from user_management.limits import Try

        name = credentials.get("email") or credentials.get("username") or ""
        tried = Try(request, "password", name)
        user = super().authenticate(request, **credentials)
        # With the right password allauth would call an account inactive.
        self.unstash_authenticated_user()
        if user:
            tried.give_back()
        return user

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

    def get_login_redirect_url(self, request):
        """Staff go to their admin, others to their account."""
        return resolve_url("admin:index" if request.user.is_staff else "account")

    def get_client_ip(self, request):
        """The address of the connection, or what the last trusted proxy saw."""
        try:
            return super().get_client_ip(request)
        except ImproperlyConfigured:
            # Fewer addresses than proxies: this request did not come through them.
            return request.META["REMOTE_ADDR"]


class ResetTokenGenerator(PasswordResetTokenGenerator):
    def _make_hash_value(self, user, timestamp):
        """A link sent before somebody left does not work when they have."""
        return f"{super()._make_hash_value(user, timestamp)}{user.is_active}"


def lacks_two_factor(user) -> bool:
    """Whether the role asks for 2FA that the user has not set up yet."""
    return user.role.requires_two_factor and not is_mfa_enabled(
        user, (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
    )


class TwoFactorGate:
    """Refuses everything in the API to a session that is to set up 2FA first."""

    def authenticate(self, request):
        found = super().authenticate(request)
        if found and lacks_two_factor(found[0]):
            raise exceptions.PermissionDenied(
                "Your role requires two-factor authentication. Set it up first.",
                "two_factor_required",
            )
        return found


class TokenAuthentication(TwoFactorGate, JWTTokenAuthentication):
    """`Authorization: Bearer <access token>`, as the sign-in gave it."""


class SessionAuthentication(TwoFactorGate, authentication.SessionAuthentication):
    """The session cookie of a page in a browser."""


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = TokenAuthentication
    name = "bearer"

    def get_security_definition(self, auto_schema):
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = SessionAuthentication
    name = "cookieAuth"

    def get_security_definition(self, auto_schema):
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
