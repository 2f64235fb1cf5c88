# ruff: noqa: RUF001
import datetime
import io
import os
import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

import xlsxwriter
from django.test import tag

from core.importing import workbook
from core.importing.reading import copied_rows, copy_rows, detect, read_rows
from core.importing.table import UnreadableFile


@tag("once")
class FormatCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "file"

    def read(self, content, known=(), **choices):
        """The layout, and the rows as (line, cells)."""
        if isinstance(content, str):
            content = content.encode()
        self.path.write_bytes(content)
        layout = detect(self.path, lambda name: name in known, **choices)
        rows = [tuple(row) for row in read_rows(self.path, layout)]
        copy = self.path.with_name("copy")
        counts = list(copy_rows(self.path, layout, copy))
        self.assertEqual(counts[-1], (len(rows), True))
        self.assertEqual(list(map(tuple, copied_rows(copy))), rows)
        return layout, rows

    def cards(self, content, **choices) -> list[dict]:
        """What each card says, by column; blank values left out."""
        layout, rows = self.read(content, **choices)
        self.assertEqual(layout.format, "vcard")
        return [
            {n: c for n, c in zip(layout.columns, cells, strict=True) if c}
            for _, cells in rows
        ]

    def assertRefused(self, content, code, line=None, **choices):
        with self.assertRaises(UnreadableFile) as caught:
            self.read(content, **choices)
        self.assertEqual((caught.exception.code, caught.exception.line), (code, line))


class PreambleTests(FormatCase):
    def test_a_note_whose_first_word_is_a_known_name_is_no_header(self):
        text = (
            'Notes:\n"Some addresses are missing, see the help."\n\n'
            "First Name,Last Name,Company\nAda,King,Engines\n"
        )
        known = ("Notes:", "First Name", "Last Name", "Company")
        layout, rows = self.read(text, known)
        self.assertEqual(layout.header_line, 4)
        self.assertEqual(rows, [(5, ["Ada", "King", "Engines"])])

    def test_a_header_is_found_below_a_title_and_a_date(self):
        text = "Contacts of the fair\n2026-01-31\n\nName;City;Email\nAda;Ockham;a@b.c\n"
        layout, rows = self.read(text)
        self.assertEqual(layout.columns, ["Name", "City", "Email"])
        self.assertEqual((layout.delimiter, layout.header_line), (";", 4))
        self.assertEqual(rows, [(5, ["Ada", "Ockham", "a@b.c"])])

    def test_a_preamble_of_two_cells_is_one_too(self):
        text = "Report,Contacts\nDate,2026-01-31\nName,City,Email\nAda,Ockham,a@b.c\n"
        layout, _ = self.read(text)
        self.assertEqual(layout.columns, ["Name", "City", "Email"])

    def test_a_known_first_line_is_the_header_whatever_follows(self):
        layout, rows = self.read("Name\nAda,Ockham,x\nBob,Cork,y\n", known={"Name"})
        self.assertEqual((layout.columns, layout.header), (["Name"], 0))
        self.assertEqual(len(rows), 2)

    def test_a_header_of_one_column_is_not_skipped_for_wide_rows_of_data(self):
        layout, rows = self.read("mail\na@b.c,2,3\nd@b.c,5,6\n")
        self.assertEqual(layout.columns, ["mail"])
        self.assertEqual(len(rows), 2)


class EncodingTests(FormatCase):
    def test_encodings_of_before_unicode_are_guessed_and_said_to_be_so(self):
        for encoding, text in (
            ("cp1251", "Имя,Город\nИван,Москва\nАнна,Казань\n"),
            ("shift_jis", "名前,会社\n太郎,株式会社東京\n花子,ソニー\n"),
            ("cp1250", "Imię,Miasto\nŁukasz,Łódź\nZbigniew Święcicki,Kraków\n"),
            ("cp1252", "Name,Ort\nJörg,Zürich\nFrançois,Orléans\n"),
        ):
            with self.subTest(encoding):
                layout, _ = self.read(text.encode(encoding))
                self.assertEqual(layout.encoding, encoding)
                self.assertEqual(layout.columns, text.split("\n")[0].split(","))
                self.assertFalse(layout.encoding_is_sure)

    def test_what_macs_and_dos_wrote_is_told_from_windows_by_its_words(self):
        """In Windows-1252 it would be "JŸrgen", or no text at all."""
        german = "Vorname,Ort\nJürgen,München\nBärbel Groß,Lübeck\n"
        french = "Prénom,Ville\nÉlodie,Besançon\nHélène,Orléans\n"
        signs = "Name,Note\nBob,“quoted” – it’s • fine…\nZoë O’Neil,€5\n"
        for encoding, text in (
            *(("mac_roman", text) for text in (german, french, signs)),
            *(("cp1252", text) for text in (german, french, signs)),
            *(("cp850", text) for text in (german, french)),
        ):
            with self.subTest(f"{encoding} {text[:10]}"):
                layout, _ = self.read(text.encode(encoding))
                self.assertEqual(layout.encoding, encoding)
                self.assertFalse(layout.encoding_is_sure)

    def test_no_word_takes_long_to_be_told(self):
        for word in ("A’", "É-", "’", "É1’", "a-", "1"):
            content = b"a,b\n" + (word * 8000 + "¸¸").encode("cp1252") + b",1\n"
            self.assertEqual(len(self.read(content)[1]), 1)

    def test_utf_8_is_sure(self):
        layout, _ = self.read("Имя,Город\nИван,Москва\n")
        self.assertTrue(layout.encoding_is_sure)

    def test_an_encoding_can_be_chosen(self):
        content = "Jméno,Příjmení\nJiří,Dvořák\n".encode("cp1250")
        layout, rows = self.read(content, encoding="windows-1250")
        self.assertEqual(layout.columns, ["Jméno", "Příjmení"])
        self.assertEqual(rows, [(2, ["Jiří", "Dvořák"])])

    def test_an_encoding_that_there_is_not_is_refused(self):
        for name in ("klingon", "base64", "idna", "unicode_escape", "utf-7", "\0"):
            with self.subTest(name):
                self.assertRefused("a,b\n1,2\n", "unknown_encoding", encoding=name)

    def test_an_encoding_that_does_not_fit_is_refused_with_the_line(self):
        self.assertRefused("a\nZoë\n", "wrong_encoding", 2, encoding="ascii")
        self.assertRefused("a\nZoë\n", "wrong_encoding", encoding="utf-16")


class WorkbookTests(FormatCase):
    def workbook(self, *sheets, hide=()) -> bytes:
        """Each sheet: its name and its rows."""
        file = io.BytesIO()
        with xlsxwriter.Workbook(file) as book:
            day = book.add_format({"num_format": "yyyy-mm-dd"})
            for name, rows in sheets:
                sheet = book.add_worksheet(name)
                if name in hide:
                    sheet.hide()
                else:
                    sheet.activate()
                for line, cells in enumerate(rows):
                    for column, cell in enumerate(cells):
                        if isinstance(cell, datetime.date):
                            sheet.write_datetime(line, column, cell, day)
                        elif isinstance(cell, str) and cell.startswith("="):
                            sheet.write_formula(line, column, cell, None, "#DIV/0!")
                        else:
                            sheet.write(line, column, cell)
        return file.getvalue()

    def test_cells_read_as_a_person_would_type_them(self):
        content = self.workbook(
            (
                "People",
                [
                    ["Name", "Number", "Half", "Day", "Moment", "Yes", "Error"],
                    [
                        "Ada",
                        4155552671,
                        2.5,
                        datetime.datetime(2026, 1, 31),
                        datetime.datetime(2026, 1, 31, 12, 30),
                        True,
                        "=1/0",
                    ],
                ],
            )
        )
        layout, rows = self.read(content)
        self.assertEqual((layout.format, layout.sheet), ("xlsx", "People"))
        cells = ["Ada", "4155552671", "2.5", "2026-01-31", "2026-01-31 12:30:00"]
        self.assertEqual(rows, [(2, [*cells, "true", ""])])

    def test_a_number_has_the_digits_that_are_shown_and_no_errors_of_computing(self):
        """A postal code keeps its zeros, which stand in nothing but its format."""
        file = io.BytesIO()
        with xlsxwriter.Workbook(file) as book:
            sheet = book.add_worksheet()
            sheet.write_row(0, 0, ["Code", "Share", "Sum"])
            code = book.add_format({"num_format": "00000"})
            share = book.add_format({"num_format": "0.0%"})
            for line, numbers in enumerate([(1067, 0.07, 1.1 * 3), (53111, 1, 0.25)]):
                sheet.write_number(line + 1, 0, numbers[0], code)
                sheet.write_number(line + 1, 1, numbers[1], share)
                sheet.write_number(line + 1, 2, numbers[2])
        _, rows = self.read(file.getvalue())
        self.assertEqual(
            rows, [(2, ["01067", "7%", "3.3"]), (3, ["53111", "100%", "0.25"])]
        )

    def test_a_header_below_a_preamble_and_blank_rows_keeps_its_line(self):
        content = self.workbook(
            (
                "S",
                [["Fair 2026"], [], ["Name", "City", "Mail"], [], ["Ada", "Cork", "x"]],
            )
        )
        layout, rows = self.read(content)
        self.assertEqual(
            (layout.columns, layout.header_line), (["Name", "City", "Mail"], 3)
        )
        self.assertEqual(rows, [(5, ["Ada", "Cork", "x"])])

    def test_the_first_visible_sheet_that_holds_something_is_read(self):
        content = self.workbook(
            ("Secret", [["a"]]),
            ("Empty", []),
            ("Right", [["b"], ["1"]]),
            hide={"Secret"},
        )
        layout, rows = self.read(content)
        self.assertEqual((layout.sheet, rows), ("Right", [(2, ["1"])]))
        self.assertEqual(layout.sheets, ["Secret", "Empty", "Right"])

    def test_a_sheet_can_be_chosen(self):
        content = self.workbook(("A", [["a"]]), ("B", [["b"], ["1"]]))
        layout, _ = self.read(content, sheet="B")
        self.assertEqual(layout.columns, ["b"])
        self.assertRefused(content, "unknown_sheet", sheet="C")
        self.assertRefused("a,b\n", "unknown_sheet", sheet="C")

    def test_a_workbook_without_rows_is_empty(self):
        self.assertRefused(self.workbook(("A", [])), "empty_file")

    def archive(self, **parts) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("[Content_Types].xml", "<x/>")
            for name, content in parts.items():
                archive.writestr(f"xl/{name}.xml", content)
        return file.getvalue()

    def test_bombs_are_refused(self):
        sheet = self.workbook(("A", [["a"]]))
        with mock.patch.object(workbook, "MAX_ENTRIES", 3):
            self.assertRefused(sheet, "bomb")
        with mock.patch.object(workbook, "MAX_UNPACKED", 1000):
            self.assertRefused(sheet, "bomb")
        self.assertRefused(self.archive(sheet=bytes(3_000_000)), "bomb")
        texts = self.archive(sharedStrings="".join(map(str, range(100_000))))
        with mock.patch.object(workbook, "MAX_STRINGS", 100_000):
            self.assertRefused(texts, "bomb")

    def test_an_archive_that_lies_about_its_size_is_refused(self):
        content = bytearray(self.archive(sheet=bytes(range(256)) * 2000))
        real = (512_000).to_bytes(4, "little")
        self.assertGreaterEqual(content.count(real), 2)
        content = bytes(content.replace(real, (10).to_bytes(4, "little")))
        with mock.patch.object(workbook, "MAX_UNPACKED", 400_000):
            self.assertRefused(content, "bomb")

    def test_cells_far_apart_fill_no_memory(self):
        file = io.BytesIO()
        with xlsxwriter.Workbook(file) as book:
            sheet = book.add_worksheet()
            sheet.write_row(0, 0, ["Name", "City"])
            sheet.write(1_048_575, 511, "x")
        _, rows = self.read(file.getvalue())
        self.assertEqual(rows, [(1_048_576, [*[""] * 511, "x"])])
        with xlsxwriter.Workbook(file) as book:
            book.add_worksheet().write(1_048_575, 16_383, "x")
        self.assertRefused(file.getvalue(), "too_many_columns")

    def test_cells_of_every_kind_and_format(self):
        file = io.BytesIO()
        numbers = (0, 0.25, 1, 45000, 45000.5, 60, 59.75, 123456.789)
        texts = ("a\rb", "a\x01b", "_x0041_", "  sp ", "a\nb", "数😀", "<&>\"'")
        formats = (
            *("yyyy-mm-dd", "hh:mm", "[h]:mm", "0.00", '#,##0 "days"', "@", "mmm"),
            *("[$-409]d mmm yyyy", "[Red]0", "General", "0.00E+00", "h AM/PM", "d\\-m"),
            *('"y"0', "[<=9]###-####;(###)", "[$€-407]#,##0.00", "_-* #,##0_-"),
        )
        with xlsxwriter.Workbook(file) as book:
            sheet = book.add_worksheet()
            bold = book.add_format({"bold": True})
            sheet.write_row(0, 0, ["Name", *(f"Column {n}" for n in range(9))])
            sheet.write_row(1, 0, texts)
            sheet.write_rich_string(2, 0, bold, "rich", " text")
            for place, value in enumerate(("ab", True, "#DIV/0!", 5), start=1):
                sheet.write_formula(2, place, "=1", None, value)
            for line, code in enumerate(formats, start=4):
                shown = book.add_format({"num_format": code})
                for place, number in enumerate(numbers):
                    sheet.write_number(line, place, number, shown)
        _, rows = self.read(file.getvalue())
        rows = {n: "|".join(cells).rstrip("|") for n, cells in rows}
        self.assertEqual(rows[2], "|".join(texts))
        self.assertEqual(rows[3], "rich text|ab|true||5")
        plain = "0|0.25|1|45000|45000.5|60|59.75|123456.789"
        days = (
            "00:00:00|06:00:00|1900-01-01|2023-03-15|2023-03-15 12:00:00|1900-02-28"
            "|1900-02-28 18:00:00|2238-01-03 18:56:09"
        )
        lengths = (
            "0:00:00|6:00:00|1 day, 0:00:00|45000 days, 0:00:00|45000 days, 12:00:00"
            "|60 days, 0:00:00|59 days, 18:00:00|123456 days, 18:56:09.600000"
        )
        shows_days = {"yyyy-mm-dd", "hh:mm", "mmm", "[$-409]d mmm yyyy", "h AM/PM"}
        shows_days.add("d\\-m")
        for line, code in enumerate(formats, start=5):
            with self.subTest(code):
                expected = days if code in shows_days else plain
                self.assertEqual(rows[line], lengths if "[h]" in code else expected)

    def test_what_only_looks_like_a_workbook_is_refused(self):
        self.assertRefused(self.archive(), "broken_workbook")
        self.assertRefused(self.workbook(("A", [["a"]]))[:-30], "binary_file")

    def changed(self, find: bytes, put: bytes) -> bytes:
        """A workbook with other bytes in its sheet."""
        file = io.BytesIO()
        content = self.workbook(("A", [["Name"], ["Ada"], [7]]))
        with (
            zipfile.ZipFile(io.BytesIO(content)) as old,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new,
        ):
            for name in old.namelist():
                part = old.read(name)
                if name == "xl/worksheets/sheet1.xml":
                    self.assertIn(find, part)
                    part = part.replace(find, put)
                new.writestr(name, part)
        return file.getvalue()

    def test_cells_and_rows_without_a_reference_follow_one_another(self):
        content = self.changed(b'<c r="A3">', b"<c>")
        self.assertEqual(self.read(content)[1], [(2, ["Ada"]), (3, ["7"])])

    def test_what_is_no_sheet_is_refused(self):
        doctype = b'<!DOCTYPE a [<!ENTITY b "c">]><worksheet '
        for find, put, code, line in (
            (b"<worksheet ", doctype, "broken_workbook", None),
            (b"</sheetData>", b"", "broken_workbook", None),
            (b"<v>7</v>", b"<v>seven</v>", "broken_workbook", None),
            (b"<v>7</v>", b"<v>%s</v>" % (b"7" * 140_000), "broken_workbook", None),
            (b'r="A3"', b'r="3"', "broken_workbook", None),
            (b'<c r="A2" t="s"><v>', b'<c r="A2" t="s"><v>9', "broken_workbook", None),
        ):
            with self.subTest(put[:30]):
                self.assertRefused(self.changed(find, put), code, line)

    def test_a_strict_workbook_is_not_called_empty(self):
        """Its sheets are there, under names that no reader here knows."""
        file = io.BytesIO()
        content = self.workbook(("A", [["Name"], ["Ada"]]))
        loose = b"http://schemas.openxmlformats.org/"
        with (
            zipfile.ZipFile(io.BytesIO(content)) as old,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new,
        ):
            for name in old.namelist():
                part = old.read(name)
                for kind in (b"spreadsheetml/2006", b"officeDocument/2006"):
                    strict = b"http://purl.oclc.org/ooxml/" + kind[:-5]
                    part = part.replace(loose + kind, strict)
                new.writestr(name, part)
        with self.assertWarns(UserWarning):  # of the library that reads it
            self.assertRefused(file.getvalue(), "broken_workbook")

    def test_a_tag_without_end_is_not_read_to_its_end(self):
        tag = b'<row x="' + os.urandom(900_000).hex().encode() + b'">'
        content = self.changed(b"<sheetData>", b"<sheetData>" + tag)
        with self.assertRaisesRegex(UnreadableFile, "a tag in it has no end"):
            self.read(content)

    def test_how_a_text_is_pronounced_is_no_part_of_it(self):
        spoken = b'<rPh sb="0" eb="1"><t>b</t></rPh>'
        text = b'<c r="A3" t="inlineStr"><is><t>a</t>%s</is></c>' % spoken
        content = self.changed(b'<c r="A3"><v>7</v></c>', text)
        self.assertEqual(self.read(content)[1][1], (3, ["a"]))
