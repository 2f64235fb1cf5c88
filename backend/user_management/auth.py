"""How people sign in, and how a request says who it is from."""

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.auth_backends import AuthenticationBackend
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.headless.contrib.rest_framework.authentication import (
    JWTTokenAuthentication,
)
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import HttpResponse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication, exceptions

from core.problems import problem_response
from user_management.models import User


def refusal(request, status: int, code: str, detail: str) -> ImmediateHttpResponse:
    """An answer for allauth to give: a problem in the API, words on a page."""
    if request is not None and request.path.startswith("/api/"):
        return ImmediateHttpResponse(problem_response(status, code, detail))
    return ImmediateHttpResponse(
        HttpResponse(detail, status=status, content_type="text/plain")
    )


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

    def _authenticate_by_email(self, email, password):
        """One question for every kind of account: none takes longer than another.

        allauth would look among the addresses that it keeps, too.
        """
        user = User.objects.filter(email=email.lower()).first()
        return self._check_password(user, password)

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

    def set_password(self, user, password):
        """Refuse a password whose right to be set was used up in the meantime.

        The old one, or a link made from it, was checked before; of two such requests
        in parallel the second finds another password than it has read.
        """
        with transaction.atomic():
            locked = User.objects.select_for_update(of=("self",)).get(pk=user.pk)
            if locked.password != user.password:
                raise refusal(
                    context.request, 409, "stale", "The password was just changed."
                )
            super().set_password(user, password)

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
