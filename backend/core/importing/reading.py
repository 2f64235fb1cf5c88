"""Reading delimited text files that people export from other programs.

Nothing here knows what the rows mean. A file is first looked at with `detect`, then
passed over as a whole with `count_rows`, and only then read with `read_rows`, so that
a broken file is refused before anything of it is used. Every pass works line by line:
memory use does not depend on the size of the file.
"""

import codecs
import csv
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple, TextIO

DELIMITERS = (",", ";", "\t", "|")
MAX_COLUMNS = 512
MAX_FIELD = 128 * 1024  # characters
MAX_ROW = 1024 * 1024  # characters, over all the lines of one row

_BLOCK = 256 * 1024
_SAMPLE = 64 * 1024
_SAMPLE_LINES = 10

# No strict decoder ever yields a lone surrogate, so one can stand for bytes that could
# not be decoded. The faulty place is then found in the text, where lines are counted.
_UNDECODABLE = "\udcff"
_UNFIT = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\udcff]")
_SEPARATOR_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?\s*', re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*(?:"|\Z)')

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHER_FORMATS = (
    (b"PK\x03\x04", "an Excel workbook (or a zip archive)"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook"),
    (b"%PDF-", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"\x1f\x8b", "a compressed (gzip) file"),
)


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
        encoding: name of a Python codec.
        delimiter: the character between two cells.
        columns: header cells: stripped, none blank, no two alike.
    """

    encoding: str
    delimiter: str
    columns: list[str]


class Row(NamedTuple):
    """One data row; `line` is the physical line, counted from 1, it starts on."""

    line: int
    cells: list[str]


def detect(path: str | os.PathLike[str]) -> Layout:
    """Find out how a file is encoded and delimited, and what its columns are called.

    The whole file is decoded once, because a single byte decides the encoding.

    Raises:
        UnreadableFile: empty_file, binary_file, wrong_encoding, or any fault of the
            header row (see `count_rows`).
    """
    encoding = _encoding(path)
    delimiter = _delimiter(path, encoding)
    header = next(_records(path, encoding, delimiter), None)
    if header is None:
        raise UnreadableFile("empty_file", "The file has no header row.")
    return Layout(encoding, delimiter, _unique_names(header.cells))


def count_rows(path: str | os.PathLike[str], layout: Layout) -> int:
    """Read the whole file strictly and return the number of data rows.

    Rows with fewer or more cells than the header are counted like any other.

    Raises:
        UnreadableFile: binary_file, wrong_encoding, unclosed_quote, bad_quoting,
            field_too_long, row_too_long or too_many_columns, with the line.
    """
    return sum(1 for _ in _data_rows(path, layout))


def read_rows(
    path: str | os.PathLike[str], layout: Layout, skip: int = 0
) -> Iterator[Row]:
    """Yield the data rows, without the first `skip` of them.

    Cells are as written, neither stripped nor padded. Lines that are empty or hold
    nothing but spaces are not rows.

    Raises:
        UnreadableFile: while iterating, exactly where `count_rows` raises it.
    """
    return islice(_data_rows(path, layout), skip, None)


def _data_rows(path: str | os.PathLike[str], layout: Layout) -> Iterator[Row]:
    records = _records(path, layout.encoding, layout.delimiter)
    next(records, None)
    return records


def _records(
    path: str | os.PathLike[str], encoding: str, delimiter: str
) -> Iterator[Row]:
    """Yield every row of the file, the header first."""
    # The limit is global to the process; somebody else may have moved it.
    csv.field_size_limit(MAX_FIELD)
    with _open(path, encoding, newline="") as stream:
        lines = _Lines(stream)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                if len(cells) > MAX_COLUMNS:
                    raise UnreadableFile(
                        "too_many_columns",
                        f"Line {lines.start} has more than {MAX_COLUMNS} columns.",
                        lines.start,
                    )
                lines.check_length()
                if len(cells) > 1 or (cells and cells[0].strip()):
                    yield Row(lines.start, cells)
                lines.start = lines.number + 1
                lines.length = 0
        except csv.Error as error:
            raise _quoting_fault(str(error), lines, delimiter) from error


class _Lines:
    """The physical lines of a text stream, each checked before it is handed out.

    Attributes:
        number: the line handed out last, counted from 1.
        text: what it says, with its line end.
        start: the line on which the current row started; kept by the reader of rows.
        length: characters of the current row so far; set back by the reader of rows.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.number = 0
        self.text = ""
        self.start = 1
        self.length = 0

    def __iter__(self) -> Iterator[str]:
        # A limit on readline keeps a file without any line end out of memory.
        for text in iter(partial(self.stream.readline, MAX_ROW + 1), ""):
            self.check_length()
            self.number += 1
            unfit = _UNFIT.search(text)
            if unfit:
                raise _unfit_fault(unfit[0], self.number)
            if self.number == 1 and _SEPARATOR_LINE.fullmatch(text):
                text = "\n"
            self.text = text
            self.length += len(text)
            yield text

    def check_length(self) -> None:
        if self.length > MAX_ROW:
            raise UnreadableFile(
                "row_too_long",
                f"The row that starts on line {self.start} is longer than "
                f"{MAX_ROW:,} characters.",
                self.start,
            )


def _quoting_fault(message: str, lines: _Lines, delimiter: str) -> UnreadableFile:
    """Say in our own words why Python's csv module gave up."""
    if "field larger" in message:
        # A row goes on over several lines only inside quotes.
        quoted_start = lines.number > lines.start
        outside_quotes = lines.text.split('"')[int(quoted_start) :: 2]
        if any(
            len(cell) > MAX_FIELD
            for text in outside_quotes
            for cell in text.split(delimiter)
        ):
            return UnreadableFile(
                "field_too_long",
                f"Line {lines.start} has a cell of more than {MAX_FIELD:,} characters.",
                lines.start,
            )
        return UnreadableFile(
            "unclosed_quote",
            f'The row that starts on line {lines.start} opens a quote (") that is not '
            f"closed within {MAX_FIELD:,} characters.",
            lines.start,
        )
    if "unexpected end of data" in message:
        return UnreadableFile(
            "unclosed_quote",
            f'The row that starts on line {lines.start} opens a quote (") that is '
            "never closed.",
            lines.start,
        )
    begun = ""
    if lines.start != lines.number:
        begun = f", in the row that starts on line {lines.start}"
    return UnreadableFile(
        "bad_quoting",
        f"Line {lines.number} has text right after a closing quote{begun}. "
        'A quote inside a quoted cell is written twice: "".',
        lines.number,
    )


def _unfit_fault(character: str, line: int) -> UnreadableFile:
    if character == _UNDECODABLE:
        return UnreadableFile(
            "wrong_encoding",
            f"Line {line} holds bytes that are not valid text. Save the file as "
            "“CSV UTF-8” and try again.",
            line,
        )
    return UnreadableFile(
        "binary_file",
        f"This is not a text file: line {line} holds the control character "
        f"{ord(character):#04x}. Save the table as CSV and try again.",
        line,
    )


def _encoding(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as source:
        head = source.read(1024)
    if not head:
        raise UnreadableFile("empty_file", "The file is empty.")
    for magic, name in _OTHER_FORMATS:
        if head.startswith(magic):
            raise UnreadableFile(
                "binary_file",
                f"This is {name}, not a text file: save the table as CSV and try "
                "again.",
            )
    encoding = _encoding_by_head(head)
    fault = _first_fault(path, encoding)
    if fault is None:
        return encoding
    may_be_legacy = encoding == "utf-8" and fault.code == "wrong_encoding"
    if may_be_legacy and not _is_mostly_utf8(path):
        fault = _first_fault(path, "cp1252")
        if fault is None:
            return "cp1252"
        # Arbitrary bytes may break the encoding before they show what they are.
        if _UNFIT.search(head.decode("latin-1")):
            raise UnreadableFile(
                "binary_file",
                "This is not a text file. Save the table as CSV and try again.",
            )
    raise fault


def _encoding_by_head(head: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    # In UTF-16 every Latin letter has one NUL byte, always on the same side.
    pairs = len(head) // 2
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if odd > pairs / 2 and even < pairs / 10:
        return "utf-16-le"
    if even > pairs / 2 and odd < pairs / 10:
        return "utf-16-be"
    return "utf-8"


def _first_fault(path: str | os.PathLike[str], encoding: str) -> UnreadableFile | None:
    """Decode the whole file and return the first thing wrong with its text."""
    line = 1
    with _open(path, encoding) as stream:
        while block := stream.read(_BLOCK):
            unfit = _UNFIT.search(block)
            if unfit:
                line += block.count("\n", 0, unfit.start())
                return _unfit_fault(unfit[0], line)
            line += block.count("\n")
    return None


def _is_mostly_utf8(path: str | os.PathLike[str]) -> bool:
    """Tell a damaged UTF-8 file from one in a legacy encoding.

    Legacy text hardly ever contains valid UTF-8 sequences; a UTF-8 file that was cut or
    pasted together does, and reading it as cp1252 would garble all its good letters.
    """
    good = bad = 0
    with _open(path, "utf-8") as stream:
        while block := stream.read(_BLOCK):
            undecodable = block.count(_UNDECODABLE)
            bad += undecodable
            good += len(block) - len(block.encode("ascii", "ignore")) - undecodable
    return good > 0 and good >= bad


def _delimiter(path: str | os.PathLike[str], encoding: str) -> str:
    """Choose the delimiter the header uses most, if the lines below agree with it."""
    with _open(path, encoding) as stream:
        sample = stream.read(_SAMPLE)
    separator = _SEPARATOR_LINE.fullmatch(sample.partition("\n")[0])
    if separator:
        return separator[1]
    lines = [line for line in _QUOTED.sub("", sample).split("\n") if line.strip(" ")]
    header, *others = lines[: _SAMPLE_LINES + 1] or [""]

    def merit(delimiter: str) -> tuple[bool, int, int]:
        count = header.count(delimiter)
        agreeing = sum(line.count(delimiter) == count for line in others)
        return count > 0 and agreeing * 2 >= len(others), count, agreeing

    return max(DELIMITERS, key=merit)


def _unique_names(cells: list[str]) -> list[str]:
    names: list[str] = []
    for position, cell in enumerate(cells, start=1):
        wanted = name = cell.strip() or f"Column {position}"
        copies = 1
        while name in names:
            copies += 1
            name = f"{wanted} ({copies})"
        names.append(name)
    return names


def _open(
    path: str | os.PathLike[str], encoding: str, newline: str | None = None
) -> TextIO:
    return open(path, encoding=encoding, errors="mark_undecodable", newline=newline)


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _UNDECODABLE, error.end


codecs.register_error("mark_undecodable", _mark_undecodable)
