import csv
import datetime
import decimal
import io
import tempfile
import zipfile
from contextlib import closing
from pathlib import Path
from unittest import mock

import vobject
from django.test import SimpleTestCase, TestCase
from openpyxl import load_workbook

from contact_management.models import Company, Contact
from core import csvfile, jobs
from core.exporting import vcard
from core.exporting.columns import Column
from core.exporting.formats import MAX_CELL, Csv, Workbook
from core.exporting.job import file_of
from core.exporting.vcard import escaped
from core.importing.mapping import split_tags, tags_text
from core.models import Job
from core.testing import Cast, client_of, system_changes

DANGEROUS = (
    *("=1+1", "+49 171 1234567", "-5", "@SUM(A1)", "\tx", "\rx"),
    *("'=1+1", "''=1+1", "'-5", '=HYPERLINK("http://x.com")'),
)
HARMLESS = ("a=b", "'quoted'", "007", "1e5", "http://x.com", "mailto:a@x.com", "3-4")


def columns(*names) -> list[Column]:
    return [Column(name, lambda answer, name=name: answer[name]) for name in names]


class CsvTests(SimpleTestCase):
    def cells(self, *values) -> list[str]:
        answers = [{"a": value} for value in values]
        kind = Csv(columns("a"))
        text = kind.head() + kind.chunk(answers)
        self.assertEqual(text[0], "\ufeff")
        rows = list(csv.reader(io.StringIO(text[1:], newline="")))
        self.assertEqual(rows[0], ["a"])
        return [row[0] if row else "" for row in rows[1:]]

    def test_a_cell_that_would_be_a_formula_is_guarded_and_read_back_as_it_was(self):
        for text, cell in zip(DANGEROUS, self.cells(*DANGEROUS), strict=True):
            with self.subTest(text):
                self.assertEqual(cell, f"'{text}")
                self.assertEqual(csvfile.without_guard(cell), text)

    def test_other_texts_stand_as_they_are(self):
        self.assertEqual(self.cells(*HARMLESS), list(HARMLESS))
        self.assertEqual([csvfile.without_guard(t) for t in HARMLESS], list(HARMLESS))

    def test_values_have_one_spelling(self):
        moment = datetime.datetime(2026, 3, 1, 10, 0, tzinfo=datetime.UTC)
        values = (moment, datetime.date(2026, 3, 1), decimal.Decimal("12.50"), None, 7)
        self.assertEqual(
            self.cells(*values),
            ["2026-03-01T10:00:00Z", "2026-03-01", "12.50", "", "7"],
        )


class WorkbookTests(SimpleTestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "file"

    def written(self, *values) -> Workbook:
        book = Workbook(self.path, columns("a"))
        book.add([{"a": value} for value in values])
        book.finish()
        book.close()
        return book

    def read(self) -> list:
        with self.path.open("rb") as file, closing(load_workbook(file)) as book:
            return [cell.value for cell in book.worksheets[0]["A"][1:]]

    def test_texts_are_texts_whatever_they_look_like(self):
        texts = [t for t in (*DANGEROUS, *HARMLESS) if not t.startswith(("'", "\r"))]
        self.written(*texts)
        self.assertEqual(self.read(), texts)
        with zipfile.ZipFile(self.path) as parts:
            sheet = parts.read("xl/worksheets/sheet1.xml").decode()
            names = parts.namelist()
        self.assertNotIn("<f>", sheet)
        self.assertNotIn("hyperlink", sheet)
        self.assertNotIn("xl/worksheets/_rels/sheet1.xml.rels", names)
        self.assertEqual(sheet.count('t="inlineStr"'), len(texts) + 1)

    def test_what_reading_would_take_for_a_guard_gets_another(self):
        self.written("'=1+1", "'-5", "'quoted'")
        self.assertEqual(
            [csvfile.without_guard(text) for text in self.read()],
            ["'=1+1", "'-5", "'quoted'"],
        )

    def test_numbers_and_dates_have_their_types_where_all_of_them_is_kept(self):
        moment = datetime.datetime(2026, 3, 1, 10, tzinfo=datetime.UTC)
        east = moment.astimezone(datetime.timezone(datetime.timedelta(hours=9)))
        old = datetime.date(1815, 12, 10)
        self.written(
            *(moment, east, datetime.date(2026, 3, 1), old),
            *(7, decimal.Decimal("12.50"), True),
            *(10**17, decimal.Decimal("1234567890123456.78")),
            *(0.25, 0.1 + 0.2),
        )
        self.assertEqual(
            self.read(),
            [
                *[datetime.datetime(2026, 3, 1, 10)] * 2,
                *(datetime.datetime(2026, 3, 1), "1815-12-10"),
                *(7, 12.5, True),
                *("100000000000000000", "1234567890123456.78"),
                *(0.25, "0.30000000000000004"),
            ],
        )

    def test_what_no_cell_can_hold_is_cut_and_counted(self):
        book = self.written("x" * MAX_CELL, "y" * (MAX_CELL + 1))
        self.assertEqual(book.shortened, 1)
        self.assertEqual([len(text) for text in self.read()], [MAX_CELL, MAX_CELL])

    def test_one_that_is_given_up_leaves_nothing(self):
        book = Workbook(self.path, columns("a"))
        book.add([{"a": "x"}])
        book.close()
        self.assertEqual(list(self.path.parent.iterdir()), [])


class ListTests(SimpleTestCase):
    def test_tags_are_read_back_as_they_were(self):
        for tags, text in (
            ([], ""),
            (["vip", "old friend"], "vip; old friend"),
            (["a,b"], '["a,b"]'),
            (["* starred", "x"], '["* starred","x"]'),
            (["[1]"], "[1]"),
            (['["x"]'], '["[\\"x\\"]"]'),
        ):
            with self.subTest(tags):
                self.assertEqual(tags_text(tags), text)
                self.assertEqual(split_tags(text), tags)

    def test_labelled_values_are_read_back_as_they_were(self):
        field = Contact._meta.get_field("other_phones")
        for pairs, text in (
            ([], ""),
            ([("+49 171 1", "Work"), ("5", "")], "Work: +49 171 1; 5"),
            ([("tel: 5", "")], '[{"value": "tel: 5", "label": ""}]'),
            ([("5\n6", "a")], '[{"value": "5\\n6", "label": "a"}]'),
        ):
            with self.subTest(pairs):
                entries = [{"value": value, "label": label} for value, label in pairs]
                with_numbers = [{**entry, "e164": "+1"} for entry in entries]
                self.assertEqual(field.as_text(with_numbers), text)
                self.assertEqual(field.from_text(text), entries)


class CardTextTests(SimpleTestCase):
    def test_control_characters_are_spaces_and_line_ends_are_written_out(self):
        self.assertEqual(escaped("a\0b\x08c\x7fd\te\r\nf;"), "a b c d\te\\nf\\;")


class VCardTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        cls.ada = Contact(
            owner=cls.cast.manager,
            salutation="Countess",
            first_name="Ada",
            last_name="Lovelace; née Byron",
            email="ada@x.com",
            email_label="Office",
            other_emails=[{"value": "a@home.com", "label": "home"}],
            phone="+44 20 7946 0000",
            mobile="+44 7700 900000",
            company_name="Analytical, Engines",
            department="R&D",
            job_title="Analyst",
            address_line_1="12 St James's Square",
            city="London",
            postal_code="SW1Y 4JH",
            country="GB",
            website="https://x.com/a?b=1;2",
            notes="First line\nSecond \\ line" + " 数学" * 60,
            tags=["vip", "a,b"],
        )
        cls.engines = Company(
            owner=cls.cast.manager, name="Engines", domain="x.com", city="London"
        )
        with system_changes(cls.cast.organization) as changes:
            changes.bulk_create(Contact, [cls.ada])
            changes.bulk_create(Company, [cls.engines])

    def setUp(self):
        pause = mock.patch.object(jobs, "PAUSE_SECONDS", 0)
        pause.start()
        self.addCleanup(pause.stop)
        self.manager = client_of(self.cast.manager)

    def card(self, record_type="contact", **body) -> str:
        body = {"record_type": record_type, "format": "vcard", **body}
        response = self.manager.post("/api/exports/", body)
        self.assertEqual(response.status_code, 202, response.content)
        job = Job.objects.get(pk=response.json()["id"])
        self.addCleanup(file_of(job.pk).unlink, missing_ok=True)
        jobs.run(job.pk)
        return file_of(job.pk).read_bytes().decode()

    def test_another_program_reads_it_in_both_versions(self):
        for version in vcard.VERSIONS:
            with self.subTest(version):
                text = self.card(version=version)
                for line in text.encode().split(b"\r\n"):
                    self.assertLessEqual(len(line), 75)
                    line.decode()  # broken between characters
                [card] = vobject.readComponents(text)
                self.assertEqual(card.version.value, version)
                self.assertEqual(card.uid.value, f"urn:uuid:{self.ada.pk}")
                self.assertEqual(card.fn.value, "Ada Lovelace; née Byron")
                emails = [email.value for email in card.contents["email"]]
                self.assertEqual(emails, ["ada@x.com", "a@home.com"])
                self.assertEqual(card.contents["x-ablabel"][0].value, "Office")
                phones = [tel.value for tel in card.contents["tel"]]
                self.assertEqual(phones, ["+44 20 7946 0000", "+44 7700 900000"])
                self.assertEqual(card.title.value, "Analyst")
                self.assertEqual(card.url.value, self.ada.website)
                self.assertEqual(card.note.value, self.ada.notes)

    def test_the_parts_of_name_and_address_stand_in_their_order(self):
        lines = self.card().replace("\r\n ", "").splitlines()
        for line in (
            r"N:Lovelace\; née Byron;Ada;;Countess;",
            r"ORG:Analytical\, Engines;R&D",
            "ADR:;;12 St James's Square;London;;SW1Y 4JH;GB",
            r"CATEGORIES:vip,a\,b",
            "KIND:individual",
            "item1.EMAIL;PREF=1:ada@x.com",
            "EMAIL;TYPE=home:a@home.com",
            "TEL;TYPE=cell:+44 7700 900000",
        ):
            self.assertIn(line, lines)

    def test_a_company_is_a_card_of_an_organization(self):
        lines = self.card("company").splitlines()
        for line in ("KIND:org", "FN:Engines", "ORG:Engines", "ADR:;;;London;;;"):
            self.assertIn(line, lines)
        [card] = vobject.readComponents(self.card("company", version="3.0"))
        self.assertTrue(card.validate())

    def test_only_the_fields_that_are_asked_for_are_told(self):
        lines = self.card(fields=["email"]).splitlines()
        self.assertEqual(
            lines,
            [
                *("BEGIN:VCARD", "VERSION:4.0", f"UID:urn:uuid:{self.ada.pk}"),
                *("KIND:individual", "FN:ada@x.com", "EMAIL;PREF=1:ada@x.com"),
                "END:VCARD",
            ],
        )
