"""Upload, preview, mapping, options, and what comes back to be mended."""

import csv
import errno
import io
import uuid
from datetime import timedelta
from unittest import mock

import xlsxwriter
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import TestCase
from django.utils import timezone

from contact_management.models import Contact
from core import jobs, tasks
from core.importing import job as importing
from core.importing import reading, workbook
from core.importing.matching import Matcher
from core.importing.rows import RowImport
from core.models import Change, ImportMapping, Job, Upload
from core.testing import RecordContract, client_of
from core.tests.test_imports import PATH, ImportTestCase

PREVIEW = f"{PATH}preview/"
TEXT = "Mail address,Town,First Name\nada@example.com,London,Ada\n"


class FlowTestCase(ImportTestCase):
    def look(self, text=None, client=None, name="people.csv", **fields):
        body = {"record_type": "contact", **fields}
        if text is not None:
            content = text.encode() if isinstance(text, str) else text
            body["file"] = SimpleUploadedFile(name, content)
            return (client or self.alice).post(PREVIEW, body, format="multipart")
        return (client or self.alice).post(PREVIEW, body, format="json")

    def shown(self, *args, **fields) -> dict:
        response = self.look(*args, **fields)
        self.assertEqual(response.status_code, 200, response.content)
        return response.json()

    def run_upload(self, upload, **fields) -> dict:
        body = {"upload": upload, "record_type": "contact", **fields}
        response = self.alice.post(PATH, body, format="json")
        self.assertEqual(response.status_code, 202, response.content)
        job = response.json()["id"]
        jobs.run(job)
        return self.alice.get(f"{PATH}{job}/").json()

    def targets(self, shown):
        return {c["name"]: c["target"] for c in shown["columns"]}


class PreviewTests(FlowTestCase):
    def test_a_column_whose_values_are_no_choices_is_left_out_and_named(self):
        text = "Last Name,Status\nKing,Open\nHopper,Closed\nTuring,Active\n"
        shown = self.shown(text)
        self.assertEqual(
            self.targets(shown), {"Last Name": "last_name", "Status": None}
        )
        self.assertEqual([w["code"] for w in shown["warnings"]], ["unfit"])
        self.assertIn("Status", shown["warnings"][0]["detail"])
        run = self.run_upload(shown["upload"])
        self.assertEqual((run["created"], run["failed"]), (3, 0))
        # Most of them are: the one that is not is a fault of its row.
        shown = self.shown(text.replace("Open", "Inactive"))
        self.assertEqual(self.targets(shown)["Status"], "status")
        # And what somebody says is what is done.
        mapping = {"Last Name": "last_name", "Status": "status"}
        run = self.run_upload(shown["upload"], mapping=mapping, mode="upsert")
        self.assertEqual((run["updated"], run["failed"]), (1, 1))

    def test_a_shorter_row_is_told(self):
        shown = self.shown("Email,City\nada@example.com\n")
        self.assertEqual([w["code"] for w in shown["warnings"]], ["shorter_rows"])

    def test_a_match_that_is_none_is_refused(self):
        response = self.look(TEXT, match="name")
        self.assertEqual(response.status_code, 400)
        self.assertEqual(response.json()["errors"][0]["field"], "match")

    def test_a_preview_shows_how_the_file_was_read_and_where_columns_go(self):
        shown = self.shown(TEXT)
        self.assertEqual(
            {n: shown[n] for n in ("format", "encoding", "delimiter", "header_line")},
            {"format": "csv", "encoding": "utf-8", "delimiter": ",", "header_line": 1},
        )
        self.assertEqual(shown["columns"][1]["samples"], ["London"])
        self.assertEqual(self.targets(shown)["First Name"], "first_name")
        kinds = {t["name"]: t["kind"] for t in shown["targets"]}
        self.assertEqual(
            [kinds[n] for n in ("email", "status", "tags", "owner", "full_name")],
            ["email", "choice", "tags", "user", "text"],
        )
        self.assertFalse(Contact.objects.exists())
        self.assertFalse(Job.objects.exists())

    def test_an_upload_is_looked_at_tried_and_imported_without_sending_it_again(self):
        upload = self.shown(TEXT)["upload"]
        mapping = {"Mail address": "email", "Town": "city"}
        again = self.shown(upload=upload, mapping=mapping)
        self.assertEqual(self.targets(again), {**mapping, "First Name": None})
        tried = self.run_upload(upload, mapping=mapping, dry_run=True)
        self.assertCounts(tried, 1, 0, 0, 0)
        self.assertFalse(Contact.objects.exists())
        self.assertCounts(self.run_upload(upload, mapping=mapping), 1, 0, 0, 0)
        self.assertEqual(self.rows("email", "city"), [("ada@example.com", "London")])

    def test_similar_names_are_guessed_and_marked(self):
        shown = self.shown("Emial adress,Frist name,Shoe size\na@example.com,Ada,38\n")
        guesses = {c["name"]: c["is_guess"] for c in shown["columns"]}
        self.assertEqual(
            self.targets(shown),
            {"Emial adress": "email", "Frist name": "first_name", "Shoe size": None},
        )
        self.assertEqual(
            guesses, {"Emial adress": True, "Frist name": True, "Shoe size": False}
        )
        self.assertIn("guessed", [w["code"] for w in shown["warnings"]])

    def test_warnings_name_what_to_look_at(self):
        text = "Title of it\n\nName,Ort,Email\nJörg,Köln,a@b.de,x\n".encode("cp1252")
        codes = [w["code"] for w in self.shown(text)["warnings"]]
        self.assertEqual(codes, ["encoding_guessed", "preamble", "longer_rows"])

    def test_another_encoding_can_be_chosen(self):
        content = "Email,Příjmení\na@example.com,Dvořák\n".encode("cp1250")
        upload = self.shown(content)["upload"]
        shown = self.shown(upload=upload, encoding="cp1250")
        self.assertEqual(shown["columns"][1]["samples"], ["Dvořák"])
        mapping = {"Email": "email", "Příjmení": "last_name"}
        self.run_upload(upload, mapping=mapping, encoding="cp1250")
        self.assertEqual(self.rows("last_name"), [("Dvořák",)])

    def test_what_cannot_be_previewed_is_refused_and_leaves_no_file(self):
        for fields, field, code in (
            ({"text": "\0\1"}, "file", "binary_file"),
            ({"text": TEXT, "encoding": "klingon"}, "encoding", "unknown_encoding"),
            ({"text": TEXT, "sheet": "A"}, "sheet", "unknown_sheet"),
            ({"text": TEXT, "record_type": "x"}, "record_type", "invalid_choice"),
            (
                {"text": TEXT, "record_type": "importmapping"},
                "record_type",
                "invalid_choice",
            ),
            ({"text": TEXT, "mapping": '{"x": "email"}'}, "mapping", "unknown_column"),
            ({"text": TEXT, "mapping": "{"}, "mapping", "not_json"),
            ({"text": TEXT, "upload": str(uuid.uuid4())}, "upload", "does_not_exist"),
            ({"upload": str(uuid.uuid4())}, "upload", "does_not_exist"),
            ({"upload": "x"}, "upload", "invalid"),
            ({}, "file", "required"),
        ):
            with self.subTest(fields):
                self.before = Job.objects.count(), 0
                self.assertProblem(self.look(**fields), 400, field, code)
                self.assertFalse(Upload.objects.exists())

    def test_an_upload_is_its_owners_alone(self):
        upload = self.shown(TEXT)["upload"]
        for user in (self.cast.bob, self.cast.manager, self.cast.carol):
            client = client_of(user)
            self.assertEqual(self.look(client=client, upload=upload).status_code, 400)
            response = client.post(
                PATH, {"upload": upload, "record_type": "contact"}, format="json"
            )
            self.assertEqual(response.status_code, 400)
        self.assertFalse(Job.objects.exists())

    def test_a_file_that_the_disk_has_no_room_for_leaves_nothing(self):
        full = OSError(errno.ENOSPC, "No space left on device")
        self.before = 0, 0
        for send in (self.look, self.post):
            with (
                self.subTest(send),
                mock.patch("shutil.copyfileobj", side_effect=full),
                self.assertLogs("core.problems", "ERROR"),
            ):
                self.assertProblem(send(TEXT), 507)
            self.assertEqual(self.files(), [])
        self.assertFalse(Upload.objects.exists())
        self.assertFalse(Job.objects.exists())

    def test_who_may_not_import_may_not_preview(self):
        self.before = 0, 0
        self.assertProblem(self.look(TEXT, client_of(self.cast.reader)), 403)
        self.assertProblem(self.look(TEXT, client_of(None)), 401)
        self.assertFalse(Upload.objects.exists())

    def test_an_upload_that_nobody_imports_is_removed_after_a_day(self):
        old, young = self.shown(TEXT)["upload"], self.shown(TEXT)["upload"]
        yesterday = timezone.now() - timedelta(hours=25)
        Upload.objects.filter(pk=old).update(created_at=yesterday)
        tasks.sweep()
        self.assertEqual([str(u.pk) for u in Upload.objects.all()], [young])
        self.assertEqual(self.files(), [Upload(pk=young).path])


class SavedMappingTests(FlowTestCase):
    MAPPING = {"Mail address": "email", "Town": "city", "First Name": None}

    def save(self, name="Fair"):
        upload = self.shown(TEXT)["upload"]
        return self.run_upload(upload, mapping=self.MAPPING, save_mapping_as=name)

    def test_a_saved_mapping_is_used_for_files_with_the_same_header(self):
        self.save()
        shown = self.shown(TEXT.replace("Mail address", "MAIL-ADDRESS"))
        self.assertEqual(shown["saved_mapping"]["name"], "Fair")
        self.assertEqual(self.targets(shown)["MAIL-ADDRESS"], "email")
        again = self.run_import(TEXT.replace("ada", "bob"))
        self.assertEqual(again["mapping"], self.MAPPING)
        other = self.shown(TEXT.replace("Town", "Village"))
        self.assertIsNone(other["saved_mapping"])

    def test_saving_under_the_same_name_replaces_it(self):
        self.save()
        upload = self.shown(TEXT)["upload"]
        mapping = {**self.MAPPING, "First Name": "first_name"}
        self.run_upload(upload, mapping=mapping, save_mapping_as="Fair")
        saved = ImportMapping.objects.get()
        self.assertEqual((saved.version, saved.mapping), (2, mapping))

    def test_it_is_listed_renamed_and_deleted(self):
        self.save()
        [listed] = self.alice.get("/api/import-mappings/").json()["results"]
        address = f"/api/import-mappings/{listed['id']}/"
        renamed = self.alice.patch(address, {"name": "Fair 2"}, format="json")
        self.assertEqual(renamed.json()["name"], "Fair 2")
        self.assertEqual(self.alice.delete(address).status_code, 204)
        self.assertIsNone(self.shown(TEXT)["saved_mapping"])

    def test_of_another_organization_it_is_not_used(self):
        self.save()
        shown = self.shown(TEXT, client=client_of(self.cast.carol))
        self.assertIsNone(shown["saved_mapping"])


class ImportMappingContract(RecordContract, TestCase):
    path = "/api/import-mappings/"
    valid = {
        "name": "Fair {n}",
        "applies_to": "contact",
        "columns": ["Mail", "Town"],
        "mapping": {"Mail": "email", "Town": None},
    }
    change = {"description": "Of the fair in May"}

    def test_what_fits_no_type_or_no_column_is_refused(self):
        for wrong, field in (
            ({"applies_to": "user"}, "applies_to"),
            ({"columns": []}, "columns"),
            ({"columns": ["a", "a"]}, "columns"),
            ({"columns": {"a": 1}}, "columns"),
            ({"mapping": []}, "mapping"),
            ({"mapping": {"Shoe": "email"}}, "mapping"),
            ({"mapping": {"Mail": "shoe_size"}}, "mapping"),
        ):
            with self.subTest(wrong):
                response = client_of(self.cast.alice).post(
                    self.path, {**self.valid, **wrong}, format="json"
                )
                self.assertEqual(response.status_code, 400, response.content)
                self.assertEqual(response.json()["errors"][0]["field"], field)
        self.assertFalse(ImportMapping.objects.exists())


class OptionTests(FlowTestCase):
    def test_blank_cells_clear_only_when_asked_to(self):
        ada = self.make(
            email="ada@example.com", city="London", tags=["vip"], status="inactive"
        )
        text = "email,city,tags,status\nada@example.com,,,\n"
        self.assertCounts(self.run_import(text, mode="update"), 0, 0, 1, 0)
        self.assertCounts(
            self.run_import(text, mode="update", blank="clear"), 0, 1, 0, 0
        )
        stored = self.stored(ada)
        self.assertEqual(
            (stored.email, stored.city, stored.tags, stored.status),
            ("ada@example.com", "", [], "active"),
        )

    def test_rows_are_matched_by_an_external_id(self):
        ada = self.make(
            email="ada@example.com", external_ids={"hubspot": "1", "x": "2"}
        )
        text = "Id,Email\n1,lovelace@example.com\n2,new@example.com\n"
        mapping = {"Id": "external_ids.hubspot", "Email": "email"}
        fields = {"mapping": mapping, "match": "external_ids.hubspot"}
        self.assertCounts(self.run_import(text, mode="upsert", **fields), 1, 1, 0, 0)
        self.assertEqual(self.stored(ada).email, "lovelace@example.com")
        self.assertEqual(self.stored(ada).external_ids, {"hubspot": "1", "x": "2"})
        self.assertCounts(self.run_import(text, mode="upsert", **fields), 0, 0, 2, 0)

    def test_an_external_id_of_several_records_changes_none_of_them(self):
        for name in ("King", "Boole"):
            self.make(last_name=name, external_ids={"hubspot": "1"})
        shown = self.run_import(
            "Id,City\n1,Cork\n",
            mapping={"Id": "external_ids.hubspot", "City": "city"},
            match="external_ids.hubspot",
            mode="update",
        )
        self.assertCounts(shown, 0, 0, 0, 1)
        self.assertEqual(self.codes(shown), [(2, "", "several_matches")])
        self.assertEqual(self.rows("city"), [("",), ("",)])

    def test_rows_are_matched_by_the_id_here(self):
        ada = self.make(email="ada@example.com")
        hers = self.make(self.cast.carol, email="x@example.com")
        text = f"id,city\n{ada.pk},Cork\n{hers.pk},Cork\nnonsense,Cork\n"
        shown = self.run_import(text, mode="update", match="id")
        self.assertCounts(shown, 0, 1, 0, 2)
        self.assertEqual(
            sorted(self.codes(shown)), [(3, "", "does_not_exist"), (4, "id", "invalid")]
        )
        self.assertEqual(self.stored(ada).city, "Cork")
        self.assertEqual(self.stored(hers).city, "")

    def test_an_owner_and_tags_for_all(self):
        manager = client_of(self.cast.manager)
        shown = self.run_import(
            f"email,tags,owner\na@example.com,one,{self.cast.alice.email}\nb@example.com,,\n",
            manager,
            owner=str(self.cast.bob.pk),
            tags="fair, one",
        )
        self.assertCounts(shown, 2, 0, 0, 0)
        self.assertEqual(
            self.rows("owner", "tags"),
            [(self.cast.bob.pk, ["one", "fair"]), (self.cast.bob.pk, ["fair", "one"])],
        )

    def test_options_that_do_not_fit_are_refused(self):
        text = "email,city\na@example.com,Cork\n"
        for fields, field, code in (
            ({"match": "email"}, "match", "invalid_choice"),
            (
                {"match": "external_ids.A b", "mode": "update"},
                "match",
                "invalid_choice",
            ),
            ({"match": "external_ids.7", "mode": "update"}, "match", "invalid_choice"),
            ({"match": "id"}, "match", "invalid_choice"),
            ({"match": "id", "mode": "update"}, "mapping", "match_not_mapped"),
            ({"blank": "x"}, "blank", "invalid_choice"),
            ({"owner": str(self.cast.carol.pk)}, "owner", "does_not_exist"),
            ({"owner": str(self.cast.bob.pk)}, "owner", "does_not_exist"),
            ({"owner": "x"}, "owner", "invalid"),
            ({"tags": "x" * 101}, "tags", "max_length"),
            ({"encoding": "klingon"}, "encoding", "unknown_encoding"),
        ):
            with self.subTest(fields):
                self.assertProblem(self.post(text, **fields), 400, field, code)


class MemoryTests(FlowTestCase):
    TEXT = (
        "email,city\n"
        "a@example.com,London\n"
        "b@example.com,Cork\n"
        ",\n"
        "A@example.com,Ockham\n"
        "b@example.com,Cork\n"
        "a@example.com,Ockham\n"
    )

    def test_duplicates_in_the_file_are_listed_with_the_line_they_repeat(self):
        self.make(email="b@example.com")
        for dry_run in ("true", "false"):
            for rows in (1000, 2):
                with self.subTest(f"{dry_run} by {rows}"):
                    self.chunks_of(rows)
                    shown = self.run_import(self.TEXT, dry_run=dry_run)
                    if dry_run == "false" and rows == 2:
                        continue  # everybody is there by now
                    self.assertCounts(shown, 1, 0, 5, 0)
                    self.assertEqual(
                        shown["skipped_because"],
                        {"exists": 2, "blank": 1, "duplicate_in_file": 2},
                    )
                    page = self.alice.get(f"{PATH}{shown['id']}/skipped/").json()
                    listed = {
                        s["line"]: (s["reason"], s["first_line"])
                        for s in page["results"]
                    }
                    self.assertEqual(listed[5], ("duplicate_in_file", 2))
                    self.assertEqual(listed[7], ("duplicate_in_file", 2))
                    self.assertEqual(listed[3], ("exists", None))

    def test_a_trial_is_exact_across_chunks_and_slices(self):
        self.make(email="b@example.com")
        for rows in (1000, 2, 1):
            with self.subTest(f"by {rows}"):
                self.chunks_of(rows)
                job = self.submit(self.TEXT, mode="upsert", dry_run="true")
                while jobs.run(job.pk, seconds=-1):  # a slice for each chunk
                    pass
                job.refresh_from_db()
                self.assertEqual(
                    job.counts, {"created": 1, "updated": 2, "skipped": 3, "failed": 0}
                )
                self.assertEqual(self.rows("email", "city"), [("b@example.com", "")])
        self.assertCounts(self.run_import(self.TEXT, mode="upsert"), 1, 2, 3, 0)

    def test_a_chunk_done_again_does_not_meet_its_own_rows(self):
        self.chunks_of(2)
        take, calls = RowImport.take, []

        def crash(importer, changes, chunk, position, *more):
            result = take(importer, changes, chunk, position, *more)
            calls.append(position)
            if len(calls) == 1:
                raise ConnectionError("The database is away.")
            return result

        job = self.submit(self.TEXT)
        with (
            mock.patch.object(RowImport, "take", crash),
            self.assertLogs("core.jobs", "ERROR"),
        ):
            jobs.run(job.pk)
            self.assertFalse(Contact.objects.exists())
            jobs.run(job.pk)
        self.assertEqual(calls[:2], [0, 0])
        job.refresh_from_db()
        self.assertEqual(
            job.counts, {"created": 2, "updated": 0, "skipped": 4, "failed": 0}
        )


class ManyRowsTests(FlowTestCase):
    """So many that PostgreSQL takes them by COPY."""

    def test_any_text_comes_through_whole(self):
        notes = ["a\tb", "a\\nb", 'say "so"', "one\ntwo", "\\N", "\\.", "é\u2028ñ"]
        file = io.StringIO()
        writer = csv.writer(file)
        writer.writerow(["email", "notes", "tags"])
        texts = [notes[n % len(notes)] for n in range(150)]
        writer.writerows(
            [f"k{n}@example.com", text, "a b;c"] for n, text in enumerate(texts)
        )
        shown = self.run_import(file.getvalue())
        self.assertCounts(shown, 150, 0, 0, 0)
        stored = dict(self.rows("email", "notes"))
        self.assertEqual([stored[f"k{n}@example.com"] for n in range(150)], texts)
        tags = {tuple(tags) for (tags,) in self.rows("tags")}
        self.assertEqual(tags, {("a b", "c")})
        self.assertEqual(Change.objects.filter(record_type="contact").count(), 150)

    def test_lost_races_fail_only_their_rows(self):
        existing = Matcher.existing
        faster = ["k7@example.com", "k8@example.com"]

        def and_then_somebody_is_faster(matcher, drafts):
            found = existing(matcher, drafts)
            self.make(self.cast.stranger, email=faster.pop(0))
            return found

        job = self.submit(
            "email\n" + "".join(f"k{n}@example.com\n" for n in range(150))
        )
        with mock.patch.object(Matcher, "existing", and_then_somebody_is_faster):
            jobs.run(job.pk)
        job.refresh_from_db()
        self.assertEqual(
            job.counts, {"created": 148, "updated": 0, "skipped": 0, "failed": 2}
        )


class ErrorFileTests(FlowTestCase):
    def error_file(self, shown) -> str:
        response = self.alice.get(f"{PATH}{shown['id']}/error-file/")
        self.assertEqual(response.status_code, 200)
        return b"".join(response.streaming_content).decode()

    def test_failed_rows_come_back_with_what_is_wrong_and_can_be_mended(self):
        text = (
            "Mail,Town,Rest\n"
            "good@example.com,Cork,\n"
            'nonsense,"Lon\ndon",=1+1\n'
            "long@example.com,Cork,x,y\n"
        )
        mapping = {"Mail": "email", "Town": "city", "Rest": "notes"}
        upload = self.shown(text)["upload"]
        shown = self.run_upload(upload, mapping=mapping, save_mapping_as="Mine")
        self.assertCounts(shown, 1, 0, 0, 2)
        content = self.error_file(shown)
        rows = list(csv.reader(io.StringIO(content.removeprefix("\ufeff"))))
        self.assertEqual(
            rows[0],
            ["Error line", "Error code", "Error message", "Mail", "Town", "Rest"],
        )
        by_line = {row[0]: row for row in rows[1:]}
        self.assertEqual(by_line["3"][1], "invalid")
        self.assertEqual(by_line["3"][3:], ["nonsense", "Lon\ndon", "'=1+1"])
        self.assertEqual(by_line["5"][1], "too_many_cells")
        mended = content.replace("nonsense", "new@example.com")
        again = self.run_import(mended)
        self.assertCounts(again, 1, 0, 0, 1)
        self.assertEqual(
            self.rows("email", "city", "notes")[1],
            ("new@example.com", "Lon\ndon", "=1+1"),
        )

    def test_an_error_file_is_for_those_who_see_the_import(self):
        shown = self.run_import("email\nnonsense\n")
        for user in (self.cast.bob, self.cast.carol):
            answer = client_of(user).get(f"{PATH}{shown['id']}/error-file/")
            self.assertEqual(answer.status_code, 404)


class FormatTests(FlowTestCase):
    def test_vcards_become_contacts_and_again_create_nothing(self):
        text = (
            "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Lovelace;Ada;;;\r\n"
            "EMAIL:ada@example.com\r\nEMAIL:ada@home.example.com\r\n"
            "TEL;TYPE=CELL:(415) 555-2671\r\nEND:VCARD\r\n"
        )
        self.assertCounts(self.run_import(text, name="a.vcf"), 1, 0, 0, 0)
        self.assertEqual(
            self.rows("first_name", "last_name", "email", "mobile_e164"),
            [("Ada", "Lovelace", "ada@example.com", "+14155552671")],
        )
        self.assertCounts(self.run_import(text, name="a.vcf"), 0, 0, 1, 0)

    def test_a_workbook_becomes_contacts(self):
        file = io.BytesIO()
        with xlsxwriter.Workbook(file) as book:
            sheet = book.add_worksheet("People")
            sheet.write_row(0, 0, ["Email", "Last Name", "Zip"])
            sheet.write_row(1, 0, ["ada@example.com", "King", 94043])
        shown = self.run_import(file.getvalue(), name="a.xlsx")
        self.assertCounts(shown, 1, 0, 0, 0)
        self.assertEqual(self.rows("last_name", "postal_code"), [("King", "94043")])

    def test_a_workbook_is_read_once_in_steps_and_begun_anew_after_a_death(self):
        file = io.BytesIO()
        with xlsxwriter.Workbook(file) as book:
            sheet = book.add_worksheet()
            sheet.write_row(0, 0, ["Email", "City"])
            for line in range(1, 8):
                sheet.write_row(line, 0, [f"{line}@x.com", "Cork"])
        job = self.submit(file.getvalue(), name="a.xlsx")
        steps = []
        read_all = importing.ImportHandler._read_all

        def read_some(handler, job):
            read_all(handler, job)
            steps.append((handler.can_pause, job.total))
            if len(steps) == 2:
                raise ConnectionError("The worker died.")

        with (
            mock.patch.object(reading, "COPIED_ROWS", 3),
            mock.patch.object(importing, "CHUNK_ROWS", 2),
            mock.patch.object(importing.ImportHandler, "_read_all", read_some),
            self.assertLogs("core.jobs", "ERROR"),
        ):
            self.assertIs(jobs.run(job.pk, seconds=0), False)
            self.assertFalse(Contact.objects.exists())
            # The time is over, but of a workbook all is read.
            self.assertIs(jobs.run(job.pk, seconds=0), True)
            self.assertEqual(
                steps,
                [(False, None)] * 2 + [(False, None)] * 3 + [(True, 7)],
            )
            with mock.patch.object(workbook, "_rows", side_effect=AssertionError):
                while jobs.run(job.pk, seconds=0):
                    pass
        shown = self.alice.get(f"/api/imports/{job.pk}/").json()
        self.assertCounts(shown, 7, 0, 0, 0)
        self.assertEqual(list(self.folder.glob("imports/*")), [])

    def test_rows_whose_copy_is_gone_are_read_again_and_gone_on_with(self):
        self.chunks_of(2)
        job = self.submit("email\n" + "".join(f"{n}@x.com\n" for n in range(7)))
        while job.done < 4:
            self.assertIs(jobs.run(job.pk, seconds=-1), True)
            job.refresh_from_db()
        (importing.folder_of(job.pk) / "rows").unlink()
        # And a worker that dies over it leaves no half of a copy behind.
        with (
            mock.patch.object(reading, "COPIED_ROWS", 3),
            mock.patch.object(reading.orjson, "dumps", side_effect=ConnectionError),
            self.assertLogs("core.jobs", "ERROR"),
        ):
            jobs.run(job.pk)
        while jobs.run(job.pk, seconds=-1):
            pass
        shown = self.alice.get(f"/api/imports/{job.pk}/").json()
        self.assertCounts(shown, 7, 0, 0, 0)

    def test_a_workbook_that_never_comes_to_its_end_fails(self):
        file = io.BytesIO()
        with xlsxwriter.Workbook(file) as book:
            book.add_worksheet().write_column(0, 0, ["Email", "a@x.com"])
        job = self.submit(file.getvalue(), name="a.xlsx")
        job.state["starts"] = jobs.MAX_ATTEMPTS
        job.save(update_fields=["state"])
        jobs.run(job.pk)
        job.refresh_from_db()
        self.assertEqual((job.status, job.error["code"]), ("failed", "internal_error"))

    def test_further_values_are_offered_to_the_record(self):
        taken = []

        def take(record, field, value, column):
            taken.append((field, value, column))

        with mock.patch.object(Contact, "import_further", take):
            self.run_import(
                "Email 1,Email 2,Last Name\na@example.com,b@example.com,King\n"
            )
        self.assertEqual(taken, [("email", "b@example.com", "Email 2")])
