"""Reading one sheet of a large workbook row by row.

The library that reads workbooks holds all cells of a sheet at once, which takes about
100 bytes for each. Here one block of the sheet's XML is in memory, and the texts that
cells share.
"""

import datetime
import os
import posixpath
import re
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache, partial
from xml.parsers import expat

from core.importing.table import MAX_COLUMNS, MAX_FIELD, MAX_ROW, UnreadableFile

_BLOCK = 128 * 1024
_LETTERS = re.compile(r"[A-Z]{1,3}")
# What Excel shows as a day or a time without saying so.
_DATE_FORMATS = frozenset(
    (*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59))
)
_NO_CODE = re.compile(r'"[^"]*"|\\.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
LAST_DAY = 2_958_466  # the first that is in the year 10000
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_BROKEN = (
    *(expat.ExpatError, zipfile.BadZipFile, zlib.error),
    *(KeyError, IndexError, ValueError, OverflowError, EOFError, NotImplementedError),
)

Cells = list[object]


def rows(path: str | os.PathLike[str], sheet: str) -> Iterator[tuple[int, Cells]]:
    """The number and the cells of each row that the sheet has, blank ones as "".

    Texts, numbers, days and times, and yes and no come as what they are in Python.

    Raises:
        UnreadableFile: broken_workbook, too_many_columns or field_too_long.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            book = _Book(archive)
            reader = _SheetReader(book)
            for _ in _parsed(book.open(book.sheets[sheet]), reader):
                yield from reader.rows
                reader.rows.clear()
            yield from reader.rows
    except _BROKEN as error:
        raise UnreadableFile(
            "broken_workbook", f"The sheet cannot be read: {error}."[:300]
        ) from error


def names(path: str | os.PathLike[str]) -> tuple[list[str], set[str]]:
    """The sheets in their order, and which of them are hidden.

    Raises:
        UnreadableFile: broken_workbook.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            book = _Book(archive)
            return list(book.sheets), book.hidden
    except _BROKEN as error:
        raise UnreadableFile(
            "broken_workbook", f"The workbook cannot be read: {error}."[:300]
        ) from error


def _parsed(part, reader) -> Iterator[None]:
    """Feed a reader from a part of the archive, with a pause after each block."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.StartDoctypeDeclHandler = _refuse_doctype
    with part:
        size = 0
        for block in iter(partial(part.read, _BLOCK), b""):
            parser.Parse(block)
            size += len(block)
            if size - parser.CurrentByteIndex > MAX_ROW:
                raise ValueError("a tag in it has no end")
            yield
        parser.Parse(b"", True)


def _refuse_doctype(*_):
    raise ValueError("it declares entities")


def _local(name: str) -> str:
    return name.rpartition(" ")[2]


class _Book:
    """What the cells of its sheets refer to.

    Attributes:
        sheets: the part of each sheet, by its name.
        hidden: the names of those that nobody sees.
        first_day: the day that is number 0.
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.parts = {name.lower(): name for name in archive.namelist()}
        relations = _Relations()
        self._read("xl/_rels/workbook.xml.rels", relations)
        self.sheets: dict[str, str] = {}
        self.hidden: set[str] = set()
        self.first_day = datetime.datetime(1899, 12, 30)
        self._read("xl/workbook.xml", _Workbook(self, relations.targets))

    @cached_property
    def texts(self) -> "_Texts":
        """Those that cells share."""
        texts = _Texts()
        if "xl/sharedstrings.xml" in self.parts:
            self._read("xl/sharedstrings.xml", _TextReader(texts.add, "si"))
        return texts

    @cached_property
    def dates(self) -> list[str]:
        """Of each style: "date" if it shows a day or time, "elapsed", or ""."""
        styles = _Styles()
        if "xl/styles.xml" in self.parts:
            self._read("xl/styles.xml", styles)
        return [styles.kind(number) for number in styles.formats]

    def open(self, part: str):
        return self.archive.open(self.parts[part.lower()])

    def _read(self, part: str, reader) -> None:
        for _ in _parsed(self.open(part), reader):
            pass


class _Reader:
    def start(self, name: str, attributes: dict[str, str]) -> None:
        pass

    def end(self, name: str) -> None:
        pass

    def data(self, text: str) -> None:
        pass


class _Relations(_Reader):
    def __init__(self) -> None:
        self.targets: dict[str, str] = {}

    def start(self, name, attributes):
        if _local(name) == "Relationship":
            target = attributes["Target"].replace("\\", "/")
            self.targets[attributes["Id"]] = posixpath.join("/xl", target)[1:]


class _Workbook(_Reader):
    def __init__(self, book: _Book, targets: dict[str, str]) -> None:
        self.book, self.targets = book, targets

    def start(self, name, attributes):
        tag = _local(name)
        if tag == "workbookPr" and attributes.get("date1904") in ("1", "true"):
            self.book.first_day = datetime.datetime(1904, 1, 1)
        elif tag == "sheet":
            ids = (value for key, value in attributes.items() if key.endswith(" id"))
            target = self.targets.get(next(ids, ""), "")
            self.book.sheets[attributes["name"]] = posixpath.normpath(target)
            if attributes.get("state", "visible") != "visible":
                self.book.hidden.add(attributes["name"])


class _Styles(_Reader):
    def __init__(self) -> None:
        self.formats: list[int] = []
        self.codes: dict[int, str] = {}
        self.is_in_cells = False

    def start(self, name, attributes):
        tag = _local(name)
        if tag == "numFmt":
            self.codes[int(attributes["numFmtId"])] = attributes["formatCode"]
        elif tag == "cellXfs":
            self.is_in_cells = True
        elif tag == "xf" and self.is_in_cells:
            self.formats.append(int(attributes.get("numFmtId", 0)))

    def end(self, name):
        if _local(name) == "cellXfs":
            self.is_in_cells = False

    def kind(self, number: int) -> str:
        """What a number format makes of a number: "", "date" or "elapsed"."""
        if number not in self.codes:
            return "date" if number in _DATE_FORMATS else ""
        code = _NO_CODE.sub("", self.codes[number]).lower().partition(";")[0]
        if "[" in code:
            return "elapsed"
        is_general = code.strip() == "general"
        return "date" if not is_general and re.search("[ymdhs]", code) else ""


class _Texts:
    """Many texts, at little more than their own size."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.ends = array("Q", [0])

    def add(self, text: str) -> None:
        self.bytes += text.encode()
        self.ends.append(len(self.bytes))

    def __getitem__(self, number: int) -> str:
        return self.bytes[self.ends[number] : self.ends[number + 1]].decode()


class _TextReader(_Reader):
    """Gives on the text of each element of a name, but not how it is pronounced."""

    def __init__(self, take: Callable[[str], None], tag: str) -> None:
        self.take, self.tag = take, tag
        self.parts: list[str] = []
        self.is_text = self.is_pronounced = False

    def start(self, name, attributes):
        tag = _local(name)
        if tag == self.tag:
            self.parts = []
        elif tag == "rPh":
            self.is_pronounced = True
        elif tag == "t":
            self.is_text = not self.is_pronounced

    def data(self, text):
        if self.is_text:
            self.parts.append(text)

    def end(self, name):
        tag = _local(name)
        if tag == self.tag:
            self.take(_unescaped("".join(self.parts)))
        elif tag == "rPh":
            self.is_pronounced = False
        elif tag == "t":
            self.is_text = False


class _SheetReader(_Reader):
    """Collects rows of cells.

    Attributes:
        rows: those that are complete.
    """

    def __init__(self, book: _Book) -> None:
        self.book = book
        self.rows: list[tuple[int, Cells]] = []
        self.number = 0
        self.cells: Cells = []
        self.place = -1
        self.kind = self.style = self.text = ""
        self.is_value = self.is_pronounced = False

    def start(self, name, attributes):
        tag = name.rpartition(" ")[2]
        if tag == "c":
            reference = attributes.get("r")
            self.place = _place(reference) if reference else self.place + 1
            if self.place >= MAX_COLUMNS:
                raise UnreadableFile(
                    "too_many_columns",
                    f"The sheet has more than {MAX_COLUMNS} columns.",
                )
            self.kind = attributes.get("t", "n")
            self.style = attributes.get("s", "0")
            self.text = ""
        elif tag == "v" or tag == "t":
            self.is_value = not self.is_pronounced
        elif tag == "row":
            self.number = int(attributes.get("r", self.number + 1))
            self.cells, self.place = [], -1
        elif tag == "rPh":
            self.is_pronounced = True

    def data(self, text):
        if self.is_value:
            self.text += text
            if len(self.text) > MAX_FIELD:
                raise UnreadableFile(
                    "field_too_long",
                    f"Row {self.number} holds too long a text.",
                    self.number,
                )

    def end(self, name):
        tag = name.rpartition(" ")[2]
        if tag == "v" or tag == "t":
            self.is_value = False
        elif tag == "c":
            if self.text:
                missing = self.place - len(self.cells)
                self.cells.extend([""] * missing)
                self.cells[self.place :] = [self._value()]
        elif tag == "row":
            self.rows.append((self.number, self.cells))
        elif tag == "rPh":
            self.is_pronounced = False

    def _value(self) -> object:
        match self.kind:
            case "s":
                return self.book.texts[int(self.text)]
            case "n":
                return self._number(float(self.text))
            case "b":
                return self.text.strip() in ("1", "true")
            case "e":
                return ""
            case "d":
                return datetime.datetime.fromisoformat(self.text)
        return _unescaped(self.text)

    def _number(self, number: float) -> object:
        style = int(self.style)
        kind = self.book.dates[style] if style < len(self.book.dates) else ""
        if not kind or not 0 <= number < LAST_DAY:
            return number
        length = datetime.timedelta(milliseconds=round(number * 86_400_000))
        if kind == "elapsed":
            return length
        moment = self.book.first_day + length
        if number < 1:
            return moment.time()
        # For Excel 1900 was a leap year: before its 29th of February all is a day off.
        is_early = self.book.first_day.year == 1899 and number < 60
        return moment + datetime.timedelta(days=1) if is_early else moment


@lru_cache(maxsize=1024)
def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1


def _place(reference: str) -> int:
    letters = _LETTERS.match(reference)
    if not letters:
        raise ValueError(f"{reference} is no cell")
    return _column(letters[0])


def _unescaped(text: str) -> str:
    """Control characters are written as `_x000D_`, and `_x` by `_x005F_x`."""
    return _ESCAPED.sub(_character, text) if "_x" in text else text


def _character(found: re.Match) -> str:
    code = int(found[1], 16)
    is_text = code and not 0xD800 <= code < 0xE000
    return chr(code) if is_text else found[0]
