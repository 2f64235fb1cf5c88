"""Reading delimited text files that people export from other programs.

Every pass works line by line: memory use does not depend on the size of the file.
"""

import csv
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import TextIO

from core.importing.encodings import (
    checked_encoding,
    encoding_of,
    open_text,
    unfit_fault,
    unfit_in,
)
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

DELIMITERS = (",", ";", "\t", "|")

_SAMPLE = 64 * 1024
_SAMPLE_LINES = 10

_SEPARATOR_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?\s*', re.IGNORECASE)
# A formula that only says a text: so that a spreadsheet keeps the zeros before it.
_TEXT_FORMULA = re.compile(r'="((?:[^"]|"")*)"')
_MARK = "\ufeff"
_QUOTED = re.compile(r'"[^"]*(?:"|\Z)')


def detect(
    path: str | os.PathLike[str],
    is_known: Callable[[str], bool],
    encoding: str = "",
) -> Layout:
    """Find out how a file is encoded and delimited, and what its columns are called.

    The whole file is decoded once, because a single byte decides the encoding.

    Raises:
        UnreadableFile: empty_file, binary_file, wrong_encoding, unknown_encoding, or
            any fault of the first rows.
    """
    is_sure = True
    if encoding:
        encoding = checked_encoding(path, encoding)
    else:
        encoding, is_sure = encoding_of(path)
    delimiter = _delimiter(path, encoding, is_known)
    first = _first_rows(path, encoding, delimiter)
    position = header_position([row.cells for row in first], is_known)
    header = first[position]
    return Layout(
        encoding,
        delimiter,
        unique_names(header.cells),
        header=position,
        header_line=header.line,
        encoding_is_sure=is_sure,
    )


def data_rows(path: str | os.PathLike[str], layout: Layout) -> Iterator[Row]:
    """Every row below the header.

    Raises:
        UnreadableFile: while iterating: binary_file, wrong_encoding, unclosed_quote,
            bad_quoting, field_too_long, row_too_long or too_many_columns, with the
            line.
    """
    records = _records(path, layout.encoding, layout.delimiter)
    return islice(records, layout.header + 1, None)


def _first_rows(
    path: str | os.PathLike[str], encoding: str, delimiter: str
) -> list[Row]:
    """The rows among which the header is, and some below; a fault further down waits.

    Raises:
        UnreadableFile: empty_file, or a fault of the very first row.
    """
    rows: list[Row] = []
    try:
        for row in islice(_records(path, encoding, delimiter), 2 * MAX_PREAMBLE):
            rows.append(row)
    except UnreadableFile:
        if not rows:
            raise
    if not rows:
        raise UnreadableFile("empty_file", "The file has no header row.")
    return rows


def _records(
    path: str | os.PathLike[str], encoding: str, delimiter: str
) -> Iterator[Row]:
    """Yield every row of the file, the header first."""
    # The limit is global to the process; somebody else may have moved it.
    csv.field_size_limit(MAX_FIELD)
    with open_text(path, encoding, newline="") as stream:
        lines = _Lines(stream, unfit_in(encoding))
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
                    yield Row(lines.start, [*map(_without_formula, cells)])
                lines.start = lines.number + 1
                lines.length = 0
        except csv.Error as error:
            raise _quoting_fault(str(error), lines, delimiter) from error


def _without_formula(cell: str) -> str:
    found = cell[:2] == '="' and _TEXT_FORMULA.fullmatch(cell)
    return found[1].replace('""', '"') if found else cell


class _Lines:
    """The physical lines of a text stream, each checked before it is handed out.

    Attributes:
        number: the line handed out last, counted from 1.
        text: what it says, with its line end.
        start: the line on which the current row started; kept by the reader of rows.
        length: characters of the current row so far; set back by the reader of rows.
    """

    def __init__(self, stream: TextIO, unfit: re.Pattern[str]) -> None:
        self.stream = stream
        self.unfit = unfit
        self.number = 0
        self.text = ""
        self.start = 1
        self.length = 0

    def __iter__(self) -> Iterator[str]:
        # A limit on readline keeps a file without any line end out of memory.
        for text in iter(partial(self.stream.readline, MAX_ROW + 1), ""):
            self.check_length()
            self.number += 1
            unfit = self.unfit.search(text)
            if unfit:
                raise unfit_fault(unfit[0], self.number)
            if self.number == 1 and _SEPARATOR_LINE.fullmatch(text):
                text = "\n"
            if self.number == self.start:
                # Of files that were put together, each has brought its mark.
                text = text.removeprefix(_MARK)
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


def _delimiter(
    path: str | os.PathLike[str], encoding: str, is_known: Callable[[str], bool]
) -> str:
    """Choose the delimiter the header uses most, if the lines below agree with it."""
    with open_text(path, encoding) as stream:
        sample = stream.read(_SAMPLE)
    separator = _SEPARATOR_LINE.fullmatch(sample.partition("\n")[0])
    if separator:
        return separator[1]
    lines = [line for line in _QUOTED.sub("", sample).split("\n") if line.strip(" ")]
    lines = lines[: MAX_PREAMBLE + _SAMPLE_LINES] or [""]
    if is_known(lines[0].strip().strip('"')):
        lines = lines[: _SAMPLE_LINES + 1]
    choices = []
    # Lines before the header hold no delimiter: it may be any of the first ones.
    for start in range(len(lines[:MAX_PREAMBLE])):
        header, *others = lines[start : start + _SAMPLE_LINES + 1]
        merits = {mark: _merit(mark, header, others) for mark in DELIMITERS}
        best = max(DELIMITERS, key=merits.get)
        agrees, count, _ = merits[best]
        choices.append(best)
        is_header = any(
            is_known(cell.strip().strip('"')) for cell in header.split(best)
        )
        if count and (start == 0 or is_header or (agrees and others)):
            return best
    return choices[0]


def _merit(delimiter: str, header: str, others: list[str]) -> tuple[bool, int, int]:
    """How well a delimiter explains a header: if the lines below agree, by its use."""
    count = header.count(delimiter)
    agreeing = sum(line.count(delimiter) == count for line in others)
    return count > 0 and agreeing * 2 >= len(others), count, agreeing
