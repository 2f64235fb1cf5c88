"""Which encoding a text file is in, and its text."""
# ruff: noqa: RUF001

import codecs
import os
import re
from typing import TextIO

from core.importing.table import UnreadableFile

_BLOCK = 256 * 1024
_SAMPLE = 16 * 1024

# No strict decoder ever yields a lone surrogate, so one can stand for bytes that could
# not be decoded. The faulty place is then found in the text, where lines are counted.
_UNDECODABLE = "\udcff"
# A vertical tab is how some databases write a line break within a cell.
_UNFIT = re.compile(r"[\x00-\x08\x0e-\x1f\udcff]")
# Behind the mark of UTF-8 there is text, whatever its characters: so our own exports.
_UNFIT_BEHIND_MARK = re.compile(r"[\x00\udcff]")
_MARKED = "utf-8-sig"

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, _MARKED),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHER_FORMATS = (
    (rb"PK\x03\x04.{26}mimetypeapplication/vnd\.oasis", "an OpenDocument file"),
    (rb"PK\x03\x04", "a zip archive, or a damaged Excel workbook"),
    (
        rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an Excel workbook of the old kind (.xls), or one with a password",
    ),
    (rb"%PDF-", "a PDF document"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", "a picture"),
    (rb"\x1f\x8b", "a compressed (gzip) file"),
    (rb"\s*<(?:\?xml|!doctype|html|head|body|table|meta)\b", "a page of HTML or XML"),
    (rb"\s*(?:\[\s*[\[{\"\]]|\{\s*[\"}])", "a JSON document"),
)
_ANY_CASE = re.IGNORECASE | re.DOTALL
# What a guess may be, the more common first.
_OTHER_ENCODINGS = (
    *("cp1251", "cp1250", "shift_jis", "gb18030", "euc_kr", "big5", "euc_jp"),
    *("cp1253", "cp1254", "cp1255", "koi8_r", "cp850"),
)
# Text codecs of Python that no file is written in.
_NO_CHARSETS = frozenset(
    ("idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "utf_7")
)
_WORD = re.compile(rb"[^\s,;|\"]+")
# What no word of a Western language looks like in Windows-1252: accented letters alone,
# signs amid letters or before small ones, and signs side by side.
_GARBLED = re.compile(
    "[À-ÖØ-öø-ÿ]{3}|[A-Za-z][¡-¿×÷†‡‰‹›ˆ˜•™ƒ„][A-Za-zÀ-ÿ]"
    "|[£¥¦§©¯±³¹¼½¾¿Œ][a-zà-ÿ]|[a-zà-ÿ][ŸŒŠŽ£¥¹³]"
    "|[–—‰ƒŠ][À-ÿ¡-¿‘“Ž]|[A-Za-z][“‘][A-Za-z]"
    "|[¡-¿†‡‰ˆ˜ƒ„Ž‘“][¡-¿†‡‰ˆ˜•ƒ„]"
)

# What Western languages were written in, the more common first, and what their words
# look like: no capitals behind small letters, no signs amid letters but an apostrophe.
_WESTERN = ("cp1252", "mac_roman", "cp850")
_SMALL = "a-zßàáâãäåæçèéêëìíîïñòóôõöøùúûüœ"
_CAPITAL = "A-ZÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜŒ"
_PLAIN_LETTER = re.compile(b"[A-Za-z]")
_ASIDE = r"[^\w\x80-\uffff]|\d"
_AROUND = f"(?:{_ASIDE}|[“”„‘’«»–—•…€])*+"
_LETTERS = f"(?:[{_CAPITAL}]?[{_SMALL}]++|[{_CAPITAL}]*+)"
_WESTERN_WORD = re.compile(
    f"{_AROUND}{_LETTERS}(?:(?:{_ASIDE}|’){_LETTERS})*+{_AROUND}"
)


def unfit_in(encoding: str) -> re.Pattern[str]:
    """What no text of this encoding has in it."""
    return _UNFIT_BEHIND_MARK if encoding == _MARKED else _UNFIT


def unfit_fault(character: str, line: int) -> UnreadableFile:
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


def encoding_of(path: str | os.PathLike[str]) -> tuple[str, bool]:
    """The encoding of a text file, and whether that is sure rather than a guess.

    Raises:
        UnreadableFile: empty_file, binary_file or wrong_encoding.
    """
    with open(path, "rb") as source:
        head = source.read(1024)
    if not head:
        raise UnreadableFile("empty_file", "The file is empty.")
    for beginning, name in _OTHER_FORMATS:
        if re.match(beginning, head.removeprefix(codecs.BOM_UTF8), _ANY_CASE):
            raise UnreadableFile(
                "binary_file",
                f"This is {name}. Save the table as CSV, or as an Excel workbook "
                "(.xlsx), and try again.",
            )
    encoding = _encoding_by_head(head)
    fault = first_fault(path, encoding)
    if fault is None:
        return encoding, True
    may_be_legacy = encoding == "utf-8" and fault.code == "wrong_encoding"
    if may_be_legacy and not _is_mostly_utf8(path):
        if guess := _legacy_encoding(path):
            return guess, False
        fault = first_fault(path, "cp1252")
        # Arbitrary bytes may break the encoding before they show what they are.
        if _UNFIT.search(head.decode("latin-1")):
            raise UnreadableFile(
                "binary_file",
                "This is not a text file. Save the table as CSV and try again.",
            )
    raise fault


def checked_encoding(path: str | os.PathLike[str], name: str) -> str:
    """The codec that somebody says a file is in.

    Raises:
        UnreadableFile: unknown_encoding, or a fault of the text read that way.
    """
    try:
        codec = codecs.lookup(name)
    except (LookupError, ValueError):
        codec = None
    if (
        codec is None
        or not codec._is_text_encoding
        or codec.name.replace("-", "_") in _NO_CHARSETS
    ):
        raise UnreadableFile("unknown_encoding", "There is no such encoding.")
    try:
        fault = first_fault(path, codec.name)
    except UnicodeError as error:  # codecs that have no word for a single byte
        raise UnreadableFile("wrong_encoding", f"{error}."[:300]) from error
    if fault:
        raise fault
    return codec.name


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


def _legacy_encoding(path: str | os.PathLike[str]) -> str | None:
    """The likeliest of the encodings of before Unicode; None if none fits.

    Windows-1252 is by far the most common and fits nearly any bytes, so it is taken
    unless its text looks wrong: words of nothing but accented letters, or signs amid
    letters. Then charset-normalizer chooses. What else Western words were written in,
    by Excel on a Mac and by DOS, their letters tell.
    """
    lines = _lines_that_tell(path)
    words = b" ".join(word for word in _WORD.findall(lines) if not word.isascii())
    western = words.decode("cp1252", "replace")
    garbled = sum(bool(_GARBLED.search(word)) for word in western.split())
    candidates = ["cp1252"]
    # A letter alone, or a sign, tells nothing.
    told = [word for word in words.split(b" ") if _PLAIN_LETTER.search(word)]
    fitting = {name: _western_words(b" ".join(told), name) for name in _WESTERN}
    likely = max(_WESTERN, key=fitting.get)
    if told and 3 * fitting[likely] > 2 * len(told):
        candidates = [likely]
    elif 3 * garbled > len(western.split()):
        from charset_normalizer import from_bytes

        # Words tell more than lines, unless they were cut in the middle of a letter.
        matches = [
            match.encoding
            for sample in (words, lines)
            for match in from_bytes(sample, cp_isolation=list(_OTHER_ENCODINGS))
        ]
        candidates = [*matches, "cp1252"]
    faultless = (name for name in candidates if first_fault(path, name) is None)
    return next(faultless, None)


def _western_words(words: bytes, encoding: str) -> int:
    """How many of the words would be some of a Western language."""
    text = words.decode(encoding, "replace")
    return sum(bool(_WESTERN_WORD.fullmatch(word)) for word in text.split(" "))


def _lines_that_tell(path: str | os.PathLike[str]) -> bytes:
    """The first lines of a file that are not plain ASCII."""
    found: list[bytes] = []
    size = 0
    with open(path, "rb") as source:
        while size < _SAMPLE and (line := source.readline(_SAMPLE)):
            if not line.isascii():
                found.append(line)
                size += len(line)
    return b"".join(found)


def first_fault(path: str | os.PathLike[str], encoding: str) -> UnreadableFile | None:
    """Decode the whole file and return the first thing wrong with its text."""
    line = 1
    pattern = unfit_in(encoding)
    with open_text(path, encoding) as stream:
        while block := stream.read(_BLOCK):
            unfit = pattern.search(block)
            if unfit:
                line += block.count("\n", 0, unfit.start())
                return unfit_fault(unfit[0], line)
            line += block.count("\n")
    return None


def _is_mostly_utf8(path: str | os.PathLike[str]) -> bool:
    """Tell a damaged UTF-8 file from one in a legacy encoding.

    Legacy text hardly ever contains valid UTF-8 sequences; a UTF-8 file that was cut or
    pasted together does, and reading it as cp1252 would garble all its good letters.
    """
    good = bad = 0
    with open_text(path, "utf-8") as stream:
        while block := stream.read(_BLOCK):
            undecodable = block.count(_UNDECODABLE)
            bad += undecodable
            good += len(block) - len(block.encode("ascii", "ignore")) - undecodable
    return good > 0 and good >= bad


def open_text(
    path: str | os.PathLike[str], encoding: str, newline: str | None = None
) -> TextIO:
    return open(path, encoding=encoding, errors="mark_undecodable", newline=newline)


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _UNDECODABLE, error.end


codecs.register_error("mark_undecodable", _mark_undecodable)
