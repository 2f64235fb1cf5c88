import io
import json
import os
import shutil
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext

from contact_management.models import Company, Contact
from core import jobs
from core.access import Scope, Verb
from core.importing import job as importing
from core.importing.matching import Matcher
from core.importing.rows import RowImport
from core.models import Change, ChangeSet, Job, Organization
from core.testing import OWN, Cast, client_of, make_role, make_user, system_changes

User = get_user_model()
PATH = "/api/imports/"


class ImportTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        media = override_settings(MEDIA_ROOT=folder)
        media.enable()
        self.addCleanup(media.disable)
        self.folder = Path(folder)
        self.alice = client_of(self.cast.alice)

    def chunks_of(self, rows: int):
        patch = mock.patch.object(importing, "CHUNK_ROWS", rows)
        patch.start()
        self.addCleanup(patch.stop)

    def post(self, text, client=None, query="", name="people.csv", **fields):
        if isinstance(text, str):
            text = text.encode()
        self.before = Job.objects.count(), len(self.files())
        if "mapping" in fields:
            fields["mapping"] = json.dumps(fields["mapping"])
        body = {
            "file": SimpleUploadedFile(name, text, "text/csv"),
            "record_type": "contact",
            **fields,
        }
        return (client or self.alice).post(PATH + query, body, format="multipart")

    def submit(self, text, client=None, **fields) -> Job:
        response = self.post(text, client, **fields)
        self.assertEqual(response.status_code, 202, response.content)
        return Job.objects.get(pk=response.json()["id"])

    def run_import(self, text, client=None, **fields) -> dict:
        """The import as the API shows it when it has ended."""
        job = self.submit(text, client, **fields)
        self.assertIs(jobs.run(job.pk), False)
        shown = (client or self.alice).get(f"{PATH}{job.pk}/").json()
        if shown["status"] == "done":
            self.assertEqual(sum(self.counts(shown)), shown["total"])
            self.assertEqual(shown["done"], shown["total"])
        return shown

    def counts(self, shown) -> tuple:
        """Created, updated, skipped, failed."""
        return tuple(shown[n] for n in ("created", "updated", "skipped", "failed"))

    def assertCounts(self, shown, *counts):
        self.assertEqual(shown["status"], "done", shown["error"])
        self.assertEqual(self.counts(shown), counts, shown["errors"])

    def codes(self, shown):
        return [(e["line"], e["column"], e["code"]) for e in shown["errors"]]

    def make(self, user=None, **fields) -> Contact:
        contact = Contact()
        with ChangeSet.open(
            actor=user or self.cast.alice, source=ChangeSet.Source.API
        ) as changes:
            changes.save(contact, **{"last_name": "King", **fields})
        return contact

    def stored(self, contact) -> Contact:
        return Contact.objects.get(pk=contact.pk)

    def rows(self, *names):
        return list(Contact.objects.live().order_by("pk").values_list(*names))

    def assertProblem(self, response, status, field=None, code=None):
        self.assertEqual(response.status_code, status, response.content)
        self.assertEqual(response["Content-Type"], "application/problem+json")
        problem = response.json()
        if field:
            self.assertEqual(
                [(e["field"], e["code"]) for e in problem["errors"]], [(field, code)]
            )
        elif code:
            self.assertEqual(problem["code"], code)
        jobs_before, files_before = self.before
        self.assertEqual(Job.objects.count(), jobs_before)
        self.assertEqual(len(self.files()), files_before)
        return problem

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


class RowTests(ImportTestCase):
    """What rows become."""

    def test_rows_become_contacts_of_the_importer(self):
        shown = self.run_import(
            "First Name,Last Name,E-mail Address,Business Phone,Categories\r\n"
            "Ada,King,ADA@Example.com,(415) 555-2671,vip;London\r\n"
            'George,"Boole, Prof.",,,\r\n'
        )
        self.assertCounts(shown, 2, 0, 0, 0)
        ada, george = Contact.objects.order_by("last_name").reverse()
        self.assertEqual(
            (ada.first_name, ada.email, ada.phone_e164, ada.tags, ada.owner),
            (
                "Ada",
                "ada@example.com",
                "+14155552671",
                ["vip", "London"],
                self.cast.alice,
            ),
        )
        self.assertEqual(george.last_name, "Boole, Prof.")
        self.assertEqual(ada.organization, self.cast.organization)

    def test_the_answer_tells_what_was_asked_and_how_far_it_is(self):
        response = self.post("Email,Shoe size\na@example.com,38\n", name="x.csv")
        shown = response.json()
        self.assertEqual(response["Location"], f"http://testserver{PATH}{shown['id']}/")
        self.assertEqual(
            {n: shown[n] for n in ("status", "file_name", "record_type", "mode")},
            {
                "status": "queued",
                "file_name": "x.csv",
                "record_type": "contact",
                "mode": "create",
            },
        )
        self.assertEqual(shown["mapping"], {"Email": "email", "Shoe size": None})
        self.assertEqual((shown["total"], shown["done"]), (None, 0))
        self.assertEqual(self.counts(shown), (0, 0, 0, 0))
        self.assertFalse(Contact.objects.exists())

    def test_an_import_is_one_change_set_whatever_its_chunks(self):
        self.chunks_of(3)
        text = "email\n" + "".join(f"k{n}@example.com\n" for n in range(8))
        shown = self.run_import(text, name="Fair 2026.csv")
        self.assertCounts(shown, 8, 0, 0, 0)
        made = ChangeSet.objects.get(pk=shown["change_set"])
        self.assertEqual(made.changes.count(), 8)
        self.assertEqual(
            (made.source, made.actor, made.reason),
            ("import", self.cast.alice, "Import of Fair 2026.csv"),
        )
        self.assertEqual(
            [email for (email,) in self.rows("email")],
            [f"k{n}@example.com" for n in range(8)],
        )

    def test_a_file_of_a_header_alone_is_done(self):
        shown = self.run_import("email,last name\n")
        self.assertCounts(shown, 0, 0, 0, 0)
        self.assertEqual(shown["total"], 0)
        self.assertIsNone(shown["change_set"])

    def test_rows_without_a_known_value_are_skipped(self):
        shown = self.run_import("email,Shoe size\n,38\na@example.com,39\n , \n")
        self.assertCounts(shown, 1, 0, 2, 0)

    def test_choices_are_understood_by_value_and_by_label(self):
        shown = self.run_import(
            "email,contact type,status\n"
            "a@example.com,VENDOR,Do Not Contact\n"
            "b@example.com,Partner,inactive\n"
        )
        self.assertCounts(shown, 2, 0, 0, 0)
        self.assertEqual(
            self.rows("contact_type", "status"),
            [("vendor", "do_not_contact"), ("partner", "inactive")],
        )

    def test_external_ids_come_by_mapping(self):
        shown = self.run_import(
            "Record ID,Email\n4711,a@example.com\n",
            mapping={"Record ID": "external_ids.hubspot", "Email": "email"},
        )
        self.assertCounts(shown, 1, 0, 0, 0)
        self.assertEqual(self.rows("external_ids"), [({"hubspot": "4711"},)])

    def test_a_mapping_leaves_columns_out(self):
        shown = self.run_import(
            "Email,City\na@example.com,London\n",
            mapping={"Email": "email", "City": None},
        )
        self.assertCounts(shown, 1, 0, 0, 0)
        self.assertEqual(shown["mapping"], {"Email": "email", "City": None})
        self.assertEqual(self.rows("email", "city"), [("a@example.com", "")])

    def test_files_of_other_encodings_and_delimiters_are_read(self):
        texts = {
            "utf-16": "email\tlast name\na@example.com\tMüller\n",
            "cp1252": "email;last name\nb@example.com;Müller\n",
            "utf-8-sig": "email|last name\nc@example.com|Müller\n",
        }
        for encoding, text in texts.items():
            with self.subTest(encoding):
                shown = self.run_import(text.encode(encoding))
                self.assertCounts(shown, 1, 0, 0, 0)
        self.assertEqual({n for (n,) in self.rows("last_name")}, {"Müller"})
        self.assertEqual(Contact.objects.count(), 3)

    # Wrong rows

    def test_wrong_rows_are_reported_with_line_column_and_code(self):
        shown = self.run_import(
            "E-mail,Last Name,Status,First Name\n"
            "a@example.com,King,active,Ada\n"
            "nonsense,King,active,Ada\n"
            "c@example.com,King,asleep,Ada\n"
            ",,active,\n"
            'd@example.com,"King\nand Queen",active,Ada\n'
            f"e@example.com,{'x' * 101},active,Ada\n"
            "f@example.com,King,active,Ada,too,many\n"
        )
        self.assertCounts(shown, 2, 0, 0, 5)
        self.assertEqual(
            set(self.codes(shown)),
            {
                (3, "E-mail", "invalid"),
                (4, "Status", "invalid_choice"),
                (5, "", "name_required"),
                (8, "Last Name", "max_length"),
                (9, "", "too_many_cells"),
            },
        )
        by_line = {e["line"]: e for e in shown["errors"]}
        self.assertEqual(by_line[3]["row"], ["nonsense", "King", "active", "Ada"])
        self.assertTrue(all(e["message"] for e in shown["errors"]))

    def test_who_goes_by_a_single_name_has_it_as_the_last_one(self):
        text = "First Name,Phone\nMama,+49 171 1\n"
        self.assertCounts(self.run_import(text), 1, 0, 0, 0)
        self.assertEqual(self.rows("first_name", "last_name"), [("", "Mama")])
        self.assertCounts(self.run_import(text), 0, 0, 1, 0)
        self.assertCounts(self.run_import(text, mode="upsert"), 0, 0, 1, 0)

    def test_all_errors_can_be_read_page_by_page(self):
        lines = "".join(f"nonsense {n}\n" for n in range(120))
        shown = self.run_import("email\n" + lines)
        self.assertCounts(shown, 0, 0, 0, 120)
        self.assertEqual(len(shown["errors"]), 100)
        seen = []
        url = f"{PATH}{shown['id']}/errors/?page_size=50"
        while url:
            page = self.alice.get(url).json()
            seen += [e["line"] for e in page["results"]]
            url = page["next"]
        self.assertEqual(seen, list(range(2, 122)))

    def test_a_column_of_any_name_can_be_reported(self):
        name = "Address of electronic mail " * 20
        shown = self.run_import(f"{name}\nnonsense\n", mapping={name.strip(): "email"})
        self.assertCounts(shown, 0, 0, 0, 1)
        self.assertTrue(name.startswith(shown["errors"][0]["column"][:20]))

    # Owners

    def test_a_known_owner_owns_and_an_unknown_one_is_counted(self):
        manager = client_of(self.cast.manager)
        shown = self.run_import(
            "email,owner\n"
            f"a@example.com,{self.cast.alice.email.upper()}\n"
            "b@example.com,nobody@example.com\n"
            "c@example.com,nobody@example.com\n"
            f"d@example.com,{self.cast.carol.email}\n",
            manager,
        )
        self.assertCounts(shown, 4, 0, 0, 0)
        self.assertEqual(
            shown["unknown_owners"],
            {"nobody@example.com": 2, self.cast.carol.email: 1},
        )
        owners = [owner for (owner,) in self.rows("owner")]
        self.assertEqual(owners, [self.cast.alice.pk] + [self.cast.manager.pk] * 3)

    def test_whoever_may_not_assign_owns_the_rows(self):
        shown = self.run_import(f"email,owner\na@example.com,{self.cast.bob.email}\n")
        self.assertCounts(shown, 1, 0, 0, 0)
        self.assertEqual(shown["unknown_owners"], {self.cast.bob.email: 1})
        self.assertEqual(self.rows("owner"), [(self.cast.alice.pk,)])

    def test_a_colleague_who_left_gets_no_records(self):
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.bob, is_active=False)
        shown = self.run_import(
            f"email,owner\na@example.com,{self.cast.bob.email}\n",
            client_of(self.cast.manager),
        )
        self.assertEqual(shown["unknown_owners"], {self.cast.bob.email: 1})
        self.assertEqual(self.rows("owner"), [(self.cast.manager.pk,)])


class ModeTests(ImportTestCase):
    TEXT = (
        "email,last name,city\nada@example.com,King,London\nb@example.com,Boole,Cork\n"
    )

    def test_create_makes_new_records_and_leaves_known_ones(self):
        ada = self.make(email="ada@example.com")
        shown = self.run_import(self.TEXT)
        self.assertCounts(shown, 1, 0, 1, 0)
        self.assertEqual((self.stored(ada).city, self.stored(ada).version), ("", 1))

    def test_update_changes_known_records_and_makes_none(self):
        ada = self.make(email="ada@example.com")
        shown = self.run_import(self.TEXT, mode="update")
        self.assertCounts(shown, 0, 1, 1, 0)
        self.assertEqual(self.stored(ada).city, "London")
        self.assertEqual(Contact.objects.count(), 1)

    def test_upsert_does_both(self):
        ada = self.make(email="ada@example.com", job_title="Countess")
        shown = self.run_import(self.TEXT, mode="upsert")
        self.assertCounts(shown, 1, 1, 0, 0)
        stored = self.stored(ada)
        self.assertEqual((stored.city, stored.job_title), ("London", "Countess"))
        change = Change.objects.filter(record_id=ada.pk).last()
        self.assertEqual(
            (change.before, change.after), ({"city": ""}, {"city": "London"})
        )

    def test_an_update_that_changes_nothing_is_skipped(self):
        self.make(email="ada@example.com", last_name="King", city="London")
        shown = self.run_import(self.TEXT, mode="update")
        self.assertCounts(shown, 0, 0, 2, 0)
        self.assertIsNone(shown["change_set"])

    def test_blank_cells_leave_what_is_there(self):
        ada = self.make(email="ada@example.com", city="London")
        self.run_import("email,city,tags\nada@example.com,,\n", mode="update")
        self.assertEqual(
            (self.stored(ada).city, self.stored(ada).version), ("London", 1)
        )

    def test_tags_and_external_ids_add_to_what_is_there(self):
        ada = self.make(
            email="ada@example.com", tags=["vip"], external_ids={"xing": "1"}
        )
        shown = self.run_import(
            "Email,Tags,Id\nada@example.com,VIP;new,4711\n",
            mode="update",
            mapping={"Email": "email", "Tags": "tags", "Id": "external_ids.hubspot"},
        )
        self.assertCounts(shown, 0, 1, 0, 0)
        stored = self.stored(ada)
        self.assertEqual(stored.tags, ["vip", "new"])
        self.assertEqual(stored.external_ids, {"xing": "1", "hubspot": "4711"})

    def test_a_wrong_value_leaves_the_known_record_as_it_was(self):
        ada = self.make(email="ada@example.com", city="Cork")
        shown = self.run_import(
            "email,city,website\nada@example.com,London,no link at all\n",
            mode="update",
        )
        self.assertCounts(shown, 0, 0, 0, 1)
        self.assertEqual(self.codes(shown), [(2, "website", "invalid")])
        self.assertEqual((self.stored(ada).city, self.stored(ada).version), ("Cork", 1))

    def test_a_row_that_would_make_too_much_of_a_record_changes_none_of_it(self):
        tags = [f"tag {n}" for n in range(49)]
        ada = self.make(email="ada@example.com", tags=tags, phone="(415) 555-2671")
        shown = self.run_import(
            "email,phone,tags\n"
            "ada@example.com,(415) 555-2672,one;two\n"
            "ada@example.com,,one\n",
            mode="update",
        )
        self.assertCounts(shown, 0, 1, 0, 1)
        self.assertEqual(self.codes(shown), [(2, "tags", "max_length")])
        stored = self.stored(ada)
        self.assertEqual(stored.tags, [*tags, "one"])
        self.assertEqual(
            (stored.phone, stored.phone_e164, stored.version),
            ("(415) 555-2671", "+14155552671", 2),
        )

    def test_records_of_another_organization_are_not_met(self):
        hers = self.make(self.cast.carol, email="ada@example.com")
        shown = self.run_import(self.TEXT, mode="upsert")
        self.assertCounts(shown, 2, 0, 0, 0)
        self.assertEqual((self.stored(hers).city, self.stored(hers).version), ("", 1))

    def test_a_deleted_record_does_not_stand_in_the_way(self):
        ada = self.make(email="ada@example.com")
        with system_changes(self.cast.organization) as changes:
            changes.delete(ada)
        self.assertCounts(self.run_import(self.TEXT, mode="upsert"), 2, 0, 0, 0)
        self.assertEqual(self.stored(ada).city, "")


class RepetitionTests(ImportTestCase):
    TEXT = (
        "first name,last name,e-mail,company,phone\n"
        "Ada,King,ada@example.com,,\n"
        "George,Boole,,,\n"
        ",,,Analytical Engines,\n"
        "Mary,Boole,,,(415) 555-2671\n"
    )

    def test_the_same_file_again_creates_nothing(self):
        self.assertCounts(self.run_import(self.TEXT), 4, 0, 0, 0)
        before = self.rows("pk", "version")
        for mode in ("create", "update", "upsert"):
            with self.subTest(mode):
                shown = self.run_import(self.TEXT, mode=mode)
                self.assertCounts(shown, 0, 0, 4, 0)
                self.assertEqual(self.rows("pk", "version"), before)

    def test_rows_that_mean_the_same_record_are_taken_one_after_the_other(self):
        text = (
            "e-mail,last name,city\n"
            "ada@example.com,King,London\n"
            "b@example.com,Boole,Cork\n"
            "ADA@example.com,Lovelace,\n"
            "c@example.com,Babbage,\n"
            "ada@example.com,,Ockham\n"
        )
        outcomes = {}
        for rows in (1000, 3, 2, 1):
            self.chunks_of(rows)
            for mode, counts in (("create", (3, 0, 2, 0)), ("upsert", (3, 2, 0, 0))):
                with self.subTest(f"{mode} by {rows}"):
                    shown = self.run_import(text, mode=mode)
                    self.assertCounts(shown, *counts)
                    outcomes.setdefault(mode, self.rows("email", "last_name", "city"))
                    self.assertEqual(
                        self.rows("email", "last_name", "city"), outcomes[mode]
                    )
                Contact._base_manager.all().delete()
        self.assertEqual(
            outcomes["upsert"][0], ("ada@example.com", "Lovelace", "Ockham")
        )
        self.assertEqual(outcomes["create"][0], ("ada@example.com", "King", "London"))

    def test_names_mean_the_same_record_only_if_they_are_equal(self):
        text = (
            "first name,last name\n"
            "Ada,King\nGeorge,Boole\nMary,Boole\nAda,King\nADA,KING\n"
        )
        for rows in (1000, 3):
            with self.subTest(f"by {rows}"):
                self.chunks_of(rows)
                self.assertCounts(self.run_import(text), 4, 0, 1, 0)
            Contact._base_manager.all().delete()

    def test_names_alone_never_mean_somebody_with_an_e_mail(self):
        ada = self.make(first_name="Ada", last_name="King", email="ada@example.com")
        shown = self.run_import(
            "first name,last name,city\nAda,King,London\n", mode="upsert"
        )
        self.assertCounts(shown, 1, 0, 0, 0)
        self.assertEqual(self.stored(ada).city, "")

    def test_a_dry_run_counts_what_the_import_then_does(self):
        self.make(email="b@example.com")
        text = (
            "e-mail,city\n"
            "a@example.com,London\n"
            "b@example.com,Cork\n"
            "nonsense,Cork\n"
            "a@example.com,Ockham\n"
            "c@example.com,London\n"
        )
        for rows in (1000, 3):
            with self.subTest(f"by {rows}"):
                self.chunks_of(rows)
                before = self.rows("pk", "version", "city")
                sets = ChangeSet.objects.count()
                tried = self.run_import(text, mode="upsert", dry_run="true")
                self.assertEqual(self.rows("pk", "version", "city"), before)
                self.assertEqual(ChangeSet.objects.count(), sets)
                self.assertIsNone(tried["change_set"])
                self.assertCounts(tried, 2, 2, 0, 1)
                self.assertEqual(self.codes(tried), [(4, "e-mail", "invalid")])


class RefusalTests(ImportTestCase):
    TEXT = "email\na@example.com\n"

    def test_a_wrong_mapping_is_refused(self):
        for mapping, code in (
            ({"E-Mail": "email"}, "unknown_column"),
            ({"email": "shoe_size"}, "unknown_target"),
            ({"email": "organization"}, "unknown_target"),
            ({"email": "id"}, "unknown_target"),
            ({"email": "version"}, "unknown_target"),
            ({"email": "phone_e164"}, "unknown_target"),
            ({"email": "custom_fields"}, "unknown_target"),
            ({"email": "external_ids"}, "unknown_target"),
            ({"email": None}, "nothing_mapped"),
            ({}, "nothing_mapped"),
            ([], "not_an_object"),
            ({"email": 7}, "not_an_object"),
            ({"email": ["email"]}, "not_an_object"),
            ("x", "not_an_object"),
            (None, "not_an_object"),
        ):
            with self.subTest(mapping):
                response = self.post(self.TEXT, mapping=mapping)
                self.assertProblem(response, 400, "mapping", code)

    def test_a_mapping_that_is_no_json_is_refused(self):
        for text in ("{", "NaN", '{"a": "email", "a": "email"}'):
            with self.subTest(text):
                body = {
                    "file": SimpleUploadedFile("x.csv", self.TEXT.encode()),
                    "record_type": "contact",
                    "mapping": text,
                }
                self.before = Job.objects.count(), len(self.files())
                response = self.alice.post(PATH, body, format="multipart")
                self.assertProblem(response, 400, "mapping", "not_json")

    def test_a_file_without_a_known_column_is_refused(self):
        response = self.post("Shoe size\n38\n")
        self.assertProblem(response, 400, "mapping", "nothing_mapped")

    def test_what_is_no_table_is_refused_at_once(self):
        for content, code in (
            (b"PK\x03\x04" + bytes(100), "binary_file"),
            (b"\x89PNG\r\n" + bytes(100), "binary_file"),
            (b"email\n\x01\x02\n", "binary_file"),
            (b"\n \n", "empty_file"),
            (",".join(f"c{n}" for n in range(600)).encode(), "too_many_columns"),
        ):
            with self.subTest(content[:10]):
                self.assertProblem(self.post(content), 400, "file", code)
        self.assertProblem(self.post(b""), 400, "file", "empty")

    def test_a_file_that_breaks_off_is_refused_with_nothing_imported(self):
        self.chunks_of(2)
        good = "".join(f"a{n}@example.com\n" for n in range(10))
        shown = self.run_import(f'email\n{good}"b@example.com\n')
        self.assertEqual(shown["status"], "failed")
        self.assertEqual(
            (shown["error"]["code"], shown["error"]["line"]), ("unclosed_quote", 12)
        )
        self.assertFalse(Contact.objects.exists())
        self.assertIsNone(shown["change_set"])
        self.assertEqual(list(self.folder.rglob("imports/*")), [])

    def test_a_file_that_is_gone_fails_the_job(self):
        job = self.submit(self.TEXT)
        importing.file_of(job.pk).unlink()
        self.assertIs(jobs.run(job.pk), False)
        job.refresh_from_db()
        self.assertEqual((job.status, job.error["code"]), ("failed", "file_gone"))

    def test_what_is_missing_or_unknown_is_named(self):
        def post(**body):
            self.before = 0, 0
            return self.alice.post(PATH, body, format="multipart")

        def file():
            return SimpleUploadedFile("x.csv", self.TEXT.encode())

        self.assertProblem(post(record_type="contact"), 400, "file", "required")
        self.assertProblem(post(file=file()), 400, "record_type", "required")
        for field, value, code in (
            ("record_type", "user", "invalid_choice"),
            ("record_type", "organization", "invalid_choice"),
            ("record_type", "x", "invalid_choice"),
            ("record_type", "", "blank"),
            ("mode", "replace", "invalid_choice"),
            ("dry_run", "perhaps", "invalid"),
            ("surprise", "1", "unknown_field"),
        ):
            with self.subTest(f"{field}={value}"):
                response = self.post(self.TEXT, **{field: value})
                self.assertProblem(response, 400, field, code)
        response = self.post(self.TEXT, query="?surprise=1")
        self.assertProblem(response, 400, "surprise", "unknown_parameter")
        response = post(file="a text", record_type="contact")
        self.assertProblem(response, 400, "file", "invalid")

    def test_a_file_that_is_too_large_is_refused(self):
        with override_settings(IMPORT_MAX_BYTES=10):
            self.assertProblem(self.post(self.TEXT), 400, "file", "too_large")

    def test_json_needs_an_upload(self):
        self.before = 0, 0
        response = self.alice.post(PATH, {"record_type": "contact"}, format="json")
        self.assertProblem(response, 400, "file", "required")

    def test_anonymous_is_refused(self):
        self.assertProblem(self.post(self.TEXT, client_of(None)), 401)


class RightsTests(ImportTestCase):
    TEXT = "email,city\nada@example.com,London\n"

    def test_a_reader_imports_nothing(self):
        reader = client_of(self.cast.reader)
        self.assertProblem(self.post(self.TEXT, reader), 403, code="permission_denied")
        self.assertFalse(Contact.objects.exists())

    def test_making_records_needs_the_right_to_create(self):
        rights = {**OWN, Verb.CREATE: Scope.NONE}
        role = make_role(self.cast.organization, "updater", rights)
        dave = make_user(self.cast.organization, "dave", role)
        for mode in ("create", "upsert"):
            response = self.post(self.TEXT, client_of(dave), mode=mode)
            self.assertProblem(response, 403, code="permission_denied")
        mine = Contact(last_name="King", email="ada@example.com", owner=dave)
        with system_changes(self.cast.organization) as changes:
            changes.save(mine)
        shown = self.run_import(self.TEXT, client_of(dave), mode="update")
        self.assertCounts(shown, 0, 1, 0, 0)
        self.assertEqual(self.stored(mine).city, "London")

    def test_anothers_contact_is_not_changed(self):
        for owner in (self.cast.stranger, self.cast.bob):
            theirs = self.make(owner, email="ada@example.com")
            for mode in ("update", "upsert"):
                with self.subTest(f"{owner}: {mode}"):
                    shown = self.run_import(self.TEXT, mode=mode)
                    self.assertCounts(shown, 0, 0, 0, 1)
                    # Whose it is, or what, alice may not know: she does not see it.
                    self.assertEqual(self.codes(shown), [(2, "", "unique")])
                    stored = self.stored(theirs)
                    self.assertEqual((stored.city, stored.version), ("", 1))
            Contact._base_manager.all().delete()

    def test_what_is_seen_but_not_ones_own_is_not_changed(self):
        mine = self.make(email="ada@example.com")
        shown = self.run_import(self.TEXT, client_of(self.cast.bob), mode="update")
        self.assertCounts(shown, 0, 0, 0, 1)
        self.assertEqual(self.codes(shown), [(2, "", "permission_denied")])
        self.assertEqual(self.stored(mine).version, 1)

    def test_a_name_alone_tells_nothing_of_people_one_does_not_see(self):
        text = "first name,last name,city\nAda,King,London\n"
        theirs = self.make(self.cast.stranger, first_name="Ada", last_name="King")
        shown = self.run_import(text, mode="update")
        self.assertCounts(shown, 0, 0, 1, 0)
        self.assertEqual(shown["skipped_because"], {"not_found": 1})
        shown = self.run_import(text)
        self.assertCounts(shown, 1, 0, 0, 0)
        shown = self.run_import(f"{text},,\n")
        self.assertEqual(shown["skipped_because"], {"exists": 1, "blank": 1})
        shown = self.run_import(text, mode="upsert")
        self.assertEqual(shown["skipped_because"], {"unchanged": 1})
        self.assertEqual(self.stored(theirs).version, 1)

    def test_rights_that_were_lost_meanwhile_count(self):
        job = self.submit(self.TEXT)
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.alice, role=self.cast.reader.role)
        jobs.run(job.pk)
        self.assertFalse(Contact.objects.exists())

    def test_rights_that_are_lost_between_two_chunks_count_at_once(self):
        self.chunks_of(1)
        for name in ("a", "b"):
            self.make(email=f"{name}@example.com")
        text = "email,city\na@example.com,London\nb@example.com,London\n"
        manager = self.cast.manager
        job = self.submit(text, client_of(manager), mode="update")
        take = RowImport.take

        def demoted_after(importer, changes, chunk, position, *more):
            result = take(importer, changes, chunk, position, *more)
            with system_changes(self.cast.organization) as system:
                system.save(
                    User.objects.get(pk=manager.pk), role=self.cast.stranger.role
                )
            return result

        with mock.patch.object(RowImport, "take", demoted_after):
            jobs.run(job.pk)
        shown = client_of(manager).get(f"{PATH}{job.pk}/").json()
        self.assertCounts(shown, 0, 1, 0, 1)
        self.assertEqual(self.rows("city"), [("London",), ("",)])

    def test_imports_of_others_are_not_found(self):
        job = self.submit(self.TEXT)
        for user in (self.cast.stranger, self.cast.reader, self.cast.carol):
            with self.subTest(user):
                client = client_of(user)
                self.assertEqual(client.get(f"{PATH}{job.pk}/").status_code, 404)
                self.assertEqual(client.get(f"{PATH}{job.pk}/errors/").status_code, 404)
                self.assertEqual(client.get(PATH).json()["count"], 0)
        self.assertEqual(self.alice.get(PATH).json()["count"], 1)


class TroubleTests(ImportTestCase):
    """Crashes, races and undo."""

    TEXT = "email\n" + "".join(f"a{n}@example.com\n" for n in range(8))

    def test_after_a_crash_every_row_is_there_once(self):
        self.chunks_of(3)
        job = self.submit(self.TEXT)
        take = RowImport.take
        chunks = []

        def crash(importer, changes, chunk, position, *more):
            result = take(importer, changes, chunk, position, *more)
            chunks.append(len(chunk.drafts))
            if len(chunks) == 2:
                raise ConnectionError("The database is away.")
            return result

        with (
            mock.patch.object(RowImport, "take", crash),
            self.assertLogs("core.jobs", "ERROR"),
        ):
            self.assertIs(jobs.run(job.pk), False)
        self.assertEqual(Contact.objects.count(), 3)
        job.refresh_from_db()
        self.assertEqual((job.status, job.done), ("running", 3))
        jobs.run(job.pk)
        shown = self.alice.get(f"{PATH}{job.pk}/").json()
        self.assertCounts(shown, 8, 0, 0, 0)
        self.assertEqual(
            [email for (email,) in self.rows("email")],
            [f"a{n}@example.com" for n in range(8)],
        )
        self.assertEqual(Change.objects.filter(record_type="contact").count(), 8)
        self.assertEqual(ChangeSet.objects.filter(source="import").count(), 1)

    def test_workers_may_take_turns(self):
        self.chunks_of(3)
        job = self.submit(self.TEXT)
        turns = 1
        while jobs.run(job.pk, seconds=-1):
            turns += 1
        self.assertEqual(turns, 4)
        self.assertCounts(self.alice.get(f"{PATH}{job.pk}/").json(), 8, 0, 0, 0)

    def test_a_lost_race_on_a_unique_value_fails_only_its_row(self):
        """Somebody takes an address between the look for known ones and the writing."""
        existing = Matcher.existing
        faster = ["a1@example.com", "a2@example.com"]

        def and_then_somebody_is_faster(matcher, drafts):
            found = existing(matcher, drafts)
            # The first look is repeated and meets a1; the second is too late for a2.
            self.make(self.cast.stranger, email=faster.pop(0))
            return found

        self.make(email="a3@example.com")
        job = self.submit(
            "email,city\n" + "".join(f"a{n}@example.com,Cork\n" for n in range(4)),
            mode="upsert",
        )
        with mock.patch.object(Matcher, "existing", and_then_somebody_is_faster):
            jobs.run(job.pk)
        shown = self.alice.get(f"{PATH}{job.pk}/").json()
        self.assertCounts(shown, 1, 1, 0, 2)
        self.assertEqual(self.codes(shown), [(3, "", "unique"), (4, "", "unique")])
        self.assertEqual(
            sorted(self.rows("email", "city")),
            [
                ("a0@example.com", "Cork"),
                ("a1@example.com", ""),
                ("a2@example.com", ""),
                ("a3@example.com", "Cork"),
            ],
        )
        made = ChangeSet.objects.get(pk=shown["change_set"])
        self.assertEqual(made.changes.count(), 2)

    def test_a_change_that_is_refused_leaves_what_is_new_beside_it(self):
        """The first chunk, which also makes the change set."""
        self.make(email="ada@example.com", external_ids={"crm": "1"})
        self.make(email="grace@example.com")
        shown = self.run_import(
            "crm id,email\n9,alan@example.com\n1,grace@example.com\n",
            mapping={"crm id": "external_ids.crm", "email": "email"},
            match="external_ids.crm",
            mode="upsert",
        )
        self.assertCounts(shown, 1, 0, 0, 1)
        self.assertEqual(self.codes(shown), [(3, "", "unique")])
        made = ChangeSet.objects.get(pk=shown["change_set"])
        self.assertEqual([c.verb for c in made.changes.all()], ["create"])

    def test_cancelling_keeps_what_was_done_and_it_can_be_undone(self):
        self.chunks_of(3)
        job = self.submit(self.TEXT)
        jobs.run(job.pk, seconds=-1)  # counts the rows
        jobs.run(job.pk, seconds=-1)
        self.assertEqual(Contact.objects.count(), 3)
        answer = self.alice.post(f"{PATH}{job.pk}/cancel/")
        self.assertEqual(
            (answer.status_code, answer.json()["status"]), (200, "cancelled")
        )
        self.assertIs(jobs.run(job.pk), False)
        self.assertEqual(Contact.objects.count(), 3)
        change_set = answer.json()["change_set"]
        undone = self.alice.post(f"/api/change-sets/{change_set}/undo/")
        self.assertEqual(undone.json()["undone"], 3)
        self.assertEqual(Contact.objects.live().count(), 0)

    def test_while_it_runs_an_import_is_not_undone(self):
        self.chunks_of(3)
        job = self.submit(self.TEXT)
        jobs.run(job.pk, seconds=-1)
        jobs.run(job.pk, seconds=-1)
        change_set = self.alice.get(f"{PATH}{job.pk}/").json()["change_set"]
        response = self.alice.post(f"/api/change-sets/{change_set}/undo/")
        self.assertEqual(
            (response.status_code, response.json()["code"]), (409, "running")
        )
        self.assertEqual(Contact.objects.live().count(), 3)

    def test_undo_removes_what_was_made_and_restores_what_was_changed(self):
        ada = self.make(email="ada@example.com", city="Cork", tags=["vip"])
        shown = self.run_import(
            "email,city,tags\nada@example.com,London,new\nb@example.com,Cork,\n",
            mode="upsert",
        )
        self.assertCounts(shown, 1, 1, 0, 0)
        undone = self.alice.post(f"/api/change-sets/{shown['change_set']}/undo/")
        self.assertEqual(
            (undone.status_code, undone.json()["undone"]), (200, 2), undone.content
        )
        self.assertEqual(self.rows("pk", "city", "tags"), [(ada.pk, "Cork", ["vip"])])

    def test_the_file_is_removed_when_the_job_has_ended(self):
        for text, ends in ((self.TEXT, "done"), ('email\n"a\n', "failed")):
            with self.subTest(ends):
                job = self.submit(text)
                self.assertEqual(self.files(), [importing.file_of(job.pk)])
                jobs.run(job.pk)
                job.refresh_from_db()
                self.assertEqual(job.status, ends)
                self.assertEqual(self.files(), [])

    def test_the_file_of_a_cancelled_import_is_removed(self):
        job = self.submit(self.TEXT)
        with self.captureOnCommitCallbacks(execute=True):
            self.alice.post(f"{PATH}{job.pk}/cancel/")
        job.refresh_from_db()
        self.assertEqual(job.status, "cancelled")
        self.assertFalse(importing.file_of(job.pk).exists())

    def test_a_repeated_upload_with_a_key_is_one_import(self):
        def post(text):
            body = {
                "file": SimpleUploadedFile("x.csv", text.encode()),
                "record_type": "contact",
            }
            return self.alice.post(
                PATH, body, format="multipart", HTTP_IDEMPOTENCY_KEY="k"
            )

        first, again = post(self.TEXT), post(self.TEXT)
        self.assertEqual((first.status_code, again.status_code), (202, 202))
        self.assertEqual(again.content, first.content)
        self.assertEqual(again["Location"], first["Location"])
        self.assertEqual(Job.objects.count(), 1)
        other = post(self.TEXT.replace("a0", "b0"))
        self.assertEqual(other.status_code, 422)
        self.assertEqual(Job.objects.count(), 1)


class CostTests(ImportTestCase):
    def test_a_chunk_takes_the_same_queries_for_few_rows_and_many(self):
        for mode in ("create", "upsert"):
            counts = []
            for rows in (2, 40):
                text = "email,last name,city\n" + "".join(
                    f"{mode}{rows}{n}@example.com,King,London\n"
                    f",Boole {mode} {rows} {n},Cork\n"
                    for n in range(rows)
                )
                if mode == "upsert":
                    self.run_import(text.replace("London", "").replace("Cork", ""))
                job = self.submit(text, mode=mode)
                jobs.run(job.pk, seconds=-1)  # counts the rows
                with CaptureQueriesContext(connection) as queries:
                    jobs.run(job.pk)
                job.refresh_from_db()
                outcome = "created" if mode == "create" else "updated"
                self.assertEqual(job.counts[outcome], 2 * rows)
                # SQLite takes wide rows in several statements.
                reads = [q for q in queries if q["sql"].startswith("SELECT")]
                counts.append(len(reads))
            with self.subTest(mode):
                self.assertEqual(counts[0], counts[1])


class CommandTests(ImportTestCase):
    def write(self, text, name="people.csv") -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def call(self, *arguments, **options) -> str:
        out = io.StringIO()
        # Commands that call others: what these say is seen too.
        with redirect_stdout(out), redirect_stderr(io.StringIO()):
            call_command(*arguments, **options)
        return out.getvalue()

    def test_import_records_imports_a_file_for_a_user(self):
        path = self.write("email\na@example.com\nnonsense\n")
        out = self.call(
            "import_records", "contact", path, user=self.cast.alice.email.upper()
        )
        self.assertIn("2 rows: 1 created, 0 updated, 0 skipped, 1 failed.", out)
        self.assertIn("line 3, email:", out)
        contact = Contact.objects.get()
        self.assertEqual(contact.owner, self.cast.alice)
        change = Change.objects.get(record_id=contact.pk)
        self.assertIn(str(change.change_set_id), out)
        self.assertEqual(Job.objects.get().status, "done")

    def test_import_records_takes_a_mapping_and_a_mode(self):
        ada = self.make(email="ada@example.com")
        path = self.write("Mail,Town\nada@example.com,London\nb@example.com,Cork\n")
        out = self.call(
            "import_records",
            "contact",
            path,
            user=self.cast.alice.email,
            mode="update",
            mapping='{"Mail": "email", "Town": "city"}',
        )
        self.assertIn("2 rows: 0 created, 1 updated, 1 skipped, 0 failed.", out)
        self.assertEqual(self.stored(ada).city, "London")

    def test_import_records_can_be_tried(self):
        path = self.write("email\na@example.com\n")
        out = self.call(
            "import_records", "contact", path, user=self.cast.alice.email, dry_run=True
        )
        self.assertIn("1 rows: 1 created", out)
        self.assertFalse(Contact.objects.exists())

    def test_import_records_imports_any_type(self):
        path = self.write("Account Name,Website\nAcme,https://acme.example.com\n")
        out = self.call("import_records", "company", path, user=self.cast.alice.email)
        self.assertIn("1 rows: 1 created", out)
        self.assertEqual(Company.objects.get().name, "Acme")

    def test_import_records_knows_no_other_types(self):
        path = self.write("email\na@example.com\n")
        for name in ("shoe", "job", "importmapping"):
            with self.subTest(name), self.assertRaises(CommandError) as caught:
                self.call("import_records", name, path, user=self.cast.alice.email)
            self.assertIn("contact", str(caught.exception))

    def test_import_records_says_what_is_wrong(self):
        good = self.write("email\na@example.com\n")
        for path, options, message in (
            (good, {"user": "nobody@example.com"}, "no user nobody@example.com"),
            (str(self.folder / "none.csv"), {}, "No such file"),
            (good, {"mapping": "{"}, "Not JSON"),
            (good, {"mapping": '{"email": "shoe_size"}'}, "shoe_size"),
            (good, {"user": self.cast.reader.email}, "does not allow"),
            (self.write('email\n"a\n', "broken.csv"), {}, "(line 2)"),
            (self.write("Shoe size\n38\n", "odd.csv"), {}, "Shoe size"),
        ):
            with self.subTest(message):
                with self.assertRaises(CommandError) as caught:
                    self.call(
                        "import_records",
                        "contact",
                        path,
                        **{"user": self.cast.alice.email, **options},
                    )
                self.assertIn(message, str(caught.exception))
                self.assertFalse(Contact.objects.exists())

    def test_import_records_refuses_a_mapping_that_is_no_object(self):
        path = self.write("email\na@example.com\n")
        for mapping in ("[]", '"email"', '{"email": 7}'):
            with self.subTest(mapping), self.assertRaises(CommandError):
                self.call(
                    "import_records",
                    "contact",
                    path,
                    user=self.cast.alice.email,
                    mapping=mapping,
                )
        self.assertFalse(Contact.objects.exists())

    # People and demo data

    def environment(self, **values):
        kept = {
            k: v
            for k, v in os.environ.items()
            if k not in ("ADMIN_EMAIL", "ADMIN_PASSWORD", "DEMO", "ORGANIZATION")
        }
        patch = mock.patch.dict(os.environ, {**kept, **values}, clear=True)
        patch.start()
        self.addCleanup(patch.stop)

    def test_create_organization_makes_one_with_its_administrator(self):
        self.environment(ADMIN_PASSWORD="correct-horse-battery")
        out = self.call(
            "create_organization",
            "Royal Society",
            admin="Sir@Example.com",
            country="GB",
        )
        self.assertIn("sir@example.com", out)
        user = User.objects.get(email="sir@example.com")
        self.assertEqual(
            (user.organization.name, user.organization.country), ("Royal Society", "GB")
        )
        self.assertEqual((user.role.name, user.is_staff), ("administrator", True))
        self.assertTrue(user.check_password("correct-horse-battery"))
        self.assertEqual(user.organization, user.role.organization)

    def test_create_organization_refuses_and_leaves_nothing(self):
        organizations = Organization.objects.count()
        for email, password in (
            ("sir@example.com", "short"),
            ("sir@example.com", "password1234"),
            ("nonsense", "correct-horse-battery"),
            (self.cast.alice.email, "correct-horse-battery"),
            (self.cast.alice.email.upper(), "correct-horse-battery"),
        ):
            with self.subTest(f"{email} {password}"):
                self.environment(ADMIN_PASSWORD=password)
                with self.assertRaises(CommandError):
                    self.call("create_organization", "Royal Society", admin=email)
                self.assertEqual(Organization.objects.count(), organizations)

    def test_create_organization_refuses_a_country_that_is_no_code(self):
        self.environment(ADMIN_PASSWORD="correct-horse-battery")
        organizations = Organization.objects.count()
        with self.assertRaises(CommandError):
            self.call(
                "create_organization", "X", admin="a@example.com", country="England"
            )
        self.assertEqual(Organization.objects.count(), organizations)

    def test_bootstrap_leaves_what_is_there(self):
        self.environment(ADMIN_PASSWORD="correct-horse-battery")
        users = User.objects.count()
        self.assertEqual(self.call("bootstrap"), "")
        self.assertEqual(User.objects.count(), users)


class FreshInstallationTests(ImportTestCase):
    """Commands on an empty database."""

    @classmethod
    def setUpTestData(cls):
        pass

    def setUp(self):
        pass

    call = CommandTests.call
    environment = CommandTests.environment

    def test_bootstrap_makes_an_organization_that_can_sign_in(self):
        self.environment(ADMIN_EMAIL="me@example.com", DEMO="0", ORGANIZATION="Mine")
        out = self.call("bootstrap")
        user = User.objects.get()
        self.assertEqual(
            (user.email, user.organization.name), ("me@example.com", "Mine")
        )
        password = out.split("password: ")[1].split()[0]
        self.assertTrue(user.check_password(password))
        self.assertFalse(Contact.objects.exists())

    def test_bootstrap_does_not_show_a_password_that_was_given(self):
        self.environment(ADMIN_PASSWORD="correct-horse-battery", DEMO="0")
        out = self.call("bootstrap")
        self.assertNotIn("correct-horse-battery", out)
        self.assertTrue(User.objects.get().check_password("correct-horse-battery"))
        self.call("bootstrap")
        self.assertEqual(User.objects.count(), 1)

    def test_bootstrap_fills_in_demo_data_unless_told_not_to(self):
        self.environment(ADMIN_PASSWORD="correct-horse-battery")
        out = self.call("bootstrap")
        self.assertIn("password", out)
        self.assertNotIn("correct-horse-battery", out)
        self.assertEqual(Contact.objects.count(), 2000)
