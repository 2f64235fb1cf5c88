"""Reading Excel workbooks (XLSX).

A workbook is a zip archive of XML, and a small one can unpack to gigabytes. So the
archive's own directory is held against limits first, then each part is unpacked in
passing, which shows whether the directory lied and how far the cells reach. Only then
the workbook is read, one sheet of it as a whole: memory use is bounded by MAX_CELLS.
"""

import datetime
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial

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
MAX_UNPACKED = 256 * 1024 * 1024  # bytes, of all parts together
MAX_RATIO = 200  # unpacked to packed, of a part that is not small
SMALL_PART = 1024 * 1024  # bytes
MAX_STRINGS = 64 * 1024 * 1024  # bytes of the texts that cells share
MAX_CELLS = 2_000_000  # the rectangle that holds all cells of a sheet

_BLOCK = 256 * 1024
_TEXTS = "xl/sharedstrings.xml"
_REFERENCE = re.compile(rb'<(?:\w+:)?(?:c|row)\s[^>]*?\br="([A-Z]{0,3})([0-9]{1,7})"')
_CELL = re.compile(rb"<(?:\w+:)?(?:c|row)[\s/>]")


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
        UnreadableFile: bomb, too_many_cells_in_file, broken_workbook, unknown_sheet,
            empty_file, or too_many_columns.
    """
    _refuse_bombs(path)
    with _opened(path) as book:
        sheets = list(book.sheet_names)
        if sheet and sheet not in sheets:
            names = ", ".join(sheets[:20])
            raise UnreadableFile("unknown_sheet", f"The workbook has: {names}.")
        for name in [sheet] if sheet else _visible_first(book):
            first = _first_rows(book, name)
            if first:
                break
        else:
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

    Numbers come without ".0", days and times as ISO writes them, yes and no as "true"
    and "false"; cells that show an error are blank.
    """
    width = len(layout.columns)
    with _opened(path) as book:
        rows = _rows(book, layout.sheet)
        for position, row in enumerate(rows):
            if position > layout.header:
                while len(row.cells) > width and not row.cells[-1]:
                    row.cells.pop()
                yield row


def _opened(path: str | os.PathLike[str]):
    # A web process that never sees a workbook need not load this.
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        return CalamineWorkbook.from_path(str(path))
    except (CalamineError, OSError) as error:
        raise UnreadableFile(
            "broken_workbook", f"The workbook cannot be read: {error}."[:300]
        ) from error


def _visible_first(book) -> list[str]:
    from python_calamine import SheetVisibleEnum

    seen, hidden = [], []
    for sheet in book.sheets_metadata:
        is_seen = sheet.visible == SheetVisibleEnum.Visible
        (seen if is_seen else hidden).append(sheet.name)
    return [*seen, *hidden]


def _first_rows(book, sheet: str) -> list[Row]:
    rows = []
    for row in _rows(book, sheet):
        cells = row.cells
        while cells and not cells[-1].strip():
            cells.pop()
        rows.append(row)
        if len(rows) == 2 * MAX_PREAMBLE:
            break
    return rows


def _rows(book, sheet: str) -> Iterator[Row]:
    """The rows of a sheet that hold something."""
    from python_calamine import CalamineError

    try:
        table = book.get_sheet_by_name(sheet)
    except (CalamineError, ValueError) as error:
        raise UnreadableFile(
            "broken_workbook", f"The sheet cannot be read: {error}."[:300]
        ) from error
    if table.start is None:
        return
    if table.end[1] >= MAX_COLUMNS:
        raise UnreadableFile(
            "too_many_columns", f"The sheet has more than {MAX_COLUMNS} columns."
        )
    for line, values in enumerate(table.iter_rows(), start=1):
        cells = [v if type(v) is str else _text(v) for v in values]
        if not any(cells):
            continue
        longest = max(map(len, cells))
        if longest > MAX_FIELD or sum(map(len, cells)) > MAX_ROW:
            raise UnreadableFile(
                "field_too_long", f"Row {line} holds too long a text.", line
            )
        yield Row(line, cells)


def _text(value) -> str:
    """A cell as a person would type it."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case datetime.datetime() if value.time() == datetime.time():
            return value.date().isoformat()
        case datetime.datetime():
            return value.isoformat(" ", "seconds")
        case datetime.date():
            return value.isoformat()
        case datetime.time():
            return value.isoformat("seconds")
    return str(value)


# Bombs


def _refuse_bombs(path: str | os.PathLike[str]) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_directory(entries)
            left = MAX_UNPACKED
            for entry in entries:
                left -= _check_part(archive, entry, left)
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


def _check_directory(entries: list[zipfile.ZipInfo]) -> None:
    """Refuse by what the archive says of itself, before anything is unpacked."""
    if len(entries) > MAX_ENTRIES:
        raise _bomb(f"it has more than {MAX_ENTRIES:,} parts")
    if sum(entry.file_size for entry in entries) > MAX_UNPACKED:
        raise _bomb(f"unpacked it has more than {MAX_UNPACKED // 2**20} MiB")
    for entry in entries:
        _check_sizes(entry, entry.file_size)


def _check_sizes(entry: zipfile.ZipInfo, size: int) -> None:
    if size > SMALL_PART and size > MAX_RATIO * max(1, entry.compress_size):
        raise _bomb(f"a part of it unpacks to more than {MAX_RATIO} times its size")
    if entry.filename.lower() == _TEXTS and size > MAX_STRINGS:
        raise _bomb(f"its texts have more than {MAX_STRINGS // 2**20} MiB")


def _check_part(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, left: int) -> int:
    """Unpack a part in passing, whatever size it claims, and return its true size.

    Any part may be a sheet, so cells are looked at everywhere: two of them, far apart,
    would make a rectangle that fills all memory.
    """
    entry.file_size = left + 2 * _BLOCK  # or zipfile stops where the directory says
    size = 0
    extent = _Extent()
    with archive.open(entry) as part:
        for block in iter(partial(part.read, _BLOCK), b""):
            size += len(block)
            if size > left:
                raise _bomb(f"unpacked it has more than {MAX_UNPACKED // 2**20} MiB")
            _check_sizes(entry, size)
            extent.add(block)
    return size


class _Extent:
    """How far the cells of a sheet reach, read from its XML block by block."""

    def __init__(self) -> None:
        self.tail = b""
        self.last_row = self.last_column = 0
        self.cells = 0

    def add(self, block: bytes) -> None:
        text = self.tail + block
        end = text.rfind(b"<")
        self.tail = text[end:][:_BLOCK] if end >= 0 else b""
        text = text[:end] if end >= 0 else text
        # Cells without a reference stand one after the other.
        self.cells += len(_CELL.findall(text))
        for letters, digits in _REFERENCE.findall(text):
            self.last_row = max(self.last_row, int(digits))
            if letters:
                self.last_column = max(self.last_column, _column_number(letters))
        if (
            self.cells > 2 * MAX_CELLS
            or self.last_row * max(1, self.last_column) > MAX_CELLS
        ):
            raise UnreadableFile(
                "too_many_cells_in_file",
                f"A sheet may span at most {MAX_CELLS:,} cells, blank ones among them. "
                "Save the table as CSV: that has no such limit.",
            )


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number
