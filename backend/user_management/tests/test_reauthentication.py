from django.contrib.sessions.models import Session
from django.test import Client

from core.access import Scope, Verb
from core.models import SecurityEvent
from core.testing import ALL, PASSWORD, make_role, system_changes
from user_management.models import ApiKey

from .test_api_keys import ALL_KEYS, client_with, make_key
from .test_sign_in import APP, BROWSER, SessionStore, SignInTestCase, User

KEYS = "/api/api-keys/"
EXPORT = "/api/audit-log/export/"
BODY = {"name": "Website", "scopes": ["contacts:read"]}


class ReauthenticationTests(SignInTestCase):
    def setUp(self):
        super().setUp()
        role = make_role(
            self.cast.organization,
            "administrator",
            ALL,
            apikey=ALL_KEYS,
            auditlog={Verb.VIEW: Scope.ALL, Verb.EXPORT: Scope.ALL},
        )
        self.change(role=role)

    def grow_old(self, seconds=301):
        """Let time pass for all sessions, as what they remember tells it."""
        for row in Session.objects.all():
            session = SessionStore(row.session_key)
            for record in session["account_authentication_methods"]:
                record["at"] -= seconds
            session.save()

    def bearer(self) -> dict:
        return {"Authorization": f"Bearer {self.tokens()['access_token']}"}

    def assertAsked(self, response):
        self.assertEqual(response.status_code, 403, response.content)
        self.assertEqual(response["Content-Type"], "application/problem+json")
        self.assertEqual(response.json()["code"], "reauthentication_required")

    def test_who_just_signed_in_is_not_asked_again(self):
        headers = self.bearer()
        self.assertEqual(self.send("post", KEYS, BODY, **headers).status_code, 201)
        self.assertEqual(self.client.get(EXPORT, headers=headers).status_code, 200)

    def test_later_a_token_takes_no_sensitive_step_until_its_person_signs_in_again(
        self,
    ):
        headers = self.bearer()
        self.grow_old()
        self.assertAsked(self.send("post", KEYS, BODY, **headers))
        self.assertAsked(self.client.get(EXPORT, headers=headers))
        self.assertFalse(ApiKey.objects.exists())
        self.assertFalse(SecurityEvent.objects.filter(kind="export").exists())
        # What is not sensitive goes on.
        self.assertEqual(self.client.get(KEYS, headers=headers).status_code, 200)
        path = f"{APP}auth/reauthenticate"
        wrong = self.send("post", path, {"password": "wrong-wrong"}, **headers)
        self.assertEqual(wrong.status_code, 400)
        self.assertAsked(self.send("post", KEYS, BODY, **headers))
        right = self.send("post", path, {"password": PASSWORD}, **headers)
        self.assertEqual(right.status_code, 200, right.content)
        self.assertEqual(self.send("post", KEYS, BODY, **headers).status_code, 201)
        self.assertEqual(self.client.get(EXPORT, headers=headers).status_code, 200)

    def test_a_cookie_is_asked_like_a_token(self):
        body = {"email": self.user.email, "password": PASSWORD}
        self.send("post", f"{BROWSER}auth/login", body)
        self.assertEqual(self.send("post", KEYS, BODY).status_code, 201)
        self.grow_old()
        self.assertAsked(self.send("post", KEYS, BODY))
        self.assertAsked(self.client.get(EXPORT))
        body = {"password": PASSWORD}
        self.send("post", f"{BROWSER}auth/reauthenticate", body)
        self.assertEqual(self.send("post", KEYS, BODY).status_code, 201)

    def test_a_session_that_does_not_remember_is_asked(self):
        client = Client()
        client.force_login(User.objects.get(pk=self.user.pk))
        self.assertAsked(self.send("post", KEYS, BODY, client))

    def test_a_new_token_of_an_old_session_is_as_old(self):
        meta = self.tokens()
        self.grow_old()
        new = self.refresh(meta["refresh_token"]).json()["data"]["access_token"]
        headers = {"Authorization": f"Bearer {new}"}
        self.assertAsked(self.send("post", KEYS, BODY, **headers))

    def test_a_fresh_session_does_not_help_an_old_one(self):
        old = self.bearer()
        self.grow_old()
        self.tokens()
        self.assertAsked(self.send("post", KEYS, BODY, **old))

    def test_the_time_is_a_setting(self):
        headers = self.bearer()
        self.grow_old(60)
        with self.settings(ACCOUNT_REAUTHENTICATION_TIMEOUT=30):
            self.assertAsked(self.send("post", KEYS, BODY, **headers))
        self.assertEqual(self.send("post", KEYS, BODY, **headers).status_code, 201)

    def test_a_right_that_is_missing_is_said_first(self):
        with system_changes(self.cast.organization) as changes:
            user = User.objects.get(pk=self.user.pk)
            changes.save(user, role=self.cast.reader.role)
        headers = self.bearer()
        self.grow_old()
        answer = self.client.get(EXPORT, headers=headers)
        self.assertEqual(answer.json()["code"], "permission_denied")

    def test_a_key_exports_what_its_scopes_say(self):
        user = User.objects.get(pk=self.user.pk)
        _, text = make_key(user, "audit-log:export")
        self.assertEqual(client_with(text).get(EXPORT).status_code, 200)
        event = SecurityEvent.objects.get(kind="export")
        self.assertEqual(event.api_key, ApiKey.objects.get())
        _, text = make_key(user, "audit-log:read", "contacts:export")
        refused = client_with(text).get(EXPORT)
        self.assertEqual(refused.json()["code"], "permission_denied")
