"""Tokens that are none of ours, or not any more, on every address but the public."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from datetime import timedelta

import jwt
from allauth.headless.base.views import AuthenticatedAPIView
from allauth.headless.tokens.strategies.jwt import internal
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.test import Client, tag
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from knox.crypto import hash_token
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.settings import api_settings

from core.models import Change
from core.testing import make_user
from user_management.models import ApiKey
from user_management.scopes import scopes

from .test_api_keys import make_key
from .test_sign_in import APP, ME, SessionStore, SignInTestCase, User

# Open to everybody; each for a reason of its own.
PUBLIC = ("api/docs/", "api/schema/", "api/health/", "api/invitations/")
METHODS = ("get", "post", "put", "patch", "delete")
# A view of ours, one that writes, and one of the sign-in.
SOME = (
    ("get", ME),
    ("post", "/api/contacts/"),
    ("get", f"{APP}account/authenticators"),
)
SECRET = settings.SECRET_KEY


def patterns(resolver=None, prefix=""):
    """Every (address, pattern) of the program under /api/."""
    for pattern in (resolver or get_resolver()).url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from patterns(pattern, path)
        elif isinstance(pattern, URLPattern) and path.startswith("api/"):
            yield path, pattern


def view_class(pattern):
    callback = pattern.callback
    return getattr(callback, "cls", None) or getattr(callback, "view_class", None)


def endpoints() -> list[tuple[str, str]]:
    """(method, address) of all that takes a sign-in, that of sign-in itself too."""
    found = []
    for path, pattern in patterns():
        view = view_class(pattern)
        address = "/" + path.replace("<uuid:pk>", str(uuid.uuid4()))
        if view is None or path.startswith(PUBLIC):
            continue
        if path.startswith("api/auth/"):
            if "/app/" in path and issubclass(view, AuthenticatedAPIView):
                names = [name for name in METHODS if hasattr(view, name)]
                found += [(name, address) for name in names]
        else:
            actions = pattern.callback.actions
            found += [(name, address) for name in METHODS if name in actions]
    return found


def encoded(part: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def signed(header: dict, payload: dict, secret: str = SECRET) -> str:
    """A token signed by hand, whatever its header says."""
    text = f"{encoded(header)}.{encoded(payload)}"
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


@tag("once")
class ForgedTokenTests(SignInTestCase):
    def session_of(self, token) -> str:
        return internal.session_key_from_sid(self.payload_of(token)["sid"])

    def payload_of(self, token) -> dict:
        return jwt.decode(token, SECRET, algorithms=["HS256"])

    def colleague(self, name) -> User:
        role = self.cast.alice.role
        return make_user(self.cast.organization, f"{name}{uuid.uuid4().hex}", role)

    def forged_jwts(self) -> dict[str, str]:
        mine = self.tokens()
        token = mine["access_token"]
        payload = self.payload_of(token)
        head, body, signature = token.split(".")
        other = self.tokens()["access_token"]
        good = {"alg": "HS256", "typ": "JWT"}
        none = encoded({"alg": "none", "typ": "JWT"})
        stranger = str(self.cast.stranger.pk)
        changed = "A" if signature[0] != "A" else "B"
        ended = self.tokens()["access_token"]
        for row in UserSession.objects.filter(session_key=self.session_of(ended)):
            row.end()
        emptied = self.tokens()["access_token"]
        session = SessionStore(self.session_of(emptied))
        session.flush()
        nobodys = self.tokens()["access_token"]
        nobody = str(uuid.uuid4())
        session = SessionStore(self.session_of(nobodys))
        session["_auth_user_id"] = nobody
        session.save()
        nobodys = jwt.encode({**self.payload_of(nobodys), "sub": nobody}, SECRET)
        return {
            "nothing": "",
            "alg none, no signature": f"{none}.{body}.",
            "alg none, its signature": f"{none}.{body}.{signature}",
            "alg NONE": f"{encoded({'alg': 'NONE'})}.{body}.",
            "no alg": signed({"typ": "JWT"}, payload),
            "alg HS512 named, HS256 used": signed({"alg": "HS512"}, payload),
            "HS512 by our secret": jwt.encode(payload, SECRET, "HS512"),
            "another installation's": jwt.encode(payload, "x" * 50, "HS256"),
            "signed with nothing": signed(good, payload, ""),
            "signed with what is public": signed(good, payload, "MyCRM"),
            "kid of a file": signed({**good, "kid": "/dev/null"}, payload, ""),
            "kid of SQL": signed({**good, "kid": "' UNION SELECT ''--"}, payload, ""),
            "its own key in jwk": signed(
                {**good, "jwk": {"kty": "oct", "k": "eA"}}, payload, "x"
            ),
            "a key's address in jku": signed(
                {**good, "jku": "https://example.com/keys"}, payload, "x"
            ),
            "critical header": signed({**good, "crit": ["exp"]}, payload, "x"),
            "expired": jwt.encode({**payload, "exp": time.time() - 1}, SECRET),
            "not yet": jwt.encode({**payload, "nbf": time.time() + 999}, SECRET),
            "a refresh token": mine["refresh_token"],
            "no use": jwt.encode({**payload, "token_use": None}, SECRET),
            "another's id": jwt.encode({**payload, "sub": stranger}, SECRET),
            "no session": jwt.encode({**payload, "sid": ""}, SECRET),
            "a made up session": jwt.encode(
                {**payload, "sid": internal.session_key_to_sid("x" * 32)}, SECRET
            ),
            "of a user who is not there": nobodys,
            "session ended": ended,
            "session emptied": emptied,
            "the session's own key": self.session_of(token),
            "truncated": token[:-1],
            "one part": body,
            "no signature": f"{head}.{body}.",
            "changed signature": f"{head}.{body}.{changed}{signature[1:]}",
            "signature of another token": f"{head}.{body}.{other.split('.')[2]}",
            "body of another token": f"{head}.{other.split('.')[1]}.{signature}",
            "twice": f"{token}.{token}",
            "with a NUL": f"{token}\0",
            "no ASCII": f"{token}\xff",
        }

    def forged_keys(self) -> dict[str, str]:
        everything = sorted(scopes())
        ada = self.colleague("ada")
        _, good = make_key(ada, *everything)
        _, another = make_key(ada, *everything)
        revoked, revoked_text = make_key(ada, *everything)
        expired, expired_text = make_key(ada, *everything)
        empty, empty_text = make_key(ada, *everything)
        odd, odd_text = make_key(ada, *everything)
        # By hand, around the journal and every rule.
        rows = ApiKey._base_manager
        now = timezone.now()
        rows.filter(pk=revoked.pk).update(revoked_at=now)
        rows.filter(pk=expired.pk).update(expiry=now - timedelta(seconds=1))
        rows.filter(pk=empty.pk).update(scopes=[])
        rows.filter(pk=odd.pk).update(scopes="contacts:read")
        left, left_text = make_key(self.colleague("left"), *everything)
        User._base_manager.filter(pk=left.owner_id).update(is_active=False)
        gone = "mycrm_" + "0123456789abcdef" * 4
        changed = "0" if good[-1] != "0" else "1"
        return {
            "a key's changed last character": good[:-1] + changed,
            "a key with another's secret": good[:15] + another[15:],
            "a key's beginning": good[:15],
            "a key truncated": good[:-1],
            "a key with more": good + "0",
            "a key in capitals": "mycrm_" + good[6:].upper(),
            "a key without its prefix": good[6:],
            "a key's digest": hash_token(good),
            "a key that never was": gone,
            "a key revoked": revoked_text,
            "a key expired": expired_text,
            "a key of somebody who left": left_text,
            "a key without scopes": empty_text,
            "a key whose scopes are no list": odd_text,
            "a key with a NUL": good + "\0",
            "a key and no ASCII": good[:-1] + "\xff",
            "a key and SQL": good[:15] + "' OR '1'='1",
            "two keys": f"{good} {another}",
        }

    def assertRefused(self, tokens: dict[str, str], scheme: str, addresses):
        client = Client(REMOTE_ADDR=self.address, raise_request_exception=False)
        accepted = {}
        asked = addresses
        for name, token in tokens.items():
            for method, address in asked:
                answer = client.generic(
                    method.upper(),
                    address,
                    "{}",
                    "application/json",
                    headers={"Authorization": f"{scheme} {token}"},
                )
                if answer.status_code != 401:
                    accepted[scheme, name, method, address] = answer.status_code
            # All views look at tokens by the same classes, so a few are enough for all
            # tokens but the first.
            asked = [one for one in addresses if one in SOME]
        self.assertEqual(accepted, {})

    def test_the_addresses_are_those_of_the_whole_program(self):
        found = endpoints()
        self.assertIn(("get", ME), found)
        self.assertIn(("post", "/api/contacts/"), found)
        self.assertIn(("get", f"{APP}account/authenticators"), found)
        self.assertGreater(len(found), 60)

    def test_what_is_open_to_all_is_known(self):
        for path, pattern in patterns():
            view = view_class(pattern)
            if path.startswith(("api/auth/", *PUBLIC)) or view is None:
                continue
            with self.subTest(path):
                self.assertEqual(view.permission_classes, [IsAuthenticated])
                self.assertNotIn(AllowAny, view.permission_classes)
                classes = api_settings.DEFAULT_AUTHENTICATION_CLASSES
                self.assertEqual(view.authentication_classes, classes)

    def test_no_forged_token_is_accepted_anywhere(self):
        tokens = self.forged_jwts()
        self.assertGreaterEqual(len(tokens), 15)
        changes = Change.objects.count()
        self.assertRefused(tokens, "Bearer", endpoints())
        self.assertEqual(Change.objects.count(), changes)

    def test_no_forged_key_is_accepted_anywhere(self):
        tokens = self.forged_keys()
        changes = Change.objects.count()
        self.assertRefused(tokens, "Bearer", endpoints())
        self.assertRefused(tokens, "Api-Key", [("get", ME)])
        one = {"changed": tokens["a key's changed last character"]}
        self.assertRefused(one, "Api-Key", endpoints())
        self.assertEqual(Change.objects.count(), changes)

    def test_what_is_right_is_accepted(self):
        """That the others are refused is not for a mistake of these tests."""
        token = self.tokens()["access_token"]
        payload = self.payload_of(token)
        self.assertEqual(self.me(token).status_code, 200)
        self.assertEqual(self.me(signed({"alg": "HS256"}, payload)).status_code, 200)
        _, key = make_key(self.colleague("ada"), "contacts:read")
        self.assertEqual(self.me(key).status_code, 200)

    def test_a_token_under_another_scheme_is_no_sign_in(self):
        token = self.tokens()["access_token"]
        _, key = make_key(self.colleague("ada"), "contacts:read")
        for header in (
            f"Basic {token}",
            f"Token {key}",
            f"Api-Key {token}",
            f"Basic {key}",
            key,
            token,
            "Bearer",
            "Api-Key",
            f"Bearer {key} {key}",
            f"Bearer,{key}",
        ):
            with self.subTest(header[:20]):
                answer = self.client.get(ME, headers={"Authorization": header})
                self.assertEqual(answer.status_code, 401, answer.content)
                self.assertEqual(answer["WWW-Authenticate"], "Bearer")

    def test_a_token_ends_with_its_user(self):
        token = self.tokens()["access_token"]
        self.change(is_active=False)
        self.assertRefused({"of who left": token}, "Bearer", endpoints())

    def test_a_used_refresh_token_is_refused_however_often_it_comes(self):
        first = self.tokens()["refresh_token"]
        second = self.refresh(first).json()["data"]["refresh_token"]
        for _ in range(3):
            self.assertIn(self.refresh(first).status_code, (400, 401))
        self.assertEqual(self.refresh(second).status_code, 200)
        self.assertIn(self.refresh(second).status_code, (400, 401))
