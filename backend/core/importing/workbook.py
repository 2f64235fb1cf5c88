"""Reading Excel workbooks (XLSX).

A workbook is a zip archive of XML, and a small one can unpack to gigabytes. So the
archive's own directory is held against limits first, then each part is unpacked in
passing, which shows whether the directory lied and how far the cells reach. Only then
the workbook is read: one sheet of it as a whole if no sheet has more than MAX_CELLS,
and else row by row (core.importing.sheet), so that memory is bounded in either case.
"""

import datetime
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial

from core.importing import sheet as large_sheet
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
MAX_STRINGS = 128 * 1024 * 1024  # bytes of a part that is read as a whole
# The rectangle that holds all cells of a sheet which is read as a whole.
MAX_CELLS = 1_000_000
MAX_SMALL = 64 * 1024 * 1024  # bytes of a part; of a larger one nobody counts the cells

_BLOCK = 256 * 1024
_SHEETS = "xl/worksheets/"
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
        UnreadableFile: bomb, broken_workbook, unknown_sheet, empty_file, or
            too_many_columns.
    """
    is_large = _refuse_bombs(path)
    sheets, hidden = large_sheet.names(path) if is_large else _names(path)
    names = [sheet] if sheet else sorted(sheets, key=hidden.__contains__)
    if sheet and sheet not in sheets:
        has = ", ".join(sheets[:20])
        raise UnreadableFile("unknown_sheet", f"The workbook has: {has}.")
    for name in names:
        first = _first_rows(path, name, is_large)
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
        is_large=is_large,
    )


def data_rows(path: str | os.PathLike[str], layout: Layout) -> Iterator[Row]:
    """Every row below the header; `line` is its number in the sheet.

    Numbers come without ".0", days and times as ISO writes them, yes and no as "true"
    and "false"; cells that show an error are blank.
    """
    width = len(layout.columns)
    for position, row in enumerate(_rows(path, layout.sheet, layout.is_large)):
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


def _names(path: str | os.PathLike[str]) -> tuple[list[str], set[str]]:
    """The sheets in their order, and which of them are hidden."""
    from python_calamine import SheetVisibleEnum

    with _opened(path) as book:
        sheets = book.sheets_metadata
        hidden = {s.name for s in sheets if s.visible != SheetVisibleEnum.Visible}
        return [sheet.name for sheet in sheets], hidden


def _first_rows(path, sheet: str, is_large: bool) -> list[Row]:
    rows = []
    for row in _rows(path, sheet, is_large):
        cells = row.cells
        while cells and not cells[-1].strip():
            cells.pop()
        rows.append(row)
        if len(rows) == 2 * MAX_PREAMBLE:
            break
    return rows


def _whole(path, sheet: str) -> Iterator[tuple[int, list]]:
    """The rows of a sheet that is read as a whole."""
    from python_calamine import CalamineError

    with _opened(path) as book:
        try:
            table = book.get_sheet_by_name(sheet)
            if table.start is None:
                return
            if table.end[1] >= MAX_COLUMNS:
                raise UnreadableFile(
                    "too_many_columns",
                    f"The sheet has more than {MAX_COLUMNS} columns.",
                )
            yield from enumerate(table.iter_rows(), start=1)
        except (CalamineError, ValueError, OverflowError) as error:
            raise UnreadableFile(
                "broken_workbook", f"The sheet cannot be read: {error}."[:300]
            ) from error


def _rows(path, sheet: str, is_large: bool) -> Iterator[Row]:
    """The rows of a sheet that hold something."""
    read = large_sheet.rows if is_large else _whole
    for line, values in read(path, sheet):
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


def _refuse_bombs(path: str | os.PathLike[str]) -> bool:
    """Look at all parts; returns whether one is too large to be read as a whole."""
    is_large = False
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_directory(entries)
            left = MAX_UNPACKED
            for entry in entries:
                size, has_many_cells = _check_part(archive, entry, left)
                left -= size
                is_large = is_large or has_many_cells
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError) as error:
        raise _broken(error) from error
    except (zlib.error, EOFError, OSError) as error:
        raise _broken(error) from error
    return is_large


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
    name = entry.filename.lower()
    is_read_whole = name.endswith((".xml", ".rels")) and not name.startswith(_SHEETS)
    if is_read_whole and size > MAX_STRINGS:
        raise _bomb(f"its texts have more than {MAX_STRINGS // 2**20} MiB")


def _check_part(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, left: int
) -> tuple[int, bool]:
    """Unpack a part in passing, whatever size it claims.

    Any part may be a sheet, so cells are looked at everywhere: two of them, far apart,
    would make a rectangle that fills all memory.

    Returns:
        Its true size, and whether its cells are too many to be read as a whole.
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
            if size <= MAX_SMALL and not extent.is_large:
                extent.add(block)
    return size, extent.is_large or size > MAX_SMALL


class _Extent:
    """How far the cells of a sheet reach, read from its XML block by block."""

    def __init__(self) -> None:
        self.tail = b""
        self.last_row = self.last_column = 0
        self.cells = 0
        self.is_large = False

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
        rectangle = self.last_row * max(1, self.last_column)
        self.is_large = max(self.cells, rectangle) > MAX_CELLS


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number
