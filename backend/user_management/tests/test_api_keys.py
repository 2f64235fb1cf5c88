from datetime import timedelta
from functools import partial
from unittest import mock

from allauth.mfa.totp.internal.auth import TOTP
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, TestCase
from django.urls import resolve
from django.utils import timezone
from rest_framework.test import APIClient

from contact_management.models import Contact
from core import jobs
from core.access import Scope, Verb
from core.models import Change, ChangeSet, IdempotencyKey, Job, SecurityEvent
from core.registry import record_types
from core.testing import (
    ALL,
    OWN,
    PASSWORD,
    Cast,
    client_of,
    make_role,
    make_user,
    system_changes,
)
from core.undo import undo_batch
from user_management import services
from user_management.models import ApiKey, Role
from user_management.scopes import WHAT, scopes

from .test_sign_in import User

KEYS = "/api/api-keys/"
CONTACTS = "/api/contacts/"
EVERY_SCOPE = sorted(scopes())
# Two records in each chunk of an undo.
IN_TWOS = mock.patch("core.undo.undo_batch", partial(undo_batch, limit=2))
OWN_KEYS = {Verb.VIEW: Scope.OWN, Verb.CREATE: Scope.OWN, Verb.EDIT: Scope.OWN}
ALL_KEYS = {Verb.VIEW: Scope.ALL, Verb.CREATE: Scope.OWN, Verb.EDIT: Scope.ALL}


def make_key(owner, *names, **values) -> tuple[ApiKey, str]:
    key = ApiKey(owner=owner)
    values = {"name": "Website", "scopes": list(names), **values}
    with system_changes(owner.organization) as changes:
        return key, services.make_api_key(changes, key, **values)


def client_with(text: str, scheme="Bearer") -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"{scheme} {text}")
    return client


class KeyTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        here = cls.cast.organization
        role = make_role(here, "keeper", OWN, apikey=OWN_KEYS)
        cls.ada = make_user(here, "ada", role, cls.cast.team, PASSWORD)
        role = make_role(
            here,
            "administrator",
            ALL,
            apikey=ALL_KEYS,
            auditlog={Verb.VIEW: Scope.ALL, Verb.EXPORT: Scope.ALL},
            user=ALL,
            team=ALL,
            role=ALL,
        )
        cls.admin = make_user(here, "admin", role, is_staff=True)

    def setUp(self):
        self.client = client_of(self.ada)

    def key(self, *names, owner=None, **values) -> APIClient:
        self.made, text = make_key(owner or self.ada, *names, **values)
        return client_with(text)

    def contact(self, **fields) -> dict:
        return self.client.post(CONTACTS, {"last_name": "King", **fields}).json()

    def assertRefused(self, response, status=403, code="permission_denied"):
        self.assertEqual(response.status_code, status, response.content)
        self.assertEqual(response.json()["code"], code)

    def stored(self) -> ApiKey:
        return ApiKey.objects.get(pk=self.made.pk)


class MakingTests(KeyTestCase):
    def post(self, client=None, query="", **body):
        body = {"name": "Website", "scopes": ["contacts:read"], **body}
        return (client or self.client).post(f"{KEYS}{query}", body)

    def test_a_key_is_told_once_and_works_by_both_names(self):
        response = self.post()
        self.assertEqual(response.status_code, 201, response.content)
        made = response.json()
        text = made.pop("key")
        self.assertRegex(text, r"^mycrm_[0-9a-f]{64}$")
        self.assertEqual(made["prefix"], text[:15])
        self.assertEqual(made["owner"], str(self.ada.pk))
        self.assertIsNone(made["revoked_at"])
        shown = self.client.get(f"{KEYS}{made['id']}/").json()
        self.assertEqual(shown, made)
        self.assertEqual(self.client.get(KEYS).json()["results"], [made])
        for scheme in ("Bearer", "bearer", "Api-Key", "API-KEY"):
            answer = client_with(text, scheme).get("/api/users/me/")
            self.assertEqual(answer.json()["email"], self.ada.email)

    def test_neither_the_database_nor_the_journal_keeps_the_key(self):
        response = self.client.post(
            KEYS,
            {"name": "Website", "scopes": ["contacts:read"]},
            HTTP_IDEMPOTENCY_KEY="one",
        )
        text = response.json()["key"]
        key = ApiKey.objects.get()
        self.assertNotIn(text[15:], str(vars(key)))
        kept = [*Change.objects.values(), *IdempotencyKey.objects.values()]
        self.assertNotIn(text[15:], str([{**k, "body": None} for k in kept]))
        for stored in IdempotencyKey.objects.all():
            self.assertNotIn(text.encode(), bytes(stored.body))
        history = self.client.get(f"{KEYS}{key.pk}/history/")
        self.assertNotIn("digest", history.content.decode())
        self.assertEqual(history.json()["results"][0]["verb"], "create")

    def test_repeated_it_is_the_same_key_without_its_text(self):
        body = {"name": "Website", "scopes": ["contacts:read"]}
        first, second = (
            self.client.post(KEYS, body, HTTP_IDEMPOTENCY_KEY="one") for _ in range(2)
        )
        self.assertEqual(ApiKey.objects.count(), 1)
        self.assertEqual(second.status_code, 201)
        self.assertEqual(second.json(), {**first.json(), "key": None})

    def test_tried_there_is_no_key(self):
        response = self.post(query="?dry_run=true")
        self.assertEqual(response.status_code, 201, response.content)
        self.assertIsNone(response.json()["key"])
        self.assertFalse(ApiKey.objects.exists())

    def test_it_lasts_90_days_if_not_said_otherwise_and_a_year_at_most(self):
        self.assertEqual(self.post().status_code, 201)
        left = ApiKey.objects.get().expiry - timezone.now()
        self.assertEqual(round(left / timedelta(days=1)), 90)
        for days, status in ((364, 201), (366, 400), (0, 400), (-1, 400)):
            with self.subTest(days):
                expiry = timezone.now() + timedelta(days=days)
                response = self.post(expiry=expiry.isoformat())
                self.assertEqual(response.status_code, status, response.content)
                if status == 400:
                    [error] = response.json()["errors"]
                    self.assertEqual(error["field"], "expiry")
        self.assertEqual(ApiKey.objects.count(), 2)

    def test_bad_bodies_are_refused_by_the_name_of_the_field(self):
        for field, body in (
            ("name", {"name": ""}),
            ("name", {"name": "x" * 101}),
            ("scopes", {"scopes": []}),
            ("scopes", {"scopes": None}),
            ("scopes", {"scopes": "contacts:read"}),
            ("scopes.0", {"scopes": ["contacts:steal"]}),
            ("scopes.0", {"scopes": ["*"]}),
            ("scopes.0", {"scopes": [{}]}),
            ("scopes.1", {"scopes": ["contacts:read", "users:write"]}),
            ("expiry", {"expiry": None}),
            ("expiry", {"expiry": "soon"}),
            ("owner", {"owner": str(self.cast.bob.pk)}),
            ("prefix", {"prefix": "mycrm_000000000"}),
            ("digest", {"digest": "0" * 128}),
            ("revoked_at", {"revoked_at": "2026-01-01T00:00:00Z"}),
            ("key", {"key": "mycrm_" + "0" * 64}),
        ):
            with self.subTest(body):
                response = self.post(**body)
                self.assertEqual(response.status_code, 400, response.content)
                self.assertEqual(response.json()["errors"][0]["field"], field)
        response = self.client.post(KEYS, {"name": "Website"})
        self.assertEqual(response.json()["errors"][0]["field"], "scopes")
        self.assertFalse(ApiKey.objects.exists())

    def test_it_takes_the_right(self):
        self.assertRefused(self.post(client_of(self.cast.alice)))
        self.assertFalse(ApiKey.objects.exists())

    def test_it_can_be_renamed_and_nothing_else(self):
        self.key("contacts:read")
        address = f"{KEYS}{self.made.pk}/"
        response = self.client.patch(address, {"name": "Shop"})
        self.assertEqual(response.status_code, 200, response.content)
        change = Change.objects.latest("pk")
        self.assertEqual(
            (change.before, change.after["name"]), ({"name": "Website"}, "Shop")
        )
        later = (timezone.now() + timedelta(days=300)).isoformat()
        for body in (
            {"scopes": EVERY_SCOPE},
            {"expiry": later},
            {"revoked_at": None, "owner": str(self.cast.bob.pk)},
            {"digest": "0"},
        ):
            with self.subTest(body):
                self.assertEqual(self.client.patch(address, body).status_code, 400)
        for method in ("put", "delete"):
            answer = getattr(self.client, method)(address, {"name": "x"})
            self.assertEqual(answer.status_code, 405)
        key = self.stored()
        self.assertEqual((key.name, key.scopes), ("Shop", ["contacts:read"]))
        self.assertEqual(key.expiry, self.made.expiry)

    def test_people_see_their_own_keys_and_administrators_everybodys(self):
        self.key("contacts:read")
        admin = client_of(self.admin)
        for client, count, status in (
            (self.client, 1, 200),
            (admin, 1, 200),
            (client_of(self.cast.alice), 0, 404),
            (client_of(self.cast.carol), 0, 404),
        ):
            self.assertEqual(client.get(KEYS).json()["count"], count)
            shown = client.get(f"{KEYS}{self.made.pk}/")
            self.assertEqual(shown.status_code, status)
        other = client_of(self.cast.carol)
        self.assertEqual(other.post(f"{KEYS}{self.made.pk}/revoke/").status_code, 404)
        self.assertIsNone(self.stored().revoked_at)
        response = admin.post(f"{KEYS}{self.made.pk}/revoke/")
        self.assertEqual(response.status_code, 200, response.content)
        self.assertIsNotNone(self.stored().revoked_at)

    def test_a_scope_is_called_after_the_path_of_its_records(self):
        for name in record_types():
            [plural] = {
                scope.partition(":")[0]
                for scope, covered in scopes().items()
                if name in dict(covered)
            }
            with self.subTest(name):
                model = resolve(f"/api/{plural}/").func.cls.model
                self.assertEqual(record_types()[name].plural(), model.plural())
                self.assertLessEqual(
                    {f"{plural}:{what}" for what in WHAT}, scopes().keys()
                )

    def test_the_schema_names_the_scopes(self):
        schema = self.client.get("/api/schema/")
        self.assertIn("contacts:read", schema.content.decode())


class UseTests(KeyTestCase):
    def test_a_key_costs_one_query_and_writes_its_use_once_a_minute(self):
        client = self.key("contacts:read")
        with self.assertNumQueries(2):
            client.get("/api/users/me/")
        first = self.stored().last_used_at
        self.assertIsNotNone(first)
        with self.assertNumQueries(1):
            client.get("/api/users/me/")
        self.assertEqual(self.stored().last_used_at, first)
        later = timezone.now() + timedelta(seconds=61)
        with mock.patch("django.utils.timezone.now", return_value=later):
            client.get("/api/users/me/")
        self.assertEqual(self.stored().last_used_at, later)
        self.assertEqual(self.stored().version, 1)

    def test_a_key_does_what_its_scopes_say(self):
        contact = self.contact()
        address = f"{CONTACTS}{contact['id']}/"
        reader = self.key("contacts:read")
        self.assertEqual(reader.get(CONTACTS).json()["count"], 1)
        self.assertEqual(reader.get(address).status_code, 200)
        for response in (
            reader.post(CONTACTS, {"last_name": "Byron"}),
            reader.patch(address, {"last_name": "Byron"}),
            reader.delete(address),
            reader.post("/api/tags/", {"name": "vip"}),
        ):
            self.assertRefused(response)
        self.assertEqual(reader.get("/api/tags/").json()["count"], 0)
        self.assertEqual(Contact.objects.get().last_name, "King")
        writer = self.key("contacts:read", "contacts:write")
        response = writer.patch(address, {"last_name": "Byron"})
        self.assertEqual(response.status_code, 200, response.content)
        self.assertRefused(writer.delete(address))
        remover = self.key("contacts:read", "contacts:delete")
        self.assertRefused(remover.patch(address, {"last_name": "King"}))
        self.assertEqual(remover.delete(address).status_code, 204)

    def test_one_that_may_only_write_can_make_and_not_read(self):
        form = self.key("contacts:write")
        self.assertEqual(form.post(CONTACTS, {"last_name": "Byron"}).status_code, 201)
        self.assertEqual(form.get(CONTACTS).json()["count"], 0)
        address = f"{CONTACTS}{Contact.objects.get().pk}/"
        self.assertRefused(form.patch(address, {}), 404, "not_found")

    def test_a_key_does_no_more_than_the_present_role_of_its_owner(self):
        client = self.key(*EVERY_SCOPE)
        theirs = client_of(self.cast.alice).post(CONTACTS, {"last_name": "L"}).json()
        self.assertEqual(client.get(f"{CONTACTS}{theirs['id']}/").status_code, 404)
        self.assertEqual(client.post(CONTACTS, {"last_name": "A"}).status_code, 201)
        with system_changes(self.cast.organization) as changes:
            changes.save(User.objects.get(pk=self.ada.pk), role=self.cast.reader.role)
        self.assertRefused(client.post(CONTACTS, {"last_name": "B"}))
        self.assertEqual(client.get(f"{CONTACTS}{theirs['id']}/").status_code, 200)

    def test_no_key_manages_keys_people_roles_or_teams(self):
        client = self.key(*EVERY_SCOPE, owner=self.admin)
        bob = f"/api/users/{self.cast.bob.pk}/"
        role = f"/api/roles/{self.cast.reader.role.pk}/"
        team = f"/api/teams/{self.cast.team.pk}/"
        changes = Change.objects.count()
        body = {"name": "x", "scopes": ["contacts:read"]}
        hand_over = {"to": str(self.cast.alice.pk), "deactivate": True}
        for response in (
            client.post(KEYS, body),
            client.patch("/api/users/me/", {"first_name": "x"}),
            client.patch(bob, {"first_name": "x"}),
            client.patch(bob, {"is_active": False}),
            client.post(f"{bob}hand-over/", hand_over),
            client.post("/api/roles/", {"name": "x", "rights": {}}),
            client.patch(role, {"name": "x"}),
            client.post("/api/teams/", {"name": "x"}),
            client.patch(team, {"name": "x"}),
        ):
            self.assertRefused(response)
        self.assertEqual(client.get(KEYS).json()["count"], 0)
        own = f"{KEYS}{self.made.pk}/"
        self.assertRefused(client.patch(own, {"name": "x"}), 404, "not_found")
        self.assertRefused(client.post(f"{own}revoke/"), 404, "not_found")
        self.assertEqual(Change.objects.count(), changes)

    def test_a_key_is_nobody_in_the_sign_in(self):
        _, text = make_key(self.ada, *EVERY_SCOPE)
        base = "/api/auth/app/v1/"
        for method, path in (
            ("get", "auth/session"),
            ("delete", "auth/session"),
            ("get", "auth/sessions"),
            ("get", "account/authenticators"),
            ("post", "auth/reauthenticate"),
            ("post", "account/password/change"),
            ("get", "account/authenticators/totp"),
        ):
            with self.subTest(f"{method} {path}"):
                answer = getattr(client_with(text), method)(f"{base}{path}", {})
                self.assertEqual(answer.status_code, 401, answer.content)

    def test_colleagues_are_seen_with_the_scope_alone(self):
        client = self.key("contacts:read")
        self.contact()
        expanded = f"{CONTACTS}?expand=owner&fields=owner"
        self.assertEqual(client.get("/api/users/").json()["count"], 0)
        self.assertEqual(client.get(expanded).json()["results"], [{"owner": None}])
        client = self.key("contacts:read", "users:read")
        self.assertEqual(client.get("/api/users/").json()["count"], 7)
        [shown] = client.get(expanded).json()["results"]
        self.assertEqual(shown["owner"]["email"], self.ada.email)

    def test_a_key_shares_no_cached_answer_with_those_who_see_more(self):
        """Nor with its owner: a role without a right on users still sees colleagues."""
        role = make_role(self.cast.organization, "plain", OWN, user={})
        owner = make_user(self.cast.organization, "owner", role)
        session = client_of(owner)
        made = session.post(CONTACTS, {"last_name": "King"}).json()
        key = self.key("contacts:read", owner=owner)
        other = self.key("tags:read", owner=owner)
        address = f"{CONTACTS}{made['id']}/?expand=owner&fields=owner"
        for _ in range(2):
            shown = session.get(address).json()
            self.assertEqual(shown["owner"]["email"], owner.email)
            self.assertEqual(key.get(address).json(), {"owner": None})
            self.assertEqual(other.get(address).status_code, 404)

    def test_access_and_refusal_name_the_key_as_the_reason(self):
        client = self.key("contacts:read")
        contact = self.contact()
        verbs = client.get(f"{CONTACTS}{contact['id']}/access/").json()["verbs"]
        self.assertTrue(verbs["view"]["allowed"])
        self.assertFalse(verbs["edit"]["allowed"])
        self.assertEqual(
            verbs["edit"]["rule"],
            "The scopes of this API key do not cover 'edit' on 'contact'.",
        )

    def test_a_role_that_requires_2fa_is_required_of_the_owner_of_a_key(self):
        client = self.key("contacts:read")
        with system_changes(self.cast.organization) as changes:
            role = Role.objects.get(pk=self.ada.role_id)
            changes.save(role, requires_two_factor=True)
        self.assertRefused(client.get(CONTACTS), 403, "two_factor_required")
        TOTP.activate(User.objects.get(pk=self.ada.pk), "JBSWY3DPEHPK3PXP")
        self.assertEqual(client.get(CONTACTS).status_code, 200)

    def test_a_replay_belongs_to_who_asked_first(self):
        body, sent = {"last_name": "Byron"}, {"HTTP_IDEMPOTENCY_KEY": "one"}
        mine = self.client.post(CONTACTS, body, **sent)
        reader = self.key("contacts:read")
        self.assertRefused(reader.post(CONTACTS, body, **sent))
        writer = self.key("contacts:write")
        other = writer.post(CONTACTS, body, **sent)
        self.assertEqual(other.status_code, 201)
        self.assertNotIn("Idempotency-Replayed", other)
        again = writer.post(CONTACTS, body, **sent)
        self.assertEqual(again["Idempotency-Replayed"], "true")
        self.assertEqual(again.content, other.content)
        again = self.client.post(CONTACTS, body, **sent)
        self.assertEqual(again.content, mine.content)
        self.assertEqual(Contact.objects.count(), 2)


class EndTests(KeyTestCase):
    def assertEnded(self, client):
        response = client.get("/api/users/me/")
        self.assertEqual(response.status_code, 401, response.content)
        self.assertEqual(response["WWW-Authenticate"], "Bearer")

    def test_a_revoked_key_ends_at_once_and_stays_in_the_list(self):
        client = self.key("contacts:read")
        address = f"{KEYS}{self.made.pk}/revoke/"
        self.assertEqual(client.get("/api/users/me/").status_code, 200)
        response = self.client.post(address)
        self.assertEqual(response.status_code, 200, response.content)
        self.assertIsNotNone(response.json()["revoked_at"])
        self.assertEnded(client)
        self.assertRefused(self.client.post(address), 409, "already_revoked")
        self.assertEqual(self.client.get(KEYS).json()["count"], 1)

    def test_an_expired_key_ends_and_stays(self):
        client = self.key("contacts:read")
        later = self.made.expiry + timedelta(seconds=1)
        with mock.patch("django.utils.timezone.now", return_value=later):
            self.assertEnded(client)
        self.assertTrue(ApiKey.objects.filter(pk=self.made.pk).exists())

    def test_who_leaves_takes_their_keys_along_for_good(self):
        client = self.key("contacts:read")
        ada = User.objects.get(pk=self.ada.pk)
        with system_changes(self.cast.organization) as changes:
            changes.save(ada, is_active=False)
        self.assertEnded(client)
        with system_changes(self.cast.organization) as changes:
            changes.save(ada, is_active=True)
        self.assertEnded(client)
        change = Change.objects.get(record_id=self.made.pk, verb="update")
        self.assertEqual(list(change.before), ["revoked_at"])

    def test_an_administrator_without_rights_on_keys_ends_them_too(self):
        client = self.key("contacts:read")
        role = make_role(self.cast.organization, "hr", ALL, user=ALL)
        hr = client_of(make_user(self.cast.organization, "hr", role))
        answer = hr.patch(f"/api/users/{self.ada.pk}/", {"is_active": False})
        self.assertEqual(answer.status_code, 200, answer.content)
        self.assertEnded(client)

    def test_a_new_password_ends_the_keys_and_says_why(self):
        client, other = self.key("contacts:read"), self.key("tags:read")
        theirs = self.key("contacts:read", owner=self.admin)
        ada = User.objects.get(pk=self.ada.pk)
        ada.set_password("another-horse-battery")
        ada.save()
        self.assertEnded(client)
        self.assertEnded(other)
        self.assertEqual(theirs.get("/api/users/me/").status_code, 200)
        made = ChangeSet.objects.latest("pk")
        self.assertEqual(made.reason, "The password of the owner was changed.")
        self.assertEqual((made.actor, made.changes.count()), (ada, 2))

    def test_a_password_that_staff_sets_ends_the_keys_in_their_name(self):
        client = self.key("contacts:read")
        page = Client()
        page.force_login(self.admin)
        password = "another-horse-battery"
        page.post(
            f"/admin/user_management/user/{self.ada.pk}/password/",
            {
                "password1": password,
                "password2": password,
                "usable_password": "true",
                "set-password": "",
            },
        )
        self.assertEnded(client)
        made = ChangeSet.objects.latest("pk")
        self.assertEqual((made.actor, made.address), (self.admin, "127.0.0.1"))

    def test_undo_brings_no_key_back(self):
        client = self.key("contacts:read")
        self.client.post(f"{KEYS}{self.made.pk}/revoke/")
        revocation = ChangeSet.objects.latest("pk")
        admin = client_of(self.admin)
        answer = admin.post(f"/api/change-sets/{revocation.pk}/undo/")
        self.assertEqual((answer.status_code, answer.json()["undone"]), (200, 0))
        self.assertEnded(client)
        client = self.key("contacts:read")
        admin.patch(f"/api/users/{self.ada.pk}/", {"is_active": False})
        leaving = ChangeSet.objects.latest("pk")
        answer = admin.post(f"/api/change-sets/{leaving.pk}/undo/")
        self.assertEqual(answer.status_code, 200, answer.content)
        self.assertTrue(User.objects.get(pk=self.ada.pk).is_active)
        self.assertEnded(client)


class JournalTests(KeyTestCase):
    def test_a_change_is_told_as_made_by_the_owner_through_the_key(self):
        client = self.key("contacts:read", "contacts:write")
        contact = client.post(CONTACTS, {"last_name": "Byron"}).json()
        told = {
            "id": str(self.made.pk),
            "name": "Website",
            "prefix": self.made.prefix,
        }
        made = ChangeSet.objects.latest("pk")
        self.assertEqual((made.actor, made.api_key), (self.ada, self.made))
        [entry] = self.client.get(f"{CONTACTS}{contact['id']}/history/").json()[
            "results"
        ]
        self.assertEqual(entry["change_set"]["api_key"], told)
        self.assertEqual(entry["change_set"]["actor"]["email"], self.ada.email)
        admin = client_of(self.admin)
        listed = admin.get(f"/api/change-sets/?api_key={self.made.pk}").json()
        self.assertEqual([one["api_key"] for one in listed["results"]], [told])
        log = admin.get(f"/api/audit-log/?api_key={self.made.pk}").json()["results"]
        self.assertEqual([one["api_key"] for one in log], [told])
        page = Client()
        page.force_login(self.admin)
        shown = page.get(f"/admin/contact_management/contact/{contact['id']}/history/")
        self.assertContains(shown, f"{self.ada.email}, through the key Website")
        rows = b"".join(admin.get("/api/audit-log/export/").streaming_content)
        self.assertIn(f"Website,{self.made.pk}", rows.decode())

    def test_a_session_is_told_without_a_key(self):
        contact = self.contact()
        [entry] = self.client.get(f"{CONTACTS}{contact['id']}/history/").json()[
            "results"
        ]
        self.assertIsNone(entry["change_set"]["api_key"])

    def test_a_refusal_tells_the_key(self):
        client = self.key("contacts:read")
        client.post(CONTACTS, {"last_name": "Byron"})
        event = SecurityEvent.objects.latest("pk")
        self.assertEqual(
            (event.kind, event.user, event.api_key), ("refused", self.ada, self.made)
        )

    def test_making_naming_and_ending_a_key_stand_in_the_journal(self):
        made = self.client.post(KEYS, {"name": "A", "scopes": ["tags:read"]}).json()
        self.client.patch(f"{KEYS}{made['id']}/", {"name": "B"})
        self.client.post(f"{KEYS}{made['id']}/revoke/")
        entries = self.client.get(f"{KEYS}{made['id']}/history/").json()["results"]
        self.assertEqual(
            [(one["verb"], sorted(one["before"])) for one in entries],
            [("update", ["revoked_at"]), ("update", ["name"]), ("create", [])],
        )
        self.assertEqual(entries[-1]["after"]["scopes"], ["tags:read"])


class JobTests(KeyTestCase):
    FILE = b"Last Name,Email\n" + b"".join(
        b"Name %d,n%d@example.com\n" % (n, n) for n in range(5)
    )

    def start(self, client):
        file = SimpleUploadedFile("people.csv", self.FILE)
        response = client.post(
            "/api/imports/",
            {"record_type": "contact", "file": file},
            format="multipart",
        )
        self.assertEqual(response.status_code, 202, response.content)
        return Job.objects.get(pk=response.json()["id"])

    def test_an_import_is_made_through_its_key_in_every_chunk(self):
        client = self.key("contacts:read", "contacts:write", "contacts:import")
        job = self.start(client)
        self.assertEqual(job.api_key, self.made)
        with mock.patch("core.importing.job.CHUNK_ROWS", 2):
            jobs.run(job.pk)
        job.refresh_from_db()
        self.assertEqual((job.status, job.counts["created"]), ("done", 5))
        self.assertEqual(job.change_set.api_key, self.made)

    def test_an_import_stops_when_its_key_is_revoked(self):
        client = self.key("contacts:write", "contacts:import")
        job = self.start(client)
        with mock.patch("core.importing.job.CHUNK_ROWS", 2):
            jobs.run(job.pk, seconds=0)
            jobs.run(job.pk, seconds=0)
            self.client.post(f"{KEYS}{self.made.pk}/revoke/")
            jobs.run(job.pk)
        job.refresh_from_db()
        self.assertEqual(
            (job.status, job.error["code"]), ("failed", "permission_denied")
        )
        self.assertEqual(Contact.objects.count(), 2)

    def test_an_import_takes_the_scopes(self):
        for names in (["contacts:write"], ["contacts:import"], ["tags:import"]):
            with self.subTest(names):
                file = SimpleUploadedFile("people.csv", self.FILE)
                response = self.key(*names).post(
                    "/api/imports/",
                    {"record_type": "contact", "file": file},
                    format="multipart",
                )
                self.assertRefused(response)
        self.assertFalse(Job.objects.exists())

    def test_an_export_takes_the_scopes_and_so_does_its_file(self):
        self.contact()
        body = {"record_type": "contact", "fields": ["last_name", "company"]}
        for names in (["contacts:read"], ["contacts:export"], ["tags:export"]):
            with self.subTest(names):
                self.assertRefused(self.key(*names).post("/api/exports/", body))
        self.assertFalse(Job.objects.exists())
        client = self.key("contacts:read", "contacts:export", "jobs:read")
        response = client.post("/api/exports/", body)
        self.assertEqual(response.status_code, 202, response.content)
        address = f"/api/exports/{response.json()['id']}/download/"
        jobs.run(response.json()["id"])
        self.assertIn(b"King", b"".join(client.get(address)))
        event = SecurityEvent.objects.filter(kind="export").earliest("pk")
        self.assertEqual((event.user, event.api_key), (self.ada, self.made))
        self.assertRefused(self.key("contacts:read", "jobs:read").get(address))
        blind = self.key("contacts:export", "jobs:read")
        self.assertRefused(blind.get(address))

    def test_an_export_stops_when_its_key_is_revoked(self):
        for _ in range(3):
            self.contact()
        client = self.key("contacts:read", "contacts:export")
        response = client.post("/api/exports/", {"record_type": "contact"})
        with mock.patch("core.exporting.wish.CHUNK_ROWS", 2):
            jobs.run(response.json()["id"], seconds=-1)
            self.client.post(f"{KEYS}{self.made.pk}/revoke/")
            jobs.run(response.json()["id"])
        job = Job.objects.get()
        self.assertEqual(
            (job.status, job.error["code"]), ("failed", "permission_denied")
        )

    def test_a_key_undoes_what_its_scopes_let_it_write(self):
        contact = self.contact()
        self.client.patch(f"{CONTACTS}{contact['id']}/", {"last_name": "Byron"})
        edit = ChangeSet.objects.latest("pk")
        address = f"/api/change-sets/{edit.pk}/undo/"
        reader = self.key("contacts:read", "change-sets:read")
        self.assertRefused(reader.post(address), 409, "undo_conflict")
        blind = self.key("contacts:write", "change-sets:read")
        self.assertRefused(blind.post(address), 409, "undo_conflict")
        self.assertEqual(Contact.objects.get().last_name, "Byron")
        self.assertRefused(self.key("contacts:write").post(address), 404, "not_found")
        writer = self.key("contacts:read", "contacts:write", "change-sets:read")
        response = writer.post(address)
        self.assertEqual(response.json()["undone"], 1, response.content)
        self.assertEqual(Contact.objects.get().last_name, "King")
        self.assertEqual(ChangeSet.objects.latest("pk").api_key, self.made)

    def test_a_large_undo_is_limited_by_its_key_too(self):
        job = self.start(self.client)
        jobs.run(job.pk)
        job.refresh_from_db()
        address = f"/api/change-sets/{job.change_set_id}/undo/"
        with mock.patch("core.undo.AT_ONCE", 2):
            reader = self.key("change-sets:read", "contacts:read", "contacts:write")
            refused = reader.post(address, {"partial": True})
            self.assertEqual(refused.status_code, 202, refused.content)
            jobs.run(refused.json()["id"])
            self.assertEqual(Contact.objects.live().count(), 5)
            remover = self.key("change-sets:read", "contacts:read", "contacts:delete")
            undone = remover.post(address, {"partial": True})
        with IN_TWOS:
            jobs.run(undone.json()["id"])
        self.assertEqual(Contact.objects.live().count(), 0)
        undo = Job.objects.get(pk=undone.json()["id"])
        self.assertEqual(undo.change_set.api_key, self.made)

    def test_an_undo_stops_where_its_key_is_revoked(self):
        job = self.start(self.client)
        jobs.run(job.pk)
        job.refresh_from_db()
        client = self.key("change-sets:read", "contacts:read", "contacts:delete")
        address = f"/api/change-sets/{job.change_set_id}/undo/"
        with (
            mock.patch("core.undo.AT_ONCE", 2),
            IN_TWOS,
        ):
            undo = client.post(address, {"partial": True}).json()
            jobs.run(undo["id"], seconds=0)
            self.client.post(f"{KEYS}{self.made.pk}/revoke/")
            jobs.run(undo["id"])
        self.assertEqual(Contact.objects.live().count(), 3)
        undo = Job.objects.get(pk=undo["id"])
        self.assertEqual(undo.counts, {"undone": 2, "conflicts": 3})


class AdminTests(KeyTestCase):
    PAGE = "/admin/user_management/apikey/"

    def setUp(self):
        super().setUp()
        self.key("contacts:read", name="Shop")
        self.page = Client()
        self.page.force_login(self.admin)

    def test_keys_are_listed_searched_and_filtered(self):
        for query, found in (
            ("", True),
            ("?q=Shop", True),
            (f"?q={self.made.prefix}", True),
            ("?q=nothing", False),
            ("?state=live", True),
            ("?state=revoked", False),
            ("?state=expired", False),
        ):
            with self.subTest(query):
                content = self.page.get(f"{self.PAGE}{query}").content.decode()
                self.assertEqual(f"{self.made.pk}/change/" in content, found)

    def test_a_key_can_be_looked_at_and_neither_changed_nor_made_nor_deleted(self):
        one = f"{self.PAGE}{self.made.pk}/"
        shown = self.page.get(f"{one}change/")
        self.assertContains(shown, self.made.prefix)
        self.assertNotContains(shown, self.made.digest)
        self.page.post(f"{one}change/", {"name": "x"})
        self.assertEqual(self.page.get(f"{self.PAGE}add/").status_code, 403)
        self.assertEqual(self.page.post(f"{one}delete/").status_code, 403)
        self.assertEqual(self.stored().name, "Shop")
        self.assertEqual(self.page.get(f"{one}history/").status_code, 200)

    def test_keys_are_revoked(self):
        form = {"action": "revoke_selected", "_selected_action": str(self.made.pk)}
        self.page.post(self.PAGE, form)
        self.assertIsNotNone(self.stored().revoked_at)
        made = ChangeSet.objects.latest("pk")
        self.assertEqual((made.source, made.actor), ("admin", self.admin))
