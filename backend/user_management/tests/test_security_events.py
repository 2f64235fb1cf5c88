import json
from unittest import mock

from django.db import OperationalError
from django.test import Client, TestCase, TransactionTestCase

from core.models import Change, ChangeSet, SecurityEvent
from core.testing import ALL, PASSWORD, Cast, client_of, make_role, make_user

SIGN_IN = "/api/auth/app/v1/auth/login"
NEW_PASSWORD = "a-longer-horse-battery"
FROM = {
    "REMOTE_ADDR": "192.0.2.7",
    "HTTP_USER_AGENT": "Analyst/1",
    "HTTP_X_REQUEST_ID": "r1",
}
ORIGIN = {"address": "192.0.2.7", "user_agent": "Analyst/1", "request_id": "r1"}


def origin_of(row) -> dict:
    return {name: getattr(row, name) for name in ORIGIN}


class SignInEventTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        here = cls.cast.organization
        role = make_role(here, "administrator", ALL, user=ALL)
        cls.admin = make_user(here, "admin", role, password=PASSWORD, is_staff=True)

    def sign_in(self, email=None, password=PASSWORD, client=None, **headers):
        return (client or self.client).post(
            SIGN_IN,
            {"email": email or self.admin.email, "password": password},
            "application/json",
            **{**FROM, **headers},
        )

    def assertOnlyEvent(self, kind, user, detail=None) -> SecurityEvent:
        event = SecurityEvent.objects.get()
        self.assertEqual((event.kind, event.user), (kind, user))
        self.assertEqual(event.organization, user and user.organization)
        self.assertEqual(event.detail, detail or {})
        return event

    def test_a_sign_in_tells_who_and_from_where(self):
        self.assertEqual(self.sign_in().status_code, 200)
        event = self.assertOnlyEvent("sign_in", self.admin)
        self.assertEqual(origin_of(event), ORIGIN)

    def test_a_failed_sign_in_tells_whose_account_was_tried(self):
        email = self.admin.email.upper()
        self.sign_in(email, "wrong-wrong-wrong")
        event = SecurityEvent.objects.get()
        self.assertEqual((event.kind, event.user), ("sign_in_failed", self.admin))
        self.assertEqual(event.organization, self.cast.organization)
        self.assertEqual(event.detail["email"].lower(), self.admin.email)
        self.assertEqual(origin_of(event), ORIGIN)

    def test_a_failed_sign_in_to_no_account_is_nobodys(self):
        self.sign_in("nobody@example.com")
        self.assertOnlyEvent("sign_in_failed", None, {"email": "nobody@example.com"})

    def test_signing_in_to_the_admin_is_told_too(self):
        form = {"login": self.admin.email, "password": "wrong-wrong-wrong"}
        self.client.post("/account/login/", form, **FROM)
        self.client.post("/account/login/", {**form, "password": PASSWORD}, **FROM)
        events = SecurityEvent.objects.order_by("pk")
        self.assertEqual(
            [(event.kind, event.user) for event in events],
            [("sign_in_failed", self.admin), ("sign_in", self.admin)],
        )
        self.assertEqual([origin_of(event) for event in events], [ORIGIN, ORIGIN])

    def test_no_password_is_ever_written_down(self):
        self.sign_in(password="wrong-wrong-wrong")
        self.sign_in()
        kept = json.dumps(list(SecurityEvent.objects.values()), default=str)
        self.assertNotIn("wrong-wrong", kept)
        self.assertNotIn(PASSWORD, kept)

    def test_odd_user_agents_and_names_are_kept_as_far_as_they_fit(self):
        response = self.sign_in(HTTP_USER_AGENT="a\xff" + "b" * 400)
        self.assertEqual(response.status_code, 200)
        self.assertEqual(SecurityEvent.objects.get().user_agent, "a\xff" + "b" * 298)
        for name in ("x\0@example.com", "\ud800", "x" * 5000, {"a": 1}, None, ""):
            with self.subTest(repr(name)[:20]):
                client = Client(raise_request_exception=False)
                body = {"email": name, "password": "wrong-wrong-wrong"}
                response = client.post(SIGN_IN, body, "application/json")
                self.assertEqual(response.status_code, 400)

    def test_a_sign_in_works_though_its_event_cannot_be_written(self):
        with (
            mock.patch.object(
                SecurityEvent.objects, "create", side_effect=OperationalError
            ),
            self.assertLogs("core.security", "ERROR"),
        ):
            self.assertEqual(self.sign_in().status_code, 200)
        self.assertFalse(SecurityEvent.objects.exists())

    def test_signing_out_is_told(self):
        token = self.sign_in().json()["meta"]["session_token"]
        self.client.delete(
            "/api/auth/app/v1/auth/session", HTTP_X_SESSION_TOKEN=token, **FROM
        )
        event = SecurityEvent.objects.latest("pk")
        self.assertEqual((event.kind, event.user), ("sign_out", self.admin))
        self.assertEqual(origin_of(event), ORIGIN)

    def test_a_change_of_ones_password_is_told(self):
        token = self.sign_in().json()["meta"]["session_token"]
        response = self.client.post(
            "/api/auth/app/v1/account/password/change",
            {"current_password": PASSWORD, "new_password": NEW_PASSWORD},
            "application/json",
            HTTP_X_SESSION_TOKEN=token,
            **FROM,
        )
        # It ended this session too.
        self.assertEqual(response.status_code, 401, response.content)
        event = SecurityEvent.objects.filter(kind="password_changed").get()
        self.assertEqual((event.user, event.record_id), (self.admin, self.admin.pk))
        self.assertEqual(origin_of(event), ORIGIN)

    def test_a_password_that_staff_sets_is_told_with_whose_it_is(self):
        self.client.force_login(self.admin)
        alice = self.cast.alice
        response = self.client.post(
            f"/admin/user_management/user/{alice.pk}/password/",
            {
                "password1": NEW_PASSWORD,
                "password2": NEW_PASSWORD,
                "usable_password": "true",
                "set-password": "",
            },
            **FROM,
        )
        self.assertEqual(response.status_code, 302, response.content)
        event = SecurityEvent.objects.filter(kind="password_changed").get()
        self.assertEqual((event.user, event.record_id), (self.admin, alice.pk))
        self.assertEqual((event.record_type, event.detail), ("user", {}))
        self.assertEqual(origin_of(event), ORIGIN)

    def test_a_hash_that_is_renewed_is_no_change_of_password(self):
        self.admin.set_password(PASSWORD)
        self.admin._password = None
        self.admin.save(update_fields=["password"])
        self.assertFalse(SecurityEvent.objects.exists())


class RefusalTests(TransactionTestCase):
    """Without a transaction around, as in a request."""

    def setUp(self):
        self.cast = Cast()
        alice = client_of(self.cast.alice)
        self.contact = alice.post("/api/contacts/", {"last_name": "King"}).json()
        self.address = f"/api/contacts/{self.contact['id']}/"
        self.reader = client_of(self.cast.reader)

    def test_a_refusal_is_kept_though_the_request_is_taken_back(self):
        changes = Change.objects.count()
        response = self.reader.patch(self.address, {"last_name": "Byron"}, **FROM)
        self.assertEqual(response.status_code, 403)
        self.assertEqual(Change.objects.count(), changes)
        event = SecurityEvent.objects.get()
        self.assertEqual((event.kind, event.user), ("refused", self.cast.reader))
        self.assertEqual(event.organization, self.cast.organization)
        self.assertEqual(event.record_type, "contact")
        self.assertEqual(str(event.record_id), self.contact["id"])
        self.assertEqual(
            event.detail,
            {
                "method": "PATCH",
                "path": self.address,
                "reason": response.json()["detail"],
            },
        )
        self.assertEqual(origin_of(event), ORIGIN)

    def test_a_refusal_of_a_verb_names_no_record(self):
        self.assertEqual(self.reader.post("/api/contacts/", {}).status_code, 403)
        event = SecurityEvent.objects.get()
        self.assertEqual((event.record_type, event.record_id), ("contact", None))

    def test_what_is_not_seen_or_not_signed_in_is_no_refusal(self):
        hidden = client_of(self.cast.carol).patch(self.address, {"last_name": "Byron"})
        self.assertEqual(hidden.status_code, 404)
        self.assertEqual(self.client.get(self.address).status_code, 401)
        self.assertFalse(SecurityEvent.objects.exists())

    def test_a_refusal_is_answered_though_its_event_cannot_be_written(self):
        with (
            mock.patch.object(
                SecurityEvent.objects, "create", side_effect=OperationalError
            ),
            self.assertLogs("core.security", "ERROR"),
        ):
            response = self.reader.patch(self.address, {"last_name": "Byron"})
        self.assertEqual(response.status_code, 403)


class OriginTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def test_change_sets_tell_where_the_request_came_from(self):
        manager = client_of(self.cast.manager)
        manager.post("/api/contacts/", {"last_name": "King"}, **FROM)
        made = ChangeSet.objects.latest("pk")
        self.assertEqual(origin_of(made), ORIGIN)
        manager.post(f"/api/change-sets/{made.pk}/undo/", **FROM)
        undo = ChangeSet.objects.latest("pk")
        self.assertEqual((undo.source, origin_of(undo)), ("undo", ORIGIN))

    def test_change_sets_of_the_admin_tell_it_too(self):
        role = make_role(self.cast.organization, "staff", ALL, team=ALL)
        staff = make_user(self.cast.organization, "staff", role, is_staff=True)
        self.client.force_login(staff)
        response = self.client.post(
            "/admin/user_management/team/add/", {"name": "Support"}, **FROM
        )
        self.assertEqual(response.status_code, 302)
        made = ChangeSet.objects.latest("pk")
        self.assertEqual((made.source, origin_of(made)), ("admin", ORIGIN))
