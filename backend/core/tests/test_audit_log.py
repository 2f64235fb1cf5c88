import csv
import io
import uuid
from datetime import timedelta
from unittest import mock

from django.test import Client, TestCase
from django.utils import timezone
from rest_framework.test import APIClient

from contact_management.models import Contact
from core import csvfile, merging
from core.access import Scope, Verb
from core.models import Change, ChangeSet, SecurityEvent
from core.testing import ALL, OWN, Cast, client_of, make_role, make_user
from core.views import audit_log

PATH = "/api/audit-log/"
EXPORT = f"{PATH}export/"
SEE = {Verb.VIEW: Scope.ALL, Verb.EXPORT: Scope.ALL}
FROM = {
    "REMOTE_ADDR": "192.0.2.7",
    "HTTP_USER_AGENT": "Analyst/1",
    "HTTP_X_REQUEST_ID": "r1",
    "HTTP_X_CHANGE_REASON": "Typo",
}


class AuditLogTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        here, there = cls.cast.organization, cls.cast.other_organization
        role = make_role(here, "auditor", ALL, auditlog=SEE)
        cls.auditor = make_user(here, "auditor", role)
        cls.foreigner = make_user(
            there, "foreigner", make_role(there, "auditor", ALL, auditlog=SEE)
        )

    def setUp(self):
        self.client = client_of(self.auditor)
        # Without what made the cast.
        self.since = timezone.now().isoformat()

    def made(self, last_name="King", user=None, **fields) -> Contact:
        contact = Contact()
        with ChangeSet.open(actor=user or self.cast.alice, source="api") as changes:
            changes.save(contact, last_name=last_name, **fields)
        return contact

    def event(self, user=None, kind="sign_in", **fields) -> SecurityEvent:
        user = user or self.cast.alice
        return SecurityEvent.objects.create(
            organization_id=user.organization_id, user=user, kind=kind, **fields
        )

    def get(self, path=PATH, client=None, **query):
        query = {"created_at__gte": self.since, **query}
        return (client or self.client).get(path, query)

    def page(self, **query) -> dict:
        response = self.get(**query)
        self.assertEqual(response.status_code, 200, response.content)
        return response.json()

    def found(self, **query) -> list[str]:
        return [entry["id"] for entry in self.page(**query)["results"]]

    def id_of(self, record, version=1) -> str:
        change = Change.objects.get(record_id=record.pk, version=version)
        return f"change-{change.pk}"

    def assertBad(self, field, code, path=PATH, **query):
        response = self.client.get(path, query)
        self.assertEqual(response.status_code, 400, response.content)
        errors = [(e["field"], e["code"]) for e in response.json()["errors"]]
        self.assertEqual(errors, [(field, code)])


class EntryTests(AuditLogTestCase):
    def actor(self, user) -> dict:
        names = ("id", "email", "first_name", "last_name")
        return {name: str(getattr(user, name)) for name in names}

    def test_a_change_tells_who_what_when_why_and_from_where(self):
        contact = self.made()
        manager = client_of(self.cast.manager)
        path = f"/api/contacts/{contact.pk}/"
        manager.patch(path, {"last_name": "Byron"}, **FROM)
        change = Change.objects.get(record_id=contact.pk, version=2)
        [update, creation] = self.page()["results"]
        self.assertEqual(
            update,
            {
                "id": f"change-{change.pk}",
                "kind": "change",
                "action": "update",
                "actor": self.actor(self.cast.manager),
                "api_key": None,
                "record_type": "contact",
                "record_id": str(contact.pk),
                "version": 2,
                "before": {"last_name": "King"},
                "after": {"last_name": "Byron"},
                "detail": {},
                "source": "api",
                "reason": "Typo",
                "address": "192.0.2.7",
                "user_agent": "Analyst/1",
                "request_id": "r1",
                "created_at": change.created_at.isoformat().replace("+00:00", "Z"),
                "change_set": str(change.change_set_id),
            },
        )
        self.assertEqual(creation["action"], "create")
        self.assertEqual((creation["before"], creation["after"]), ({}, {}))

    def test_a_refusal_stands_in_the_log_with_what_was_asked(self):
        contact = self.made()
        path = f"/api/contacts/{contact.pk}/"
        refused = client_of(self.cast.reader).delete(path, **FROM)
        event = SecurityEvent.objects.get()
        self.assertEqual(
            self.page(kind="security")["results"],
            [
                {
                    "id": f"security-{event.pk}",
                    "kind": "security",
                    "action": "refused",
                    "actor": self.actor(self.cast.reader),
                    "api_key": None,
                    "record_type": "contact",
                    "record_id": str(contact.pk),
                    "version": None,
                    "before": {},
                    "after": {},
                    "detail": {
                        "method": "DELETE",
                        "path": path,
                        "reason": refused.json()["detail"],
                    },
                    "source": None,
                    "reason": "",
                    "address": "192.0.2.7",
                    "user_agent": "Analyst/1",
                    "request_id": "r1",
                    "created_at": event.created_at.isoformat().replace("+00:00", "Z"),
                    "change_set": None,
                }
            ],
        )

    def test_a_change_of_a_role_stands_in_the_log(self):
        with ChangeSet.open(organization=self.cast.organization, source="system") as c:
            c.save(self.cast.bob, role=self.auditor.role)
        [entry] = self.page(record_type="user")["results"]
        self.assertEqual(entry["after"], {"role": str(self.auditor.role.pk)})
        self.assertEqual((entry["actor"], entry["source"]), (None, "system"))

    def test_a_log_that_did_not_change_is_not_sent_again(self):
        etag = self.get()["ETag"]
        query = {"created_at__gte": self.since}
        same = self.client.get(PATH, query, HTTP_IF_NONE_MATCH=etag)
        self.assertEqual((same.status_code, same.content), (304, b""))

    def test_a_page_takes_the_same_queries_for_few_and_many(self):
        for n in range(30):
            self.made(f"King {n}")
            self.event()
        # Counts, places, rows: of two logs each.
        with self.assertNumQueries(6):
            self.page(page_size=2)
        with self.assertNumQueries(6):
            self.page(page_size=50)
        with self.assertNumQueries(4):
            self.page(page_size=50, cursor="")


class RightTests(AuditLogTestCase):
    def test_without_the_right_it_is_refused(self):
        for user in (self.cast.manager, self.cast.alice, self.cast.reader):
            for path in (PATH, EXPORT):
                with self.subTest(f"{user} {path}"):
                    response = self.get(path, client_of(user), surprise=1)
                    self.assertEqual(response.status_code, 403)
                    event = SecurityEvent.objects.latest("pk")
                    self.assertEqual((event.kind, event.user), ("refused", user))
                    self.assertEqual(event.record_type, "auditlog")

    def test_anonymous_is_refused(self):
        for path in (PATH, EXPORT):
            self.assertEqual(self.get(path, APIClient()).status_code, 401)

    def test_seeing_is_not_exporting(self):
        role = make_role(
            self.cast.organization, "viewer", ALL, auditlog={Verb.VIEW: Scope.ALL}
        )
        viewer = client_of(make_user(self.cast.organization, "viewer", role))
        self.assertEqual(self.get(client=viewer).status_code, 200)
        self.assertEqual(self.get(EXPORT, viewer).status_code, 403)
        self.assertEqual(list(SecurityEvent.objects.filter(kind="export")), [])

    def test_the_scope_says_whose_doings_are_seen(self):
        role = make_role(self.cast.organization, "self", ALL, auditlog=OWN)
        user = make_user(self.cast.organization, "self", role)
        self.made()
        self.event()
        mine, event = self.made(user=user), self.event(user)
        response = self.get(client=client_of(user))
        ids = [entry["id"] for entry in response.json()["results"]]
        self.assertEqual(ids, [f"security-{event.pk}", self.id_of(mine)])

    def test_nothing_of_another_organization_ever_appears(self):
        theirs = self.made(user=self.foreigner)
        event = self.event(self.foreigner, record_id=theirs.pk, address="192.0.2.9")
        SecurityEvent.objects.create(kind="sign_in_failed", detail={"email": "x"})
        ids = {self.id_of(theirs), f"security-{event.pk}"}
        for query in (
            {},
            {"cursor": ""},
            {"actor": str(self.foreigner.pk)},
            {"record_id": str(theirs.pk)},
            {"address": "192.0.2.9"},
            {"kind": "security"},
        ):
            with self.subTest(query):
                self.assertEqual(self.found(**query), [])
        response = self.get(client=client_of(self.foreigner))
        self.assertEqual({e["id"] for e in response.json()["results"]}, ids)
        exported = b"".join(self.get(EXPORT, self.client).streaming_content)
        self.assertNotIn(str(theirs.pk).encode(), exported)

    def test_a_cursor_of_another_reader_shows_nothing_of_theirs(self):
        self.made(user=self.foreigner)
        self.made("Boole", user=self.foreigner)
        theirs = self.get(client=client_of(self.foreigner), cursor="", page_size=1)
        response = self.client.get(theirs.json()["next"])
        self.assertEqual(response.json()["results"], [])


class FilterTests(AuditLogTestCase):
    def setUp(self):
        super().setUp()
        self.king = self.made(user=self.auditor)
        self.boole = self.made("Boole")
        with ChangeSet.open(
            actor=self.cast.manager, source="admin", address="2001:db8::1"
        ) as changes:
            changes.save(self.boole, last_name="Byron")
        self.sign_in = self.event(address="2001:db8::1")
        self.refusal = self.event(
            self.auditor, "refused", record_type="contact", record_id=self.boole.pk
        )
        self.ids = {
            "king": self.id_of(self.king),
            "boole": self.id_of(self.boole),
            "byron": self.id_of(self.boole, 2),
            "sign_in": f"security-{self.sign_in.pk}",
            "refusal": f"security-{self.refusal.pk}",
        }

    def assertFound(self, names: str, **query):
        for more in ({}, {"cursor": ""}):
            with self.subTest(**query, **more):
                wanted = [self.ids[name] for name in names.split()]
                self.assertEqual(self.found(**query, **more), wanted)

    def test_each_filter_finds_in_both_logs(self):
        self.assertFound("refusal sign_in byron boole king")
        self.assertFound("refusal king", actor="me")
        self.assertFound("sign_in boole", actor=str(self.cast.alice.pk))
        self.assertFound("", actor=str(uuid.uuid4()))
        self.assertFound("refusal byron boole king", record_type="contact")
        self.assertFound("refusal byron boole", record_id=str(self.boole.pk))
        self.assertFound("byron", action="update")
        self.assertFound("sign_in", action="sign_in")
        self.assertFound("byron", source="admin")
        self.assertFound("boole king", source="api")
        self.assertFound("sign_in byron", address="2001:0DB8:0::1")
        self.assertFound("byron boole king", kind="change")
        self.assertFound("refusal sign_in", kind="security")
        self.assertFound("byron", record_type="contact", action="update", kind="change")

    def test_times_bound_both_logs(self):
        byron = Change.objects.get(record_id=self.boole.pk, version=2).created_at
        at = byron.isoformat()
        self.assertFound("refusal sign_in byron", created_at__gte=at)
        self.assertFound("refusal sign_in", created_at__gt=at)
        self.assertFound("byron boole king", created_at__lte=at)
        self.assertFound("boole king", created_at__lt=at)

    def test_bad_parameters_are_named(self):
        for path in (PATH, EXPORT):
            for name, value, code in (
                ("surprise", "1", "unknown_parameter"),
                ("search", "x", "unknown_parameter"),
                ("ordering", "id", "unknown_parameter"),
                ("actor", "nobody", "invalid"),
                ("actor", "", "blank"),
                ("record_id", "1", "invalid"),
                ("record_type", "a\0", "null_characters_not_allowed"),
                ("action", "destroy", "invalid_choice"),
                ("source", "x", "invalid_choice"),
                ("kind", "x", "invalid_choice"),
                ("address", "somewhere", "invalid"),
                ("created_at__gte", "soon", "invalid"),
                ("created_at__gte", "0001-01-01T00:00:00+14:00", "invalid"),
            ):
                with self.subTest(f"{path} {name}={value}"):
                    self.assertBad(name, code, path, **{name: value})
        for name in ("page", "page_size", "cursor"):
            self.assertBad(name, "unknown_parameter", EXPORT, **{name: "1"})
        response = self.client.get(f"{PATH}?actor=me&actor=me")
        self.assertEqual(response.json()["errors"][0]["code"], "repeated")


class PageTests(AuditLogTestCase):
    def setUp(self):
        super().setUp()
        # Several rows of both logs at one moment, which the pages must tell apart.
        moment = timezone.now()
        with mock.patch("django.utils.timezone.now", return_value=moment):
            for n in range(4):
                self.made(f"King {n}")
        for n in range(3):
            self.event(created_at=moment)
            self.event(created_at=moment - timedelta(microseconds=n))
            self.made(f"Boole {n}")
        self.all = self.found(page_size=200)

    def walk(self, **query) -> list[list[str]]:
        pages, page = [], self.page(**query)
        while True:
            pages.append([entry["id"] for entry in page["results"]])
            if not page["next"]:
                break
            page = self.client.get(page["next"]).json()
        back = [pages[-1]]
        while page["previous"]:
            page = self.client.get(page["previous"]).json()
            back.insert(0, [entry["id"] for entry in page["results"]])
        self.assertEqual(back, pages)
        return pages

    def test_pages_and_cursors_show_each_row_once_forwards_and_back(self):
        self.assertEqual(len(set(self.all)), 13)
        times = [e["created_at"] for e in self.page(page_size=200)["results"]]
        self.assertEqual(times, sorted(times, reverse=True))
        for size in (1, 2, 3, 5, 13, 20):
            for start in ({}, {"cursor": ""}):
                with self.subTest(size=size, **start):
                    pages = self.walk(page_size=size, **start)
                    self.assertEqual([i for page in pages for i in page], self.all)

    def test_a_cursor_stays_where_it_is_while_rows_are_added(self):
        first = self.page(cursor="", page_size=5)
        self.made("Byron")
        second = self.client.get(first["next"]).json()
        self.assertEqual([e["id"] for e in second["results"]], self.all[5:10])

    def test_a_page_counts_both_logs(self):
        self.assertEqual(self.page(page_size=1)["count"], 13)

    def test_no_more_is_counted_than_pages_go(self):
        with mock.patch.object(merging, "MAX_COUNT", 5):
            pages = self.walk(page_size=2)
            first = self.page(page_size=2)
        self.assertEqual([i for page in pages for i in page], self.all[:6])
        self.assertEqual((first["count"], first["capped"]), (5, True))
        with mock.patch.object(merging, "MAX_COUNT", 13):
            first = self.page(page_size=2)
        self.assertEqual((first["count"], first["capped"]), (13, False))

    def test_pages_that_are_not_there_or_too_deep_are_refused(self):
        self.assertEqual(self.get(page=2).status_code, 404)
        self.assertBad("page", "max_value", page=51, page_size=200)
        self.assertBad("page", "invalid", page=0)
        self.assertBad("page_size", "max_value", page_size=201)
        self.assertBad("page", "invalid", page=1, cursor="")
        self.assertEqual(self.get(page=50, page_size=200).status_code, 404)

    def test_cursors_that_are_not_ours_are_refused(self):
        url = self.page(cursor="", page_size=5)["next"]
        cursor = url.split("cursor=")[1].split("&")[0]
        self.assertBad("cursor", "invalid", cursor="x")
        # Of the same address, but with other filters.
        response = self.client.get(f"{PATH}?cursor={cursor}&kind=change")
        self.assertEqual(response.json()["errors"][0]["code"], "wrong_query")


class ExportTests(AuditLogTestCase):
    def exported(self, **query) -> list[dict]:
        response = self.get(EXPORT, **query)
        self.assertEqual(response.status_code, 200)
        self.assertTrue(response.streaming)
        self.assertEqual(response["Content-Type"], "text/csv; charset=utf-8")
        text = b"".join(response.streaming_content).decode()
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def test_it_has_the_rows_of_the_list_in_its_order(self):
        for n in range(5):
            self.made(f"King {n}")
            self.event()
        with mock.patch.object(audit_log, "EXPORT_BATCH", 3):
            rows = self.exported(kind="change")
        self.assertEqual([row["id"] for row in rows], self.found(kind="change"))
        self.assertEqual(list(rows[0]), audit_log.COLUMNS)

    def test_a_row_tells_what_an_entry_does(self):
        contact = self.made()
        client_of(self.cast.manager).patch(
            f"/api/contacts/{contact.pk}/", {"last_name": "Byron, Ada"}, **FROM
        )
        [row, creation] = self.exported(record_id=str(contact.pk))
        [entry, _] = self.page(record_id=str(contact.pk))["results"]
        self.assertEqual(row["after"], '{"last_name":"Byron, Ada"}')
        self.assertEqual(row["actor_email"], self.cast.manager.email)
        self.assertEqual(row["actor_id"], str(self.cast.manager.pk))
        for name in ("id", "created_at", "address", "change_set", "record_id"):
            self.assertEqual(row[name], entry[name])
        self.assertEqual((creation["before"], creation["after"]), ("", ""))

    def test_it_is_itself_in_the_log(self):
        response = self.get(EXPORT, kind="change")
        event = SecurityEvent.objects.get()
        self.assertEqual((event.kind, event.user), ("export", self.auditor))
        self.assertEqual(event.record_type, "auditlog")
        self.assertIn("kind=change", event.detail["query"])
        b"".join(response.streaming_content)

    def test_what_a_spreadsheet_would_run_is_text(self):
        # One with a quote before it gets another: reading takes one off again.
        for text in ("=1+1", "+1", "-1", "@x", "\tx", "\rx", "'=1"):
            with self.subTest(repr(text)):
                self.assertEqual(csvfile.cell(text), f"'{text}")
        for text in ("", "1=1", "'tis", " =1"):
            self.assertEqual(csvfile.cell(text), text)
        self.event(user_agent='=HYPERLINK("http://example.com")')
        [row] = self.exported(action="sign_in")
        self.assertEqual(row["user_agent"], '\'=HYPERLINK("http://example.com")')

    def test_one_batch_is_in_memory_at_a_time(self):
        for n in range(6):
            self.made(f"King {n}")
        sizes = []
        places = merging.places

        def watched(rows, size, start=None):
            found = places(rows, size, start)
            sizes.append(len(found))
            return found

        with (
            mock.patch.object(audit_log, "EXPORT_BATCH", 4),
            mock.patch.object(merging, "places", watched),
        ):
            response = self.get(EXPORT, kind="change")
            stream = iter(response.streaming_content)
            next(stream)
            self.assertEqual(sizes, [])
            next(stream)
            self.assertEqual(sizes, [4])
            self.assertEqual(len(list(stream)), 1)
        self.assertEqual(sizes, [4, 2, 0])


class AdminTests(AuditLogTestCase):
    URL = "/admin/core/securityevent/"

    def setUp(self):
        super().setUp()
        self.mine = self.event(address="192.0.2.7", user_agent="Analyst/1")
        self.refusal = self.event(self.cast.bob, "refused")
        self.theirs = self.event(self.foreigner)

    def staff(self, **more):
        role = make_role(self.cast.organization, "staff", ALL, **more)
        user = make_user(self.cast.organization, "staff", role, is_staff=True)
        client = Client()
        client.force_login(user)
        return client

    def found(self, client, **query) -> list[SecurityEvent]:
        response = client.get(self.URL, query)
        self.assertEqual(response.status_code, 200)
        events = response.context["cl"].result_list
        return [event for event in events if event.user.first_name != "staff"]

    def test_staff_with_the_right_look_filter_and_search(self):
        client = self.staff(auditlog=SEE)
        self.assertEqual(self.found(client), [self.refusal, self.mine])
        self.assertEqual(self.found(client, kind__exact="refused"), [self.refusal])
        self.assertEqual(self.found(client, q="192.0.2.7"), [self.mine])
        self.assertEqual(self.found(client, q="bob@"), [self.refusal])
        self.assertContains(client.get(f"{self.URL}{self.mine.pk}/change/"), "Analyst")
        self.assertContains(client.get("/admin/"), self.URL)

    def test_nobody_writes_there(self):
        client = self.staff(auditlog=ALL)
        for address in ("add/", f"{self.mine.pk}/delete/"):
            self.assertEqual(client.get(f"{self.URL}{address}").status_code, 403)
        client.post(f"{self.URL}{self.mine.pk}/change/", {"kind": "refused"})
        client.post(
            self.URL, {"action": "delete_selected", "_selected_action": self.mine.pk}
        )
        self.assertEqual(SecurityEvent.objects.get(pk=self.mine.pk).kind, "sign_in")

    def test_without_the_right_there_is_nothing(self):
        client = self.staff()
        for address in ("", f"{self.mine.pk}/change/"):
            self.assertEqual(client.get(f"{self.URL}{address}").status_code, 403)
        self.assertNotContains(client.get("/admin/"), self.URL)

    def test_events_of_another_organization_are_not_there(self):
        client = self.staff(auditlog=SEE)
        response = client.get(f"{self.URL}{self.theirs.pk}/change/")
        self.assertEqual(response.status_code, 302)
