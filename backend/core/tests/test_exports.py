import csv
import io
import os
import time
from contextlib import closing
from datetime import timedelta
from unittest import mock

from django.conf import settings
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from openpyxl import load_workbook

from contact_management.models import Company, Contact
from core import jobs, tasks
from core.access import Scope, Verb
from core.exporting import formats, wish
from core.exporting.job import file_of
from core.models import CustomField, Job, SecurityEvent
from core.testing import (
    ALL,
    MARKER,
    Cast,
    client_of,
    make_role,
    make_user,
    system_changes,
)

PATH = "/api/exports/"
CHUNK = 4


class ExportTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        with system_changes(cls.cast.organization) as changes:
            cls.contacts = [
                Contact(
                    owner=cls.cast.alice, last_name=f"King {n}", email=f"{n}@king.com"
                )
                for n in range(10)
            ]
            changes.bulk_create(Contact, cls.contacts)
            bobs = Contact(owner=cls.cast.bob, last_name="Queen", city="London")
            changes.bulk_create(Contact, [bobs])
        cls.bobs = bobs

    def setUp(self):
        self.alice = client_of(self.cast.alice)
        self.manager = client_of(self.cast.manager)
        for patch in (
            mock.patch.object(wish, "CHUNK_ROWS", CHUNK),
            mock.patch.object(jobs, "PAUSE_SECONDS", 0),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def ask(self, client=None, **body) -> Job:
        body = {"record_type": "contact", **body}
        response = (client or self.manager).post(PATH, body)
        self.assertEqual(response.status_code, 202, response.content)
        self.addCleanup(file_of(response.json()["id"]).unlink, missing_ok=True)
        return Job.objects.get(pk=response.json()["id"])

    def run_job(self, job) -> Job:
        while jobs.run(job.pk):
            pass
        job.refresh_from_db()
        return job

    def done(self, client=None, **body) -> Job:
        job = self.run_job(self.ask(client, **body))
        self.assertEqual(job.status, "done", job.error)
        return job

    def content(self, job, client=None) -> bytes:
        response = (client or self.manager).get(f"{PATH}{job.pk}/download/")
        self.assertEqual(response.status_code, 200, response)
        return b"".join(response.streaming_content)

    def rows(self, client=None, **body) -> list[dict]:
        client = client or self.manager
        text = self.content(self.done(client, **body), client).decode("utf-8-sig")
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def names(self, client=None, **body) -> list[str]:
        return [row["last_name"] for row in self.rows(client, **body)]

    def assertProblem(self, response, status, code, field=None):
        self.assertEqual(response.status_code, status, response.content)
        problem = response.json()
        if field is None:
            self.assertEqual(problem["code"], code)
        else:
            found = [(e["field"], e["code"]) for e in problem["errors"]]
            self.assertIn((field, code), found)


class RequestTests(ExportTestCase):
    def test_the_answer_tells_what_was_asked_and_then_where_the_file_is(self):
        asked = {
            "format": "csv",
            "filters": {"last_name__icontains": "king"},
            "fields": ["last_name", "email"],
            "ordering": "last_name",
        }
        job = self.ask(**asked)
        queued = self.manager.get(f"{PATH}{job.pk}/").json()
        self.assertEqual({name: queued[name] for name in asked}, asked)
        self.assertEqual((queued["status"], queued["download"]), ("queued", None))
        self.run_job(job)
        done = self.manager.get(f"{PATH}{job.pk}/").json()
        self.assertEqual(
            (done["status"], done["done"], done["total"]), ("done", 10, 10)
        )
        self.assertEqual(done["download"], f"http://testserver{PATH}{job.pk}/download/")
        expiry = job.finished_at + timedelta(hours=24)
        self.assertEqual(done["expires_at"], expiry.isoformat().replace("+00:00", "Z"))
        content = self.content(job)
        self.assertEqual(done["size"], len(content))
        lines = content.decode("utf-8-sig").splitlines()
        self.assertEqual(lines[:2], ["last_name,email", "King 0,0@king.com"])
        listed = self.manager.get(PATH).json()["results"]
        self.assertEqual([one["id"] for one in listed], [str(job.pk)])

    def test_filters_search_order_and_deleted_are_those_of_the_list(self):
        with system_changes(self.cast.organization) as changes:
            changes.delete(self.contacts[3])
        for filters, ordering in (
            ({}, ""),
            ({}, "-last_name"),
            ({}, "city,-email"),
            ({"search": "king"}, "created_at"),
            ({"last_name__in": ["King 1", "King 2"]}, "-source,last_name"),
            ({"owner": str(self.cast.bob.pk)}, ""),
            ({"deleted": True}, ""),
        ):
            with self.subTest(filters=filters, ordering=ordering):
                query = {
                    name: ",".join(v)
                    if isinstance(v, list)
                    else str(v).lower()
                    if isinstance(v, bool)
                    else v
                    for name, v in filters.items()
                }
                shape = {"ordering": ordering} if ordering else {}
                listed = self.manager.get("/api/contacts/", {**query, **shape}).json()
                found = self.rows(filters=filters, **shape)
                self.assertGreater(len(found), 0)
                self.assertEqual(
                    [row["id"] for row in found],
                    [record["id"] for record in listed["results"]],
                )

    def test_what_is_wrong_is_named_and_nothing_is_begun(self):
        for body, code, field in (
            ({"record_type": "dragon"}, "invalid_choice", "record_type"),
            ({"format": "pdf"}, "invalid_choice", "format"),
            ({"filters": {"surprise": "1"}}, "unknown_parameter", "filters.surprise"),
            ({"filters": {"ordering": "id"}}, "unknown_parameter", "filters.ordering"),
            ({"filters": {"page": "1"}}, "unknown_parameter", "filters.page"),
            ({"filters": {"owner": "x"}}, "invalid", "filters.owner"),
            ({"filters": {"deleted": "x"}}, "invalid", "filters.deleted"),
            ({"filters": {"search": {}}}, "invalid", "filters.search"),
            ({"filters": []}, "not_a_dict", "filters"),
            ({"fields": ["surprise"]}, "unknown_field", "fields"),
            ({"fields": []}, "empty", "fields"),
            ({"ordering": "tags"}, "unknown_ordering", "ordering"),
            ({"version": "2.1"}, "invalid_choice", "version"),
            ({"record_type": "tag", "format": "vcard"}, "not_offered", "format"),
            ({"surprise": 1}, "unknown_field", "surprise"),
        ):
            with self.subTest(body):
                body = {"record_type": "contact", **body}
                self.assertProblem(self.manager.post(PATH, body), 400, code, field)
        self.assertFalse(Job.objects.exists())

    def test_a_dry_run_only_says_whether_it_could_be_asked(self):
        body = {"record_type": "contact"}
        response = self.manager.post(f"{PATH}?dry_run=true", body)
        self.assertEqual(response.status_code, 202)
        self.assertFalse(Job.objects.exists())

    def test_an_export_of_everything_takes_a_recent_sign_in(self):
        self.cast.manager.signed_in_at = lambda request: time.time() - 24 * 3600
        for filters, status in (
            ({}, 403),
            ({"deleted": "true"}, 403),
            ({"city": "London"}, 202),
        ):
            with self.subTest(filters):
                body = {"record_type": "contact", "filters": filters}
                response = self.manager.post(PATH, body)
                self.assertEqual(response.status_code, status, response.content)
        self.assertEqual(Job.objects.count(), 1)


class RightsTests(ExportTestCase):
    def exporter(self, scope, name="exporter", hidden=(), team=None):
        """Somebody who sees all, and may export this much."""
        rights = {Verb.VIEW: Scope.ALL, Verb.EXPORT: scope}
        fields = {"contact": {"hidden": list(hidden)}} if hidden else {}
        role = make_role(self.cast.organization, name, rights, fields)
        return make_user(self.cast.organization, name, role, team)

    def test_only_what_the_right_to_export_covers_is_in_it(self):
        self.assertEqual(len(self.names()), 11)
        self.assertEqual(len(self.names(self.alice)), 10)
        bob = client_of(self.cast.bob)
        self.assertEqual(bob.get("/api/contacts/").json()["count"], 11)
        self.assertEqual(self.names(bob), ["Queen"])
        team = self.exporter(Scope.TEAM, team=self.cast.team)
        self.assertEqual(len(self.names(client_of(team))), 11)
        carol = client_of(self.cast.carol)
        self.assertEqual(self.names(carol), [])

    def test_who_may_not_export_is_refused(self):
        reader = client_of(self.cast.reader)
        response = reader.post(PATH, {"record_type": "contact"})
        self.assertProblem(response, 403, "permission_denied")
        self.assertFalse(Job.objects.exists())

    def test_what_is_exported_is_seen_too(self):
        rights = {Verb.VIEW: Scope.OWN, Verb.EXPORT: Scope.ALL}
        role = make_role(self.cast.organization, "odd", rights)
        odd = make_user(self.cast.organization, "odd", role)
        self.assertEqual(self.names(client_of(odd)), [])

    def test_hidden_fields_are_absent(self):
        with system_changes(self.cast.organization) as changes:
            changes.save(
                self.bobs,
                notes=MARKER,
                phone="+49 171 1234567",
                custom_fields={"secret": MARKER, "open": "yes"},
            )
        hidden = ("notes", "phone", "custom_fields.secret")
        client = client_of(self.exporter(Scope.ALL, hidden=hidden))
        for kind in ("csv", "vcard"):
            with self.subTest(kind):
                content = self.content(self.done(client, format=kind), client).decode()
                self.assertNotIn(MARKER, content)
                self.assertNotIn("4917", content.replace(" ", ""))
        header = self.rows(client, filters={"city": "London"})[0].keys()
        self.assertTrue({"mobile", "custom_fields.open"} <= header)
        self.assertFalse({"notes", "phone", "phone_e164"} & header)
        self.assertNotIn("custom_fields.secret", header)
        for body, field in (
            ({"fields": ["notes"]}, "fields"),
            ({"ordering": "phone"}, "ordering"),
            ({"filters": {"notes__icontains": "x"}}, "filters.notes__icontains"),
        ):
            with self.subTest(body):
                response = client.post(PATH, {"record_type": "contact", **body})
                self.assertEqual(response.status_code, 400)
                self.assertEqual(response.json()["errors"][0]["field"], field)

    def test_a_company_that_is_not_seen_is_not_told(self):
        company = Company(owner=self.cast.manager, name="X", domain="x.com")
        with system_changes(self.cast.organization) as changes:
            changes.bulk_create(Company, [company])
            changes.save(self.bobs, company=company)
        role = make_role(
            self.cast.organization, "blind", ALL, company={Verb.VIEW: Scope.NONE}
        )
        blind = client_of(make_user(self.cast.organization, "blind", role))
        for client, told in (
            (self.manager, (str(company.pk), "x.com")),
            (blind, ("", "")),
        ):
            [row] = self.rows(client, filters={"city": "London"})
            self.assertEqual((row["company_id"], row["company_domain"]), told)
            self.assertEqual(row["owner"], self.cast.bob.email)

    def test_rights_that_are_lost_while_it_runs_end_it(self):
        cases = (
            ({"rights": {"*": {Verb.VIEW: Scope.ALL}}}, "permission_denied"),
            ({"field_rights": {"contact": {"hidden": ["city"]}}}, "rights_changed"),
            ({"rights": {"*": {Verb.VIEW: "all", "export": "own"}}}, "rights_changed"),
        )
        for number, (change, code) in enumerate(cases):
            with self.subTest(change):
                user = self.exporter(Scope.ALL, f"leaver-{number}")
                job = self.ask(client_of(user))
                self.assertTrue(jobs.run(job.pk, seconds=-1))
                self.assertTrue(file_of(job.pk).exists())
                with system_changes(self.cast.organization) as changes:
                    rights = {**user.role.rights, **change.get("rights", {})}
                    changes.save(user.role, **{**change, "rights": rights})
                self.run_job(job)
                self.assertEqual((job.status, job.error["code"]), ("failed", code))
                self.assertFalse(file_of(job.pk).exists())

    def test_the_file_needs_the_rights_that_it_was_made_with(self):
        user = self.exporter(Scope.ALL)
        job = self.done(client_of(user))
        address = f"{PATH}{job.pk}/download/"
        role = user.role
        for change in (
            {"rights": {**role.rights, "*": {Verb.VIEW: "all"}}},
            {"rights": {**role.rights, "*": {Verb.VIEW: "all", "export": "own"}}},
            {"field_rights": {"contact": {"hidden": ["city"]}}},
        ):
            with self.subTest(change):
                before = {"rights": role.rights, "field_rights": role.field_rights}
                with system_changes(self.cast.organization) as changes:
                    changes.save(role, **change)
                user = type(user).objects.get(pk=user.pk)
                refused = client_of(user).get(address)
                self.assertProblem(refused, 403, "permission_denied")
                with system_changes(self.cast.organization) as changes:
                    changes.save(role, **before)
        user = type(user).objects.get(pk=user.pk)
        self.assertIn(b"King 0", self.content(job, client_of(user)))

    def test_who_else_sees_the_job_needs_the_right_to_export_all_of_it(self):
        job = self.done(self.alice)
        address = f"{PATH}{job.pk}/download/"
        for name, rights, status in (
            ("chief", ALL, 200),
            ("viewer", {Verb.VIEW: Scope.ALL}, 403),
            ("lesser", {Verb.VIEW: Scope.ALL, Verb.EXPORT: Scope.OWN}, 403),
        ):
            with self.subTest(name):
                role = make_role(
                    self.cast.organization, name, rights, job={Verb.VIEW: Scope.ALL}
                )
                user = make_user(self.cast.organization, name, role)
                response = client_of(user).get(address)
                self.assertEqual(response.status_code, status)
                b"".join(response)
        for user in (self.cast.bob, self.cast.manager, self.cast.carol):
            with self.subTest(user):
                self.assertProblem(client_of(user).get(address), 404, "not_found")


class CustomFieldTests(ExportTestCase):
    def test_each_is_a_column_in_the_words_of_its_kind(self):
        with system_changes(self.cast.organization) as changes:
            changes.save(self.bobs, custom_fields={"old": "x", "size": 10})
        choices = [{"value": "a", "label": "Alpha"}, {"value": "b", "label": "Beta"}]
        with system_changes(self.cast.organization) as changes:
            for position, (key, kind, more) in enumerate(
                (
                    ("size", "number", {}),
                    ("plan", "choice", {"choices": choices}),
                    ("boss", "user", {}),
                    ("paid", "boolean", {}),
                )
            ):
                values = {"label": key, "applies_to": "contact", "position": position}
                changes.save(CustomField(), key=key, kind=kind, **values, **more)
        values = {"plan": "b", "boss": str(self.cast.alice.pk), "paid": True}
        address = f"/api/contacts/{self.bobs.pk}/"
        changed = self.manager.patch(address, {"custom_fields": values})
        self.assertEqual(changed.status_code, 200, changed.content)
        [row] = self.rows(
            filters={"custom_fields.size__gte": 5},
            fields=["custom_fields"],
            ordering="-custom_fields.size",
        )
        self.assertEqual(
            row,
            {
                "custom_fields.size": "10",
                "custom_fields.plan": "Beta",
                "custom_fields.boss": self.cast.alice.email,
                "custom_fields.paid": "true",
                "custom_fields.old": "x",
            },
        )

    def test_the_order_of_one_is_gone_on_with_in_the_next_chunk(self):
        with system_changes(self.cast.organization) as changes:
            field = {"label": "Size", "applies_to": "contact"}
            changes.save(CustomField(), key="size", kind="number", **field)
        with system_changes(self.cast.organization) as changes:
            for number, contact in enumerate(self.contacts[:7]):
                contact = Contact.objects.get(pk=contact.pk)
                changes.save(contact, custom_fields={"size": number * 3 % 7})
        for ordering in ("custom_fields.size,id", "-custom_fields.size,-id"):
            with self.subTest(ordering):
                listed = self.manager.get("/api/contacts/", {"ordering": ordering})
                self.assertEqual(
                    [row["id"] for row in self.rows(ordering=ordering)],
                    [record["id"] for record in listed.json()["results"]],
                )


class FileTests(ExportTestCase):
    def test_it_is_not_there_before_it_is_finished(self):
        job = self.ask()
        address = f"{PATH}{job.pk}/download/"
        self.assertProblem(self.manager.get(address), 409, "not_finished")
        jobs.run(job.pk, seconds=-1)
        self.assertProblem(self.manager.get(address), 409, "not_finished")
        cancelled = self.manager.post(f"{PATH}{job.pk}/cancel/")
        self.assertEqual(cancelled.status_code, 200)
        self.run_job(job)
        self.assertEqual(job.status, "cancelled")
        self.assertProblem(self.manager.get(address), 409, "not_finished")

    def test_a_cancelled_export_leaves_no_file(self):
        job = self.ask()
        jobs.run(job.pk, seconds=-1)
        with self.captureOnCommitCallbacks(execute=True):
            self.manager.post(f"{PATH}{job.pk}/cancel/")
        self.run_job(job)
        self.assertEqual(job.status, "cancelled")
        self.assertFalse(file_of(job.pk).exists())

    def test_it_is_kept_for_a_day_and_then_removed(self):
        job = self.done()
        address = f"{PATH}{job.pk}/"
        kept = settings.EXPORT_KEPT_HOURS * 3600
        tasks.sweep()
        self.assertIn(b"King 0", self.content(job))
        Job.objects.filter(pk=job.pk).update(
            finished_at=timezone.now() - timedelta(seconds=kept + 1)
        )
        gone = self.manager.get(f"{address}download/")
        self.assertProblem(gone, 410, "expired")
        self.assertIsNone(self.manager.get(address).json()["download"])
        past = time.time() - kept - 1
        os.utime(file_of(job.pk), (past, past))
        tasks.sweep()
        self.assertFalse(file_of(job.pk).exists())

    def test_the_file_of_one_that_still_runs_is_not_removed(self):
        job = self.ask()
        jobs.run(job.pk, seconds=-1)
        os.utime(file_of(job.pk), (0, 0))
        tasks.sweep()
        self.assertTrue(file_of(job.pk).exists())

    def test_making_and_fetching_are_security_events(self):
        job = self.done(
            filters={"last_name__icontains": "king"}, fields=["last_name", "email"]
        )
        self.content(job)
        made, fetched = SecurityEvent.objects.filter(kind="export").order_by("pk")
        for event, step in ((made, "made"), (fetched, "fetched")):
            self.assertEqual(event.user, self.cast.manager)
            self.assertEqual(event.record_type, "contact")
            self.assertNotEqual(event.request_id, "")
            self.assertEqual(
                event.detail,
                {
                    "step": step,
                    "job": str(job.pk),
                    "format": "csv",
                    "filters": '{"last_name__icontains":"king"}',
                    "fields": "last_name,email",
                    "rows": "10",
                },
            )


class ChunkTests(ExportTestCase):
    def test_a_chunk_costs_the_same_wherever_it_stands(self):
        job = self.ask()
        costs = []
        while True:
            with CaptureQueriesContext(
                connection,
            ) as queries:
                more = jobs.run(job.pk, seconds=-1)
            costs.append(len(queries))
            pages = [q["sql"] for q in queries if f"LIMIT {CHUNK}" in q["sql"]]
            self.assertEqual(len(pages), 1)
            self.assertNotIn("OFFSET", pages[0])
            if not more:
                break
        first, *others, _ = costs
        self.assertEqual(len(costs), 3)
        self.assertEqual(len(set(others)), 1)
        self.assertLess(others[0], first)

    def test_a_chunk_that_was_written_and_not_committed_is_written_once(self):
        whole = self.content(self.done(ordering="last_name"))
        job = self.ask(ordering="last_name")
        jobs.run(job.pk, seconds=-1)
        with (
            mock.patch.object(Job, "save", side_effect=OSError),
            self.assertLogs("core.jobs"),
        ):
            jobs.run(job.pk)
        job.refresh_from_db()
        self.assertGreater(file_of(job.pk).stat().st_size, job.state["bytes"])
        self.assertEqual(job.done, CHUNK)
        self.run_job(job)
        self.assertEqual(self.content(job), whole)

    def test_a_file_that_was_lost_is_made_again(self):
        whole = self.content(self.done(ordering="last_name"))
        for damage in (lambda path: path.unlink(), lambda path: os.truncate(path, 5)):
            job = self.ask(ordering="last_name")
            jobs.run(job.pk, seconds=-1)
            damage(file_of(job.pk))
            self.run_job(job)
            self.assertEqual((job.status, job.done), ("done", 11))
            self.assertEqual(self.content(job), whole)

    def test_a_workbook_is_made_in_one_go_and_begun_anew_after_a_death(self):
        job = self.ask(format="xlsx")
        steps = []
        save = Job.save

        def dies_at_the_second_chunk(job, *args, **kwargs):
            steps.append(job.done)
            if len(steps) == 2:
                raise OSError
            save(job, *args, **kwargs)

        with (
            mock.patch.object(Job, "save", dies_at_the_second_chunk),
            self.assertLogs("core.jobs"),
        ):
            self.assertFalse(jobs.run(job.pk, seconds=-1))
            self.assertFalse(jobs.run(job.pk, seconds=-1))
        job.refresh_from_db()
        self.assertEqual(steps, [4, 8, 4, 8, 11])
        self.assertEqual((job.status, job.done, job.total), ("done", 11, 11))
        self.assertEqual(len(read_workbook(file_of(job.pk))), 12)
        self.assertEqual(list(file_of("any").parent.glob("tmp*")), [])

    def test_a_workbook_that_never_comes_to_its_end_fails(self):
        job = self.ask(format="xlsx")
        fails = mock.patch.object(formats.Workbook, "finish", side_effect=OSError)
        with fails, self.assertLogs("core.jobs"):
            for _ in range(jobs.MAX_ATTEMPTS + 1):
                jobs.run(job.pk)
        job.refresh_from_db()
        self.assertEqual((job.status, job.error["code"]), ("failed", "internal_error"))
        self.assertFalse(file_of(job.pk).exists())

    def test_more_rows_than_a_sheet_has_are_refused(self):
        with mock.patch("core.exporting.job.MAX_SHEET_ROWS", 11):
            job = self.run_job(self.ask(format="xlsx"))
        self.assertEqual((job.status, job.error["code"]), ("failed", "too_many_rows"))
        with mock.patch("core.exporting.job.MAX_SHEET_ROWS", 12):
            self.assertEqual(self.done(format="xlsx").done, 11)

    def test_an_export_of_nothing_has_a_header(self):
        text = self.content(self.done(filters={"city": "Paris"}, fields=["city"]))
        self.assertEqual(text.decode("utf-8-sig"), "city\r\n")


def read_workbook(path) -> list[list]:
    with path.open("rb") as file, closing(load_workbook(file)) as book:
        rows = book.worksheets[0].iter_rows(values_only=True)
        return [["" if cell is None else cell for cell in row] for row in rows]
