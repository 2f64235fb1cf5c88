"""What every format has in common: a table with named columns, and its rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_COLUMNS = 512
MAX_FIELD = 128 * 1024  # characters
MAX_ROW = 1024 * 1024  # characters, over all the lines of one row
# A header line is looked for after at most this many lines before it.
MAX_PREAMBLE = 30


class UnreadableFile(Exception):
    """A file that cannot be read as a table.

    Attributes:
        code: stable name of the fault, for programs.
        detail: one or two sentences for a person.
        line: physical line of the fault, counted from 1, or None when it concerns the
            file as a whole.
    """

    def __init__(self, code: str, detail: str, line: int | None = None) -> None:
        super().__init__(code, detail, line)
        self.code = code
        self.detail = detail
        self.line = line

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True)
class Layout:
    """How a file is written. `asdict` of it survives a trip through JSON.

    Attributes:
        encoding: name of a Python codec; of a workbook, blank.
        delimiter: the character between two cells, where there is one.
        columns: header cells: stripped, none blank, no two alike.
        format: csv, xlsx or vcard.
        header: which of the rows that are not blank is the header, counted from 0.
        header_line: the line it stands on, counted from 1.
        sheet: the sheet of a workbook.
        sheets: all the sheets of a workbook.
        encoding_is_sure: whether the file itself says its encoding.
    """

    encoding: str
    delimiter: str
    columns: list[str]
    format: str = "csv"
    header: int = 0
    header_line: int = 1
    sheet: str = ""
    sheets: list[str] = field(default_factory=list)
    encoding_is_sure: bool = True


class Row(NamedTuple):
    """One data row; `line` is the physical line, counted from 1, it starts on."""

    line: int
    cells: list[str]


def unique_names(cells: Sequence[str]) -> list[str]:
    """The names of columns: blank ones get a number, and so do copies."""
    names: list[str] = []
    for position, cell in enumerate(cells, start=1):
        wanted = name = cell.strip() or f"Column {position}"
        copies = 1
        while name in names:
            copies += 1
            name = f"{wanted} ({copies})"
        names.append(name)
    return names


def header_position(
    rows: Sequence[Sequence[str]], is_known: Callable[[str], bool]
) -> int:
    """Which of the first rows of a file, none of them blank, is the header.

    Exports begin with a title, a date or a filter: lines of one cell or two. The header
    fills more, all with different texts that are neither numbers nor e-mail addresses,
    and most of the rows below it are as wide. Where that is not plain to see, or the
    first row holds a known name of a column, the first row is the header. A row of
    three known names is one in any case, even below a word like "Notes:".
    """
    filled = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    known = [sum(map(is_known, names)) for names in filled[:MAX_PREAMBLE]]
    if known and max(known) >= 3 and known[0] < 2:
        return known.index(max(known))
    widest = 0
    for position, names in enumerate(filled[:MAX_PREAMBLE]):
        if len(names) > 2 or any(is_known(name) for name in names):
            return position if position == 0 or _is_header(names) else 0
        below = filled[position + 1 : position + 11]
        as_wide = sum(len(cells) >= len(names) for cells in below)
        if position and len(names) > widest and _is_header(names) and as_wide:
            return position if 2 * as_wide >= len(below) else 0
        widest = max(widest, len(names))
    return 0


def _is_header(names: Sequence[str]) -> bool:
    return len(set(names)) == len(names) and not any(
        "@" in name or name[:1].isdigit() or name[:1] in "+-(" for name in names
    )
