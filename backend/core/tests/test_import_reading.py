import json
import tempfile
import tracemalloc
import unittest
from collections import deque
from dataclasses import asdict
from pathlib import Path

from django.test import tag

from core.importing.reading import copied_rows, copy_rows, detect, read_rows
from core.importing.table import (
    MAX_COLUMNS,
    MAX_FIELD,
    Layout,
    Row,
    UnreadableFile,
)


@tag("once")
class FileCase(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "file.csv"

    def write(self, content: str | bytes, encoding: str = "utf-8") -> Path:
        if isinstance(content, str):
            content = content.encode(encoding)
        self.path.write_bytes(content)
        return self.path

    def rows(self, content: str | bytes, encoding: str = "utf-8") -> list[Row]:
        path = self.write(content, encoding)
        layout = detect(path)
        rows = list(read_rows(path, layout))
        self.assertEqual(self.copied(path, layout), rows)
        return rows

    def copied(self, path: Path, layout: Layout) -> list[Row]:
        copy = path.with_name("copy")
        counts = list(copy_rows(path, layout, copy))
        rows = list(copied_rows(copy))
        self.assertEqual(counts[-1], (len(rows), True))
        return rows

    def cells(self, content: str | bytes, encoding: str = "utf-8") -> list[list[str]]:
        return [row.cells for row in self.rows(content, encoding)]

    def assert_refused(
        self,
        content: str | bytes,
        code: str,
        line: int | None,
        encoding: str = "utf-8",
    ) -> UnreadableFile:
        path = self.write(content, encoding)
        with self.assertRaises(UnreadableFile) as caught:
            self.copied(path, detect(path))
        self.assertEqual((caught.exception.code, caught.exception.line), (code, line))
        self.assertTrue(caught.exception.detail.endswith("."))
        return caught.exception


class EncodingTests(FileCase):
    def test_utf_8_is_read_with_and_without_a_byte_order_mark(self) -> None:
        text = "Name,City\nZoë,Łódź\n"
        for encoding in ("utf-8", "utf-8-sig"):
            with self.subTest(encoding):
                self.assertEqual(self.cells(text, encoding), [["Zoë", "Łódź"]])
                self.assertEqual(
                    detect(self.path), Layout(encoding, ",", ["Name", "City"])
                )

    def test_utf_16_is_read_with_a_byte_order_mark_of_either_order(self) -> None:
        text = "\ufeffName\tCity\r\nZoë\tŁódź\r\n"
        for encoding in ("utf-16-le", "utf-16-be"):
            with self.subTest(encoding):
                self.assertEqual(self.cells(text, encoding), [["Zoë", "Łódź"]])
                self.assertEqual(
                    detect(self.path), Layout("utf-16", "\t", ["Name", "City"])
                )

    def test_utf_16_without_a_byte_order_mark_is_told_by_its_nul_bytes(self) -> None:
        text = "Name,City\r\nZoë,Łódź\r\n"
        for encoding in ("utf-16-le", "utf-16-be"):
            with self.subTest(encoding):
                self.assertEqual(self.cells(text, encoding), [["Zoë", "Łódź"]])
                self.assertEqual(detect(self.path).encoding, encoding)

    def test_anything_that_is_not_utf_8_is_windows_text(self) -> None:
        self.assertEqual(
            self.cells("Name,Sum\nJosé “Pepe”,5 €\n", "cp1252"),
            [["José “Pepe”", "5 €"]],
        )
        self.assertEqual(detect(self.path).encoding, "cp1252")

    def test_the_encoding_is_decided_by_the_whole_file(self) -> None:
        plain = "Ada,London\n" * 100_000
        rows = self.cells("Name,City\n" + plain + "José,León\n", "cp1252")
        self.assertEqual(rows[-1], ["José", "León"])

    def test_bytes_that_windows_text_does_not_know_are_refused_with_the_line(
        self,
    ) -> None:
        for byte in (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d"):
            with self.subTest(byte):
                self.assert_refused(
                    b"Name,City\nJos\xe9,Rome\nAda," + byte + b"\n",
                    "wrong_encoding",
                    3,
                )

    def test_the_line_of_a_wrong_byte_is_right_in_a_big_file(self) -> None:
        self.assert_refused(
            b"Name,City\r\n" + b"Ada,Rome\r\n" * 60_000 + b"Ada,\x81\r\n",
            "wrong_encoding",
            60_002,
        )

    def test_a_damaged_utf_8_file_is_not_garbled_as_windows_text(self) -> None:
        content = "Name,City\nZoë,Łódź\nJosé,León\n".encode() + b"Ren\xe9,Rome\n"
        self.assert_refused(content, "wrong_encoding", 4)
        # One good letter weighs as much as one stray byte: it is hardly an accident.
        self.assert_refused(
            "Name\nMüller\n".encode() + b"K\xc3,\n", "wrong_encoding", 3
        )

    def test_broken_text_after_a_byte_order_mark_is_refused_with_the_line(self) -> None:
        self.assert_refused(b"\xef\xbb\xbfName,City\nAda,\xff\n", "wrong_encoding", 2)
        half_a_character = "\ufeffName,City\nAda,x\n".encode("utf-16-le")[:-1]
        self.assert_refused(half_a_character, "wrong_encoding", 2)

    def test_the_strict_pass_finds_text_that_does_not_fit_the_layout(self) -> None:
        path = self.write(b"Name\nAda\r\nJos\xe9\n")
        with self.assertRaises(UnreadableFile) as caught:
            self.copied(path, Layout("utf-8", ",", ["Name"]))
        self.assertEqual(
            (caught.exception.code, caught.exception.line), ("wrong_encoding", 3)
        )


class OtherFilesTests(FileCase):
    def test_an_empty_file_is_refused(self) -> None:
        for content in (b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\r\n\n  \n", b"sep=;\n"):
            with self.subTest(content):
                self.assert_refused(content, "empty_file", None)

    def test_files_of_other_programs_are_refused_by_name(self) -> None:
        for content, name in (
            (b"PK\x03\x04\x14\x00\x06\x00", "a zip archive"),
            (
                b"PK\x03\x04"
                + bytes(26)
                + b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet",
                "an OpenDocument file",
            ),
            (
                b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00",
                "of the old kind (.xls), or one with a password",
            ),
            (b'[{"email": "ada@example.com"}]', "a JSON document"),
            (b'\xef\xbb\xbf{\n "contacts": []}', "a JSON document"),
            (b"<html><table><tr><td>Email", "a page of HTML or XML"),
            (b'<?xml version="1.0"?><Workbook>', "a page of HTML or XML"),
            (b"%PDF-1.7\n", "a PDF document"),
            (b"\x89PNG\r\n\x1a\n", "a picture"),
            (b"\x1f\x8b\x08\x00", "a compressed (gzip) file"),
        ):
            with self.subTest(name):
                error = self.assert_refused(content, "binary_file", None)
                self.assertIn(name, error.detail)
                self.assertIn("Save the table as CSV", error.detail)

    def test_brackets_alone_make_no_json(self) -> None:
        self.assertEqual(self.cells("[Name],[City]\nAda,Rome\n"), [["Ada", "Rome"]])

    def test_a_vertical_tab_may_stand_within_a_cell(self) -> None:
        self.assertEqual(
            self.cells("Name,Notes\nAda,one\x0btwo\n"), [["Ada", "one\x0btwo"]]
        )

    def test_control_characters_are_read_behind_the_mark_of_utf_8(self) -> None:
        text = "Name,City\nA\x01d\x1ba,Rome\n"
        self.assertEqual(self.cells(text, "utf-8-sig"), [["A\x01d\x1ba", "Rome"]])
        self.assert_refused("Name\nA\x00\n", "binary_file", 2, "utf-8-sig")

    def test_arbitrary_bytes_are_refused_as_binary(self) -> None:
        self.assert_refused(bytes(range(254, -1, -1)), "binary_file", None)

    def test_control_characters_are_refused_as_binary_with_the_line(self) -> None:
        for character in ("\x00", "\x01", "\x08", "\x0e", "\x1a", "\x1f"):
            for encoding in ("utf-8", "utf-16"):
                with self.subTest(character=character, encoding=encoding):
                    self.assert_refused(
                        f"Name,City\r\nAda,Rome\r\nZo{character}e,Rome\r\n",
                        "binary_file",
                        3,
                        encoding,
                    )

    def test_the_strict_pass_finds_control_characters_too(self) -> None:
        path = self.write("Name\nAda\x00\n")
        with self.assertRaises(UnreadableFile) as caught:
            self.copied(path, Layout("utf-8", ",", ["Name"]))
        self.assertEqual(
            (caught.exception.code, caught.exception.line), ("binary_file", 2)
        )

    def test_tabs_and_form_feeds_are_text(self) -> None:
        self.assertEqual(
            self.cells("Name,Note\nAda,a\tb\x0cc\n"), [["Ada", "a\tb\x0cc"]]
        )


class DelimiterTests(FileCase):
    def test_each_delimiter_is_recognised(self) -> None:
        for delimiter in ",;\t|":
            with self.subTest(delimiter):
                text = "Name,City,Phone\nAda,London,1\n".replace(",", delimiter)
                self.assertEqual(self.cells(text), [["Ada", "London", "1"]])
                self.assertEqual(detect(self.path).delimiter, delimiter)

    def test_delimiters_inside_quotes_do_not_count(self) -> None:
        self.write('"Name, first, last";"City, ""main"", town"\nAda;Rome\n')
        layout = detect(self.path)
        self.assertEqual(layout.delimiter, ";")
        self.assertEqual(layout.columns, ["Name, first, last", 'City, "main", town'])

    def test_the_rows_decide_where_the_header_leaves_it_open(self) -> None:
        self.write("Name, first;City, main\nAda;Rome\nGrace;Paris\n")
        self.assertEqual(detect(self.path).delimiter, ";")

    def test_between_delimiters_that_both_fit_more_rows_decide(self) -> None:
        self.write("Name, first;City\nAda;Rome\nDoe, Jo;Rome\nDoe, Al;Bonn\n")
        self.assertEqual(detect(self.path).delimiter, ";")

    def test_commas_in_cells_do_not_outweigh_the_header(self) -> None:
        self.write("Name;Sum;Rate\nAda;1,5;2,5\nBob;1,5;2,5\n")
        self.assertEqual(detect(self.path).delimiter, ";")

    def test_ragged_rows_do_not_change_the_delimiter(self) -> None:
        self.assertEqual(
            self.cells("a,b,c\n1,2\n1,2,3,4\n"), [["1", "2"], ["1", "2", "3", "4"]]
        )

    def test_a_single_column_needs_no_delimiter(self) -> None:
        self.assertEqual(self.cells("Name\nAda\nGrace\n"), [["Ada"], ["Grace"]])

    def test_the_separator_line_of_excel_is_honoured_and_skipped(self) -> None:
        for first_line in ("sep=;", "SEP=;", '"sep=;"'):
            with self.subTest(first_line):
                self.assertEqual(
                    self.rows(f"{first_line}\r\na,b,c;d,e,f\r\n1,2;3\r\n", "utf-8-sig"),
                    [Row(3, ["1,2", "3"])],
                )
                self.assertEqual(detect(self.path).columns, ["a,b,c", "d,e,f"])

    def test_a_separator_line_may_name_a_tab(self) -> None:
        self.assertEqual(self.rows("sep=\t\na,b\tc\n1\t2\n"), [Row(3, ["1", "2"])])

    def test_a_separator_line_further_down_is_a_row(self) -> None:
        self.assertEqual(self.cells("a,b\nsep=;\n1,2\n"), [["sep=;"], ["1", "2"]])


class HeaderTests(FileCase):
    def columns(self, header: str) -> list[str]:
        return detect(self.write(header)).columns

    def test_names_are_stripped(self) -> None:
        self.assertEqual(self.columns(' Name ,"City "\n'), ["Name", "City"])

    def test_equal_names_are_numbered(self) -> None:
        self.assertEqual(
            self.columns("Email,Email, Email ,email"),
            ["Email", "Email (2)", "Email (3)", "email"],
        )
        self.assertEqual(
            self.columns("Email (2),Email,Email"), ["Email (2)", "Email", "Email (3)"]
        )

    def test_blank_names_are_replaced_by_the_position(self) -> None:
        self.assertEqual(
            self.columns("Name,, ,Column 3"),
            ["Name", "Column 2", "Column 3", "Column 3 (2)"],
        )

    def test_blank_lines_before_the_header_are_passed_over(self) -> None:
        self.assertEqual(self.rows("\n\n  \na,b\n1,2\n"), [Row(5, ["1", "2"])])

    def test_a_header_alone_has_no_rows(self) -> None:
        self.assertEqual(self.rows("a,b,c"), [])

    def test_a_name_may_hold_a_line_end(self) -> None:
        self.assertEqual(self.rows('"a\nb",c\n1,2\n'), [Row(3, ["1", "2"])])
        self.assertEqual(detect(self.path).columns, ["a\nb", "c"])

    def test_a_layout_survives_json(self) -> None:
        layout = detect(self.write("a,b,c"))
        self.assertEqual(Layout(**json.loads(json.dumps(asdict(layout)))), layout)


class RowTests(FileCase):
    def test_every_kind_of_line_end_is_read(self) -> None:
        for line_end in ("\n", "\r", "\r\n"):
            with self.subTest(line_end):
                text = line_end.join(["a,b", "1,2", '"x', 'y",3', "4,5"])
                self.assertEqual(
                    self.rows(text),
                    [
                        Row(2, ["1", "2"]),
                        Row(3, [f"x{line_end}y", "3"]),
                        Row(5, ["4", "5"]),
                    ],
                )

    def test_quotes_are_written_twice_inside_quotes(self) -> None:
        self.assertEqual(
            self.cells('a,b\n"say ""hi"", ok",""\n'), [['say "hi", ok', ""]]
        )

    def test_quotes_inside_an_unquoted_cell_are_text(self) -> None:
        self.assertEqual(self.cells("a,b\n6' 2\" tall,x\n"), [["6' 2\" tall", "x"]])

    def test_a_formula_that_only_says_a_text_is_that_text(self) -> None:
        """Programs write it so that a spreadsheet keeps the zeros of a number."""
        rows = 'a,b\n="007","=""+49 """"1"""\n="1"&"2",=1\n'
        self.assertEqual(self.cells(rows), [["007", '+49 "1'], ['="1"&"2"', "=1"]])

    def test_the_mark_of_a_file_that_was_put_behind_another_is_no_text(self) -> None:
        self.assertEqual(self.cells("a,b\n1,2\n\ufeff3,4\n"), [["1", "2"], ["3", "4"]])

    def test_cells_are_not_stripped(self) -> None:
        self.assertEqual(self.cells("a,b\n x , y\n"), [[" x ", " y"]])

    def test_blank_lines_are_not_rows_but_lines_of_blank_cells_are(self) -> None:
        self.assertEqual(
            self.rows("a,b\n\n1,2\n   \n\r\n,\n3,4\n\n"),
            [Row(3, ["1", "2"]), Row(6, ["", ""]), Row(7, ["3", "4"])],
        )

    def test_a_copy_is_read_on_from_the_middle(self) -> None:
        rows = self.rows('a,b\n1,"x\ny"\n\n2,z\n3,z\n')
        copy = self.path.with_name("copy")
        self.assertEqual(
            list(copied_rows(copy, skip=1)),
            [Row(5, ["2", "z"]), Row(6, ["3", "z"])],
        )
        self.assertEqual(list(copied_rows(copy, skip=len(rows))), [])
        self.assertEqual(list(copied_rows(copy, skip=9)), [])

    def test_line_numbers_hold_over_the_blocks_a_file_is_read_in(self) -> None:
        lines = ["a,b"] + [f"{number}," + "é" * 50 for number in range(2, 20_002)]
        rows = self.rows("\r\n".join(lines))
        self.assertEqual([row.line for row in rows], list(range(2, 20_002)))
        self.assertEqual([row.cells[0] for row in rows], [str(r.line) for r in rows])


class BrokenFileTests(FileCase):
    def test_an_unclosed_quote_is_refused_with_the_line_it_opened_on(self) -> None:
        self.assert_refused('a,b\n1,2\n3,"open\n4,5\n6,7\n', "unclosed_quote", 3)

    def test_an_unclosed_quote_in_the_header_is_refused(self) -> None:
        self.assert_refused('a,"b\n1,2\n', "unclosed_quote", 1)

    def test_an_unclosed_quote_is_found_before_the_end_of_a_big_file(self) -> None:
        self.assert_refused('a,b\n1,"open\n' + "2,3\n" * 100_000, "unclosed_quote", 2)

    def test_an_unclosed_quote_on_one_long_line_is_refused(self) -> None:
        self.assert_refused('a,b\n"x",2\n"ok","' + "x" * 2_000_000, "unclosed_quote", 3)

    def test_text_after_a_closing_quote_is_refused_with_its_line(self) -> None:
        self.assert_refused('a,b\n1,2\n1,"x" y\n', "bad_quoting", 3)
        error = self.assert_refused('a,b\n1,"x\ny" z"\n', "bad_quoting", 3)
        self.assertIn("starts on line 2", error.detail)

    def test_a_header_with_bad_quoting_is_refused(self) -> None:
        self.assert_refused('Email,"Na"me\n1,2\n', "bad_quoting", 1)

    def test_a_cell_may_have_as_many_characters_as_the_limit(self) -> None:
        longest = "x" * MAX_FIELD
        self.assertEqual(
            self.cells(f'a,b\n1,{longest}\n"{longest}",2\n'),
            [["1", longest], [longest, "2"]],
        )

    def test_a_cell_over_the_limit_is_refused_with_the_line(self) -> None:
        too_long = "x" * (MAX_FIELD + 1)
        self.assert_refused(f"a,b\n1,2\n1,{too_long}\n", "field_too_long", 3)
        self.assert_refused(f'a,b\n"q",{too_long}\n', "field_too_long", 2)
        self.assert_refused(f'a,b\n"q\nr",{too_long}\n', "field_too_long", 2)
        self.assert_refused("x" * 5_000_000, "field_too_long", 1)

    def test_a_row_over_the_limit_is_refused_with_the_line_it_starts_on(self) -> None:
        cell = "x" * 100_000
        self.assert_refused(
            "a,b\n1,2\n" + ",".join([cell] * 11) + "\n", "row_too_long", 3
        )
        self.assert_refused("a,b\n1,2\n" + '"\n",' * 300_000, "row_too_long", 3)

    def test_too_many_columns_are_refused_with_the_line(self) -> None:
        most = ",".join(["x"] * MAX_COLUMNS)
        self.assertEqual(len(self.cells(f"{most}\n{most}\n")[0]), MAX_COLUMNS)
        self.assert_refused(f"a,b\n1,2\n{most},x\n", "too_many_columns", 3)
        self.assert_refused(f"{most},x\n", "too_many_columns", 1)

    def test_reading_stops_where_copying_does(self) -> None:
        path = self.write('a,b\n1,2\n3,"x"y\n4,5\n')
        rows = read_rows(path, detect(path))
        self.assertEqual(next(rows), Row(2, ["1", "2"]))
        with self.assertRaises(UnreadableFile) as caught:
            next(rows)
        self.assertEqual(caught.exception.code, "bad_quoting")

    def test_memory_does_not_grow_with_the_file(self) -> None:
        contents = {
            "many rows": "a,b\n" + "1,2\n" * 200_000,
            "one endless line": "a,b\n" + "1,2," * 2_000_000,
            "blank lines": "a,b\n" + "\n" * 500_000,
        }
        for name, content in contents.items():
            with self.subTest(name):
                path = self.write(content)
                tracemalloc.start()
                try:
                    deque(copy_rows(path, detect(path), path.with_name("copy")), 0)
                except UnreadableFile as error:
                    self.assertEqual(error.code, "too_many_columns")
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                self.assertLess(peak, 6_000_000)
