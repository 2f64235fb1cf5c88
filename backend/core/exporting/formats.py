"""The formats of exported files.

Texts are made chunk by chunk, so that a file can be gone on with where it ended. A
workbook cannot: it is written from its first row to its last by one worker.
"""

import datetime
import decimal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import xlsxwriter
from django.db import models

from core import csvfile
from core.exporting.columns import Column
from core.exporting.vcard import card
from core.models.values import to_json

BOM = "\ufeff"
MAX_SHEET_ROWS = 1_048_576
MAX_CELL = 32_767
# Of numbers a spreadsheet keeps so many digits, and others it would change.
MAX_DIGITS = 15
FIRST_YEAR = 1901


class Format(models.TextChoices):
    CSV = "csv", "CSV"
    XLSX = "xlsx", "Excel workbook"
    VCARD = "vcard", "vCard"


EXTENSIONS = {Format.CSV: "csv", Format.XLSX: "xlsx", Format.VCARD: "vcf"}
CONTENT_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    Format.VCARD: "text/vcard; charset=utf-8",
}


class TextFormat(ABC):
    """A file that grows at its end."""

    def head(self) -> str:
        return ""

    @abstractmethod
    def chunk(self, answers: Sequence[dict]) -> str:
        """What these records add to the file."""


class Csv(TextFormat):
    """With a byte order mark, without which Excel takes UTF-8 for something else."""

    def __init__(self, columns: list[Column]):
        self.columns = columns

    def head(self):
        return BOM + csvfile.text_of([[column.header for column in self.columns]])

    def chunk(self, answers):
        values = [column.value for column in self.columns]
        cell = csvfile.cell
        return csvfile.text_of([cell(v(answer)) for v in values] for answer in answers)


class VCards(TextFormat):
    def __init__(self, declaration: dict, version: str):
        self.declaration = declaration
        self.version = version

    def chunk(self, answers):
        return "".join(card(self.declaration, self.version, a) for a in answers)


class Workbook:
    """A workbook of one sheet: of its rows, one is in memory at a time.

    Texts stay texts, whatever they look like: no formula, no link, no number.

    Attributes:
        rows: how many there are, with the header.
        shortened: how many texts were longer than a cell can be.
    """

    def __init__(self, path: Path, columns: list[Column]):
        self.scraps = TemporaryDirectory(dir=path.parent)
        self.book = xlsxwriter.Workbook(
            path,
            {"constant_memory": True, "tmpdir": self.scraps.name},
        )
        self.book.use_zip64()
        self.columns = columns
        self.rows = self.shortened = 0
        self.sheet = self.book.add_worksheet()
        self.day = self.book.add_format({"num_format": "yyyy-mm-dd"})
        self.moment = self.book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        bold = self.book.add_format({"bold": True})
        self.sheet.freeze_panes(1, 0)
        for place, column in enumerate(columns):
            self.sheet.write_string(0, place, column.header, bold)
        self.rows = 1

    def add(self, answers: Sequence[dict]) -> None:
        values = [column.value for column in self.columns]
        for answer in answers:
            for place, value in enumerate(values):
                self._write(place, value(answer))
            self.rows += 1

    def finish(self) -> None:
        """Write the file."""
        self.book.close()

    def close(self) -> None:
        """Remove what only the writing needed; the file is there if it was finished."""
        self.sheet.row_data_fh.close()
        self.scraps.cleanup()

    def _write(self, place: int, value) -> None:
        if value is None or value == "":
            return
        row, sheet = self.rows, self.sheet
        if isinstance(value, str):
            self._write_text(place, value)
        elif isinstance(value, bool):
            sheet.write_boolean(row, place, value)
        elif is_exact_number(value):
            sheet.write_number(row, place, value)
        elif isinstance(value, datetime.datetime) and value.year >= FIRST_YEAR:
            naive = value.astimezone(datetime.UTC).replace(tzinfo=None)
            sheet.write_datetime(row, place, naive, self.moment)
        elif isinstance(value, datetime.date) and value.year >= FIRST_YEAR:
            sheet.write_datetime(row, place, value, self.day)
        else:
            self._write_text(place, str(to_json(value)))

    def _write_text(self, place: int, text: str) -> None:
        text = sheet_text(text)
        self.shortened += len(text) > MAX_CELL
        self.sheet.write_string(self.rows, place, text[:MAX_CELL])


def is_exact_number(value) -> bool:
    """Whether a spreadsheet would keep all the digits of it."""
    if isinstance(value, decimal.Decimal):
        return value.is_finite() and len(value.as_tuple().digits) <= MAX_DIGITS
    if isinstance(value, float):
        return float(f"{value:.{MAX_DIGITS}g}") == value
    return isinstance(value, int) and abs(value) < 10**MAX_DIGITS


def sheet_text(text: str) -> str:
    """A text is no formula in a workbook, so it needs no guard against being one.

    But what an import would take for a guard gets another one.
    """
    return text if csvfile.without_guard(text) == text else csvfile.guarded(text)
