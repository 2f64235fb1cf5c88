import random
import time
import uuid
from importlib import import_module
from io import StringIO
from unittest import mock

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.management import call_command
from django.db import connection
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext

from core.models import Change
from core.testing import PASSWORD, Cast, make_user, system_changes
from user_management import limits
from user_management.management.commands.measure_sign_in import CSRF_TOKEN

User = get_user_model()
SessionStore = import_module(settings.SESSION_ENGINE).SessionStore
APP = "/api/auth/app/v1/"
BROWSER = "/api/auth/browser/v1/"
ME = "/api/users/me/"


class SignInTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        # Sign-ins are limited for each user and for each address of a client, and the
        # limits outlive a test: both are new in each.
        self.user = make_user(
            self.cast.organization,
            f"dora{uuid.uuid4().hex}",
            self.cast.alice.role,
            password=PASSWORD,
            first_name="Dora",
        )
        self.nobody = f"nobody{uuid.uuid4().hex}@example.com"
        self.address = "10." + ".".join(str(random.randint(1, 254)) for _ in range(3))  # noqa: S311
        self.client = Client(REMOTE_ADDR=self.address)

    def send(self, method, path, body=None, client=None, **headers):
        call = getattr(client or self.client, method)
        if method == "get":
            return call(path, headers=headers)
        return call(path, body or "", content_type="application/json", headers=headers)

    def sign_in(self, email=None, password=PASSWORD, client=None):
        body = {"email": email or self.user.email, "password": password}
        return self.send("post", f"{APP}auth/login", body, client)

    def tokens(self) -> dict:
        answer = self.sign_in()
        self.assertEqual(answer.status_code, 200, answer.content)
        return answer.json()["meta"]

    def me(self, token, client=None):
        client = client or Client(REMOTE_ADDR=self.address)
        return client.get(ME, headers={"Authorization": f"Bearer {token}"})

    def refresh(self, token):
        body = {"refresh_token": token}
        return self.send("post", f"{APP}tokens/refresh", body)

    def change(self, **fields):
        with system_changes(self.cast.organization) as changes:
            changes.save(User.objects.get(pk=self.user.pk), **fields)


class TokenTests(SignInTestCase):
    def test_an_e_mail_and_its_password_give_a_token_that_works(self):
        meta = self.tokens()
        self.assertIs(meta["is_authenticated"], True)
        answer = self.me(meta["access_token"])
        self.assertEqual(answer.status_code, 200, answer.content)
        self.assertEqual(answer.json()["email"], self.user.email)

    def test_the_e_mail_may_be_in_any_case(self):
        self.assertEqual(self.sign_in(self.user.email.upper()).status_code, 200)

    def test_signing_in_is_remembered_and_not_journalled(self):
        before = Change.objects.count()
        self.tokens()
        user = User.objects.get(pk=self.user.pk)
        self.assertIsNotNone(user.last_login)
        self.assertEqual((user.version, Change.objects.count()), (1, before))

    def test_a_wrong_password_is_refused_like_an_unknown_e_mail(self):
        wrong = self.sign_in(password="wrong-horse-battery")
        unknown = self.sign_in(self.nobody)
        self.assertEqual((wrong.status_code, unknown.status_code), (400, 400))
        self.assertEqual(wrong.content, unknown.content)
        self.assertNotIn("meta", wrong.json())
        self.assertIsNone(User.objects.get(pk=self.user.pk).last_login)

    def test_a_user_without_a_password_does_not_sign_in(self):
        self.assertEqual(self.sign_in(self.cast.alice.email, "").status_code, 400)
        self.assertEqual(self.sign_in(self.cast.alice.email, "!").status_code, 400)

    def test_a_user_who_left_does_not_sign_in(self):
        self.change(is_active=False)
        answer = self.sign_in()
        self.assertEqual(answer.status_code, 400)
        self.assertEqual(answer.content, self.sign_in(self.nobody).content)

    def test_the_token_of_a_user_who_left_is_refused_at_once(self):
        meta = self.tokens()
        self.change(is_active=False)
        self.assertEqual(self.me(meta["access_token"]).status_code, 401)
        self.assertNotEqual(self.refresh(meta["refresh_token"]).status_code, 200)

    def test_a_change_of_role_counts_at_once(self):
        meta = self.tokens()
        headers = {"Authorization": f"Bearer {meta['access_token']}"}
        body = {"last_name": "King"}
        made = self.send("post", "/api/contacts/", body, **headers)
        self.assertEqual(made.status_code, 201, made.content)
        self.change(role=self.cast.reader.role)
        refused = self.send("post", "/api/contacts/", body, **headers)
        self.assertEqual(refused.status_code, 403)

    def test_tokens_that_are_none_of_ours_are_refused(self):
        token = self.tokens()["access_token"]
        head, body, signature = token.split(".")
        for bad in (
            "",
            "x",
            "x.y.z",
            f"{head}.{body}.",
            f"{head}.{body}.{signature[::-1]}",
            f"{head}.{body[:-4]}AAAA.{signature}",
            # {"alg": "none"}
            f"eyJhbGciOiJub25lIn0.{body}.",
            token + "x",
            "\0",
            "é",
            "x" * 10_000,
        ):
            with self.subTest(bad[:20]):
                answer = self.me(bad)
                self.assertEqual(answer.status_code, 401, answer.content)
                self.assertEqual(answer["Content-Type"], "application/problem+json")
                self.assertIn("WWW-Authenticate", answer)

    def test_a_refresh_token_is_no_access_token_and_the_other_way_round(self):
        meta = self.tokens()
        self.assertEqual(self.me(meta["refresh_token"]).status_code, 401)
        self.assertNotEqual(self.refresh(meta["access_token"]).status_code, 200)

    def test_a_refresh_gives_new_tokens_and_ends_the_old_refresh_token(self):
        meta = self.tokens()
        answer = self.refresh(meta["refresh_token"])
        self.assertEqual(answer.status_code, 200, answer.content)
        new = answer.json()["data"]
        self.assertNotEqual(new["refresh_token"], meta["refresh_token"])
        self.assertEqual(self.me(new["access_token"]).status_code, 200)
        self.assertIn(self.refresh(meta["refresh_token"]).status_code, (400, 401))
        self.assertEqual(self.refresh(new["refresh_token"]).status_code, 200)

    def test_bad_refresh_tokens_are_refused(self):
        for bad in ("", "x", None, 7, [], "x.y.z"):
            with self.subTest(bad):
                self.assertIn(self.refresh(bad).status_code, (400, 401))

    def test_signing_out_ends_the_access_token_at_once(self):
        meta = self.tokens()
        headers = {"Authorization": f"Bearer {meta['access_token']}"}
        self.assertEqual(self.me(meta["access_token"]).status_code, 200)
        out = self.send("delete", f"{APP}auth/session", **headers)
        self.assertEqual(out.status_code, 401)  # as its specification has it
        self.assertEqual(self.me(meta["access_token"]).status_code, 401)
        self.assertIn(self.refresh(meta["refresh_token"]).status_code, (400, 401))

    def test_signing_out_ends_one_session_only(self):
        first, second = self.tokens(), self.tokens()
        headers = {"Authorization": f"Bearer {first['access_token']}"}
        self.send("delete", f"{APP}auth/session", **headers)
        self.assertEqual(self.me(first["access_token"]).status_code, 401)
        self.assertEqual(self.me(second["access_token"]).status_code, 200)

    def test_many_wrong_passwords_are_slowed_down(self):
        codes = [self.sign_in(password=f"wrong-{n}").status_code for n in range(7)]
        self.assertEqual(codes, [400] * 5 + [429] * 2)
        self.assertEqual(self.sign_in().status_code, 429)

    def test_nobody_signs_up(self):
        users = User.objects.count()
        for base in (APP, BROWSER):
            with self.subTest(base):
                body = {"email": "new@example.com", "password": PASSWORD}
                answer = self.send("post", f"{base}auth/signup", body)
                self.assertIn(answer.status_code, (403, 409))
        self.assertEqual(User.objects.count(), users)

    def test_odd_bodies_are_refused(self):
        for body in (
            "",
            "{",
            "null",
            "[]",
            "1",
            '{"email": 7}',
            '{"email": "\\u0000"}',
        ):
            with self.subTest(body):
                answer = self.client.post(
                    f"{APP}auth/login", body, content_type="application/json"
                )
                self.assertEqual(answer.status_code, 400, answer.content)


class PasswordTests(SignInTestCase):
    NEW = "another-horse-battery"

    def test_a_password_is_changed_with_the_old_one(self):
        token = self.tokens()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        path = f"{APP}account/password/change"
        for body in (
            {"current_password": "wrong", "new_password": self.NEW},
            {"current_password": PASSWORD, "new_password": "short"},
            {"current_password": PASSWORD, "new_password": "password1234"},
            {"new_password": self.NEW},
        ):
            with self.subTest(body):
                self.assertEqual(
                    self.send("post", path, body, **headers).status_code, 400
                )
                user = User.objects.get(pk=self.user.pk)
                self.assertTrue(user.check_password(PASSWORD))
        body = {"current_password": PASSWORD, "new_password": self.NEW}
        answer = self.send("post", path, body, **headers)
        # Signed out: a change of password ends every session, this one too.
        self.assertEqual(answer.status_code, 401, answer.content)
        self.assertTrue(User.objects.get(pk=self.user.pk).check_password(self.NEW))
        self.assertEqual(self.sign_in().status_code, 400)


class AccountTests(SignInTestCase):
    """What the sign-in could do besides: nothing of it gets round the journal."""

    def test_what_is_not_offered_is_not_there(self):
        headers = {"Authorization": f"Bearer {self.tokens()['access_token']}"}
        client = Client(REMOTE_ADDR=self.address, raise_request_exception=False)
        for base in (APP, BROWSER):
            for path, body in (
                ("account/phone", {"phone": "+14155552671"}),
                ("auth/email/verify/resend", {}),
            ):
                for method in ("get", "post", "put", "patch", "delete"):
                    with self.subTest(f"{method} {base}{path}"):
                        answer = self.send(method, base + path, body, client, **headers)
                        self.assertEqual(answer.status_code, 404)
        user = User.objects.get(pk=self.user.pk)
        self.assertEqual((user.email, user.version), (self.user.email, 1))
        self.assertTrue(user.check_password(PASSWORD))

    def test_no_address_of_the_sign_in_breaks(self):
        headers = {"Authorization": f"Bearer {self.tokens()['access_token']}"}
        client = Client(REMOTE_ADDR=self.address, raise_request_exception=False)
        for path in (
            "config",
            "auth/session",
            "auth/reauthenticate",
            "auth/code/confirm",
            "auth/login",
            "auth/signup",
            "account/email",
            "auth/email/verify",
            "auth/phone/verify",
            "auth/phone/verify/resend",
            "account/password/change",
            "tokens/refresh",
            "auth/password/request",
            "auth/password/reset",
            "auth/sessions",
            "auth/2fa/authenticate",
            "auth/2fa/reauthenticate",
            "auth/webauthn/authenticate",
            "auth/webauthn/login",
            "auth/webauthn/reauthenticate",
            "account/authenticators",
            "account/authenticators/recovery-codes",
            "account/authenticators/totp",
            "account/authenticators/webauthn",
        ):
            for method in ("get", "post", "put", "patch"):
                for sent in ({}, headers):
                    with self.subTest(f"{method} {path} {'Bearer' if sent else ''}"):
                        body = None if method == "get" else {"phone": "+14155552671"}
                        answer = self.send(method, APP + path, body, client, **sent)
                        self.assertLess(answer.status_code, 500, answer.content[:200])

    def test_a_passkey_that_is_none_is_refused(self):
        headers = {"Authorization": f"Bearer {self.tokens()['access_token']}"}
        client = Client(REMOTE_ADDR=self.address, raise_request_exception=False)
        whole = {"id": "AAAA", "rawId": "AAAA", "type": "public-key"}
        for path, sent in (
            ("auth/webauthn/login", {}),
            ("auth/webauthn/reauthenticate", headers),
            ("account/authenticators/webauthn", headers),
        ):
            begun = self.send("get", APP + path, None, client, **sent).json()
            sent = sent or {"X-Session-Token": begun["meta"]["session_token"]}
            for credential in (
                None,
                "",
                "x",
                7,
                [],
                {},
                {"id": 7},
                whole,
                {**whole, "response": 7},
                {**whole, "response": {}},
                {**whole, "response": {"clientDataJSON": "é", "userHandle": "AA"}},
                {**whole, "id": "\0", "response": {"clientDataJSON": "AAAA"}},
            ):
                with self.subTest(f"{path} {credential}"):
                    body = {"name": "Key", "credential": credential}
                    self.send("get", APP + path, None, client, **sent)
                    answer = self.send("post", APP + path, body, client, **sent)
                    self.assertEqual(answer.status_code, 400, answer.content[:200])


class BrowserTests(SignInTestCase):
    """A page of ours in a browser: a session cookie, and CSRF for what writes."""

    def setUp(self):
        super().setUp()
        self.client = Client(REMOTE_ADDR=self.address, enforce_csrf_checks=True)

    def csrf(self) -> dict:
        self.client.get(f"{BROWSER}config")
        return {"X-CSRFToken": self.client.cookies["csrftoken"].value}

    def log_in(self):
        body = {"email": self.user.email, "password": PASSWORD}
        return self.send("post", f"{BROWSER}auth/login", body, **self.csrf())

    def test_a_session_cookie_signs_in(self):
        answer = self.log_in()
        self.assertEqual(answer.status_code, 200, answer.content)
        self.assertNotIn("access_token", answer.json()["meta"])
        cookie = self.client.cookies["sessionid"]
        self.assertTrue(cookie["httponly"])
        self.assertEqual(cookie["samesite"], "Lax")
        self.assertEqual(self.client.get(ME).json()["email"], self.user.email)

    def test_without_the_csrf_token_nobody_signs_in(self):
        body = {"email": self.user.email, "password": PASSWORD}
        answer = self.send("post", f"{BROWSER}auth/login", body)
        self.assertEqual(answer.status_code, 403)
        self.assertNotIn("sessionid", self.client.cookies)

    def test_a_write_needs_the_csrf_token(self):
        self.log_in()
        refused = self.send("patch", ME, {"first_name": "Theodora"})
        self.assertEqual(refused.status_code, 403)
        self.assertEqual(refused["Content-Type"], "application/problem+json")
        self.assertEqual(User.objects.get(pk=self.user.pk).first_name, "Dora")
        token = self.csrf()
        done = self.send("patch", ME, {"first_name": "Theodora"}, **token)
        self.assertEqual(done.status_code, 200, done.content)
        self.assertEqual(User.objects.get(pk=self.user.pk).first_name, "Theodora")

    def test_signing_out_ends_the_session(self):
        self.log_in()
        out = self.send("delete", f"{BROWSER}auth/session", **self.csrf())
        self.assertEqual(out.status_code, 401, out.content)
        self.assertEqual(self.client.get(ME).status_code, 401)

    def test_an_old_cookie_is_of_no_use_after_signing_out(self):
        self.log_in()
        old = self.client.cookies["sessionid"].value
        self.send("delete", f"{BROWSER}auth/session", **self.csrf())
        thief = Client(REMOTE_ADDR=self.address)
        thief.cookies["sessionid"] = old
        self.assertEqual(thief.get(ME).status_code, 401)

    def test_a_user_who_left_is_out_at_once(self):
        self.log_in()
        self.change(is_active=False)
        self.assertEqual(self.client.get(ME).status_code, 401)


class AlikeTests(SignInTestCase):
    """No kind of account can be told from another by a sign-in that fails."""

    def test_every_kind_of_account_costs_the_same_and_answers_alike(self):
        organization, role = self.cast.organization, self.user.role
        emails = [self.user.email, self.nobody]
        for name, fields in (
            ("left", {"password": PASSWORD, "is_active": False}),
            ("passwordless", {}),
            ("invited", {"is_active": False, "is_invited": True}),
        ):
            emails.append(make_user(organization, name, role, **fields).email)
        hashed = []
        encode = MD5PasswordHasher.encode

        def counted(hasher, *args):
            hashed.append(args)
            return encode(hasher, *args)

        for address, field in (
            (f"{APP}auth/login", "email"),
            ("/account/login/", "login"),
        ):
            self.sign_in(f"x{self.nobody}")  # from now on the address is counted
            told = set()
            for email in emails:
                body = {field: email, "password": "wrong-horse-battery"}
                kind = "application/json" if field == "email" else None
                options = {"content_type": kind} if kind else {}
                hashed.clear()
                with (
                    mock.patch.object(MD5PasswordHasher, "encode", counted),
                    CaptureQueriesContext(connection) as queries,
                ):
                    answer = self.client.post(address, body, **options)
                content = CSRF_TOKEN.sub(b"", answer.content)
                content = content.replace(email.encode(), b"")
                told.add((answer.status_code, content, len(hashed), len(queries)))
            self.assertEqual(len(told), 1, [t[0:1] + t[2:] for t in told])
            self.assertEqual(next(iter(told))[2], 1)

    def test_the_measuring_command_leaves_nothing_behind(self):
        before = (User.objects.count(), Change.objects.count())
        out = StringIO()
        with mock.patch.multiple(limits, PER_ACCOUNT=5, PER_ADDRESS=50):
            call_command("measure_sign_in", rounds=2, stdout=out)
        self.assertEqual((User.objects.count(), Change.objects.count()), before)
        self.assertEqual(out.getvalue().count("1 kind(s) of answer"), 2)


class TimeTests(SignInTestCase):
    def test_an_access_token_ends_after_a_quarter_of_an_hour(self):
        import jwt

        token = self.tokens()["access_token"]
        claims = jwt.decode(token, options={"verify_signature": False})
        self.assertAlmostEqual(claims["exp"] - time.time(), 15 * 60, delta=60)
        self.assertEqual(claims["sub"], str(self.user.pk))
        self.assertNotIn("email", claims)
