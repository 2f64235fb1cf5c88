"""How people sign in, and how a request says who it is from."""

import re
from hmac import compare_digest
from types import SimpleNamespace

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.auth_backends import AuthenticationBackend
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.headless.contrib.rest_framework.authentication import (
    JWTTokenAuthentication,
)
from allauth.headless.tokens.strategies.jwt.internal import (
    get_token_session,
    session_key_from_sid,
)
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import resolve_url
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.auth import TokenAuthentication as KnoxAuthentication
from knox.crypto import hash_token
from knox.settings import CONSTANTS, knox_settings
from rest_framework import authentication, exceptions

from core.problems import problem_response
from user_management.models import ApiKey, User
from user_management.remembered import Remembered, key_of_session

KEY = re.compile(rf"{knox_settings.TOKEN_PREFIX}[0-9a-f]{{64}}", re.ASCII)
OWNER_WITH_RIGHTS = ("owner__organization", "owner__role", "owner__team")


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

    def get_login_redirect_url(self, request):
        """Staff go to their admin, others to their account."""
        return resolve_url("admin:index" if request.user.is_staff else "account")

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


class TokenAuthentication(Remembered, TwoFactorGate, JWTTokenAuthentication):
    """`Authorization: Bearer <access token>`, as the sign-in gave it."""

    def stands_on(self, token):
        session_key = session_key_from_sid(token["sid"])
        return [key_of_session(session_key)], token["exp"]


class SessionAuthentication(TwoFactorGate, authentication.SessionAuthentication):
    """The session cookie of a page in a browser."""


class KeyAuthentication(Remembered, TwoFactorGate, KnoxAuthentication):
    """`Authorization: Api-Key <API key>`, in the name of the key's owner.

    A key is made and hashed by django-rest-knox. But one that ended stays in the
    database, and the owner comes with all that rights need, in one query.
    """

    scheme = "Api-Key"

    def authenticate_header(self, request):
        return self.scheme

    def stands_on(self, key):
        return [], key.expiry.timestamp()

    def authenticate_credentials(self, token: bytes):
        text = token.decode(errors="replace")
        if KEY.fullmatch(text):
            digest = hash_token(text)
            found = ApiKey.objects.select_related(*OWNER_WITH_RIGHTS).filter(
                prefix=text[: CONSTANTS.TOKEN_KEY_LENGTH]
            )
            for key in found:
                usable = key.is_live and key.owner.is_active
                if compare_digest(digest, key.digest) and usable:
                    key.note_use()
                    key.owner.api_key = key
                    return key.owner, key
        raise exceptions.AuthenticationFailed("Invalid API key.")


class BearerKeyAuthentication(KeyAuthentication):
    """`Authorization: Bearer <API key>`; a bearer token that is no key goes on."""

    scheme = "Bearer"

    def authenticate(self, request):
        header = request.headers.get("Authorization", "").lower()
        if not header.startswith(f"bearer {knox_settings.TOKEN_PREFIX}"):
            return None
        return super().authenticate(request)


def signed_in_at(user, request) -> float:
    """When the person of the request's session last signed in or did so again.

    Returns:
        Seconds since the epoch; 0 where there is no session that knows.
    """
    token = getattr(request, "auth", None)
    session = get_token_session(token) if isinstance(token, dict) else request.session
    records = get_authentication_records(SimpleNamespace(session=session or {}), user)
    return max((record["at"] for record in records), default=0)


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = TokenAuthentication
    name = "bearer"

    def get_security_definition(self, auto_schema):
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class KeyScheme(OpenApiAuthenticationExtension):
    target_class = KeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema):
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Api-Key <key>`.",
        }


class BearerKeyScheme(OpenApiAuthenticationExtension):
    target_class = BearerKeyAuthentication
    name = "bearerApiKey"

    def get_security_definition(self, auto_schema):
        return {"type": "http", "scheme": "bearer", "bearerFormat": "An API key"}


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = SessionAuthentication
    name = "cookieAuth"

    def get_security_definition(self, auto_schema):
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
