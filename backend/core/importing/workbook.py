"""Reading Excel workbooks (XLSX).

A workbook is a zip archive of XML, and a small one can unpack to gigabytes. So the
archive's own directory is held against limits first, then each part is unpacked in
passing, which shows whether the directory lied. Only then a sheet is read, row by row:
of a workbook nothing is in memory but one row and the texts that cells share.
"""

import datetime
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from xml.etree.ElementTree import ParseError

from core.importing.table import (
    MAX_COLUMNS,
    MAX_FIELD,
    MAX_PREAMBLE,
    MAX_ROW,
    Layout,
    Row,
    UnreadableFile,
    header_position,
    unique_names,
)

MAX_ENTRIES = 2_000
MAX_UNPACKED = 1024 * 1024 * 1024  # bytes, of all parts together
MAX_RATIO = 200  # unpacked to packed, of a part that is not small
SMALL_PART = 1024 * 1024  # bytes
MAX_STRINGS = 24 * 1024 * 1024  # bytes of a part that is read as a whole

_BLOCK = 256 * 1024
_SHEETS = "xl/worksheets/"
# Control characters, and an underscore before what only looks like one. The library
# leaves them as they are written.
_ESCAPED = re.compile(r"_x(005F|00[01][0-9A-Fa-f])_")
_ZEROS = re.compile("0{2,50}")
MAX_DIGITS = 15  # behind them there is nothing but the error of a computation
_WITHOUT_MORE = {"read_only": True, "data_only": True, "keep_links": False}
# What the library raises where XML is broken, or says what no workbook says.
_BROKEN = (
    *(ParseError, zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError),
    *(KeyError, IndexError, ValueError, TypeError, AttributeError, OverflowError),
)


def is_one(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a workbook, or a zip archive that claims to be one."""
    with open(path, "rb") as source:
        if source.read(4) != b"PK\x03\x04":
            return False
    try:
        with zipfile.ZipFile(path) as archive:
            return "[Content_Types].xml" in archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return False


def detect(
    path: str | os.PathLike[str], is_known: Callable[[str], bool], sheet: str = ""
) -> Layout:
    """Choose a sheet and find its header.

    Raises:
        UnreadableFile: bomb, broken_workbook, unknown_sheet, empty_file, or
            too_many_columns.
    """
    _refuse_bombs(path)
    with _opened(path) as book:
        sheets = [table.title for table in book.worksheets]
        if not sheets:
            raise UnreadableFile(
                "broken_workbook",
                "No sheet of the workbook can be read. If it was saved as “Strict Open "
                "XML Spreadsheet”, save it as “Excel Workbook” and try again.",
            )
        if sheet and sheet not in sheets:
            has = ", ".join(sheets[:20])
            raise UnreadableFile("unknown_sheet", f"The workbook has: {has}.")
        # Those that are hidden last.
        tables = sorted(book.worksheets, key=lambda t: t.sheet_state != "visible")
        name, first = next(
            (
                (table.title, rows)
                for table in tables
                if sheet in ("", table.title) and (rows := _first_rows(table))
            ),
            ("", []),
        )
    if not first:
        raise UnreadableFile("empty_file", "The workbook has no header row.")
    position = header_position([row.cells for row in first], is_known)
    header = first[position]
    return Layout(
        "",
        "",
        unique_names(header.cells),
        format="xlsx",
        header=position,
        header_line=header.line,
        sheet=name,
        sheets=sheets,
    )


def data_rows(path: str | os.PathLike[str], layout: Layout) -> Iterator[Row]:
    """Every row below the header; `line` is its number in the sheet.

    Numbers come without ".0" and with the zeros that are shown before them, percents
    with their sign, days and times as ISO writes them, yes and no as "true" and
    "false"; cells that show an error are blank.
    """
    width = len(layout.columns)
    with _opened(path) as book:
        for position, row in enumerate(_rows(book[layout.sheet])):
            if position > layout.header:
                while len(row.cells) > width and not row.cells[-1]:
                    row.cells.pop()
                yield row


@contextmanager
def _opened(path: str | os.PathLike[str]):
    """The workbook; whatever is found wrong while it is read is told of the file."""
    # A web process that never sees a workbook need not load this.
    from openpyxl import load_workbook

    try:
        # By its name it would not be taken for one.
        with (
            open(path, "rb") as file,
            closing(load_workbook(file, **_WITHOUT_MORE)) as book,
        ):
            yield book
    except _BROKEN as error:
        raise UnreadableFile(
            "broken_workbook", f"The workbook cannot be read: {error}."[:300]
        ) from error


def _first_rows(table) -> list[Row]:
    rows = []
    for row in islice(_rows(table), 2 * MAX_PREAMBLE):
        while row.cells and not row.cells[-1].strip():
            row.cells.pop()
        rows.append(row)
    return rows


def _rows(table) -> Iterator[Row]:
    """The rows of a sheet that hold something."""
    table.reset_dimensions()  # what the sheet says of its size may be wrong
    for line, row in enumerate(table.iter_rows(), start=1):
        if any(cell.value is not None for cell in row[MAX_COLUMNS:]):
            raise UnreadableFile(
                "too_many_columns", f"The sheet has more than {MAX_COLUMNS} columns."
            )
        cells = [_text(cell) for cell in row]
        if not any(cells):
            continue
        longest = max(map(len, cells))
        if longest > MAX_FIELD or sum(map(len, cells)) > MAX_ROW:
            raise UnreadableFile(
                "field_too_long", f"Row {line} holds too long a text.", line
            )
        yield Row(line, cells)


def _text(cell) -> str:
    """A cell as a person would type it; one that shows an error is blank."""
    value = cell.value
    if value is None or cell.data_type == "e":
        return ""
    match value:
        case str():
            return _ESCAPED.sub(_character, value)
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _number_text(value, cell.number_format.partition(";")[0])
        case datetime.datetime() if value.time() == datetime.time():
            return value.date().isoformat()
        case datetime.datetime():
            return value.isoformat(" ", "seconds")
        case datetime.date():
            return value.isoformat()
        case datetime.time():
            return value.isoformat("seconds")
    return str(value)


def _number_text(value: float, shown: str) -> str:
    """A number with the digits that a spreadsheet computes with.

    Args:
        shown: its format. Leading zeros, as of a postal code, and percents stand in
            nothing else.
    """
    if shown.endswith("%"):
        return f"{value * 100:.{MAX_DIGITS}g}%"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, int):
        return str(value).zfill(len(shown) if _ZEROS.fullmatch(shown) else 0)
    return f"{value:.{MAX_DIGITS}g}"


def _character(escaped: re.Match) -> str:
    return chr(int(escaped[1], 16))


# Bombs


def _refuse_bombs(path: str | os.PathLike[str]) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_directory(entries)
            left = MAX_UNPACKED
            for entry in entries:
                left -= _unpacked_size(archive, entry, left)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError) as error:
        raise _broken(error) from error
    except (zlib.error, EOFError, OSError) as error:
        raise _broken(error) from error


def _broken(error: Exception) -> UnreadableFile:
    return UnreadableFile(
        "broken_workbook", f"The workbook cannot be unpacked: {error}."[:300]
    )


def _bomb(what: str) -> UnreadableFile:
    return UnreadableFile("bomb", f"This workbook is refused: {what}.")


def _too_large() -> UnreadableFile:
    limit = f"unpacked it has more than {MAX_UNPACKED // 2**20} MiB"
    return _bomb(f"{limit}; a table in CSV may be larger")


def _check_directory(entries: list[zipfile.ZipInfo]) -> None:
    """Refuse by what the archive says of itself, before anything is unpacked."""
    if len(entries) > MAX_ENTRIES:
        raise _bomb(f"it has more than {MAX_ENTRIES:,} parts")
    if sum(entry.file_size for entry in entries) > MAX_UNPACKED:
        raise _too_large()
    for entry in entries:
        _check_sizes(entry, entry.file_size)


def _check_sizes(entry: zipfile.ZipInfo, size: int) -> None:
    if size > SMALL_PART and size > MAX_RATIO * max(1, entry.compress_size):
        raise _bomb(f"a part of it unpacks to more than {MAX_RATIO} times its size")
    name = entry.filename.lower()
    is_read_whole = name.endswith((".xml", ".rels")) and not name.startswith(_SHEETS)
    if is_read_whole and size > MAX_STRINGS:
        limit = f"its texts have more than {MAX_STRINGS // 2**20} MiB"
        raise _bomb(f"{limit}; a table in CSV may be larger")


def _unpacked_size(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, left: int) -> int:
    """Unpack a part in passing, whatever size it claims."""
    entry.file_size = left + 2 * _BLOCK  # or zipfile stops where the directory says
    size = in_tag = 0
    with archive.open(entry) as part:
        for block in iter(partial(part.read, _BLOCK), b""):
            if not size and b"<!DOCTYPE" in block:
                raise ValueError("it declares entities")
            size += len(block)
            if size > left:
                raise _too_large()
            _check_sizes(entry, size)
            in_tag = 0 if b">" in block else in_tag + len(block)
            if in_tag > SMALL_PART:  # all of it would be in memory
                raise ValueError("a tag in it has no end")
    return size
