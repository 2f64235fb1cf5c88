"""JSON Web Tokens, checked as the usual packages for DRF do: by key, then by user."""

import time

import jwt
from django.conf import settings
from django.contrib.auth import get_user_model
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed

SECONDS = 24 * 3600


class TokenAuthentication(BaseAuthentication):
    def authenticate(self, request):
        kind, _, token = get_authorization_header(request).decode().partition(" ")
        if kind != "Bearer":
            return None
        try:
            claims = jwt.decode(token, settings.SECRET_KEY, algorithms=["HS256"])
            user = get_user_model().objects.get(pk=claims["user_id"], is_active=True)
        except (jwt.InvalidTokenError, get_user_model().DoesNotExist):
            raise AuthenticationFailed from None
        return user, claims

    def authenticate_header(self, request):
        return "Bearer"


def token_of(user) -> str:
    claims = {"user_id": str(user.pk), "exp": int(time.time()) + SECONDS}
    return jwt.encode(claims, settings.SECRET_KEY, "HS256")
