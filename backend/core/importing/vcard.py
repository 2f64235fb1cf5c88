"""Reading vCards of the versions 2.1, 3.0 and 4.0, any number of them in a file.

A file of cards is a table too: each card is a row, and what cards can say are its
columns. Several e-mail addresses or phones of a card stand in columns of their own, the
preferred one first. Pictures, sounds and keys are passed over line by line, so memory
use depends neither on them nor on the number of cards.
"""

import codecs
import os
import quopri
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial

from core.importing.encodings import checked_encoding, encoding_of, open_text
from core.importing.mapping import split_full_name, tags_text
from core.importing.table import (
    MAX_COLUMNS,
    MAX_FIELD,
    MAX_ROW,
    Layout,
    Row,
    UnreadableFile,
)

MAX_VALUES = 10  # of e-mail addresses, of phones

# In the order of the table; those that no card uses are left out.
COLUMNS = (
    *("Salutation", "First Name", "Middle Name", "Last Name", "Suffix"),
    *(f"Email {n}" for n in range(1, MAX_VALUES + 1)),
    *(f"Phone {n}" for n in range(1, MAX_VALUES + 1)),
    *("Mobile", "Fax", "Company", "Department", "Job Title"),
    *("Address Line 1", "Address Line 2", "City", "State", "Postal Code", "Country"),
    *("Other Addresses", "Website", "LinkedIn", "Other Websites"),
    *("Notes", "Tags", "Birthday", "UID"),
)

_BEGIN = re.compile(rb"\s*BEGIN\s*:\s*VCARD\s*", re.IGNORECASE)
_END = re.compile(rb"\s*END\s*:\s*VCARD\s*", re.IGNORECASE)
_QUOTED_PRINTABLE = re.compile(
    rb"^[^:]*;(?:ENCODING=)?QUOTED-PRINTABLE\b", re.IGNORECASE
)
_BASE64 = re.compile(rb"^[^:]*;(?:ENCODING=)?(?:BASE64|B)(?=[;:])", re.IGNORECASE)
_PASSED_OVER = re.compile(
    rb"^(?:[\w-]+\.)?(?:PHOTO|LOGO|SOUND|KEY|AGENT|LABEL)[;:]", re.IGNORECASE
)
# What Android writes for a label of one's own, which is no parameter of any vCard.
_ANDROID_LABEL = re.compile(rb"(?<=;)X-CUSTOM\([^)]*\)", re.IGNORECASE)
_TOKEN = re.compile(r"\\.|[^\\;,]+|.", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_NOT_REACHED = frozenset(("FAX", "PAGER", "HOMEFAX", "WORKFAX", "MODEM"))
_KINDS = ("KIND", "X-ADDRESSBOOKSERVER-KIND")
_MOBILE = frozenset(("CELL", "MOBILE", "IPHONE"))
_LINKEDIN = re.compile(r"https?://(?:\w+\.)?linkedin\.com/", re.IGNORECASE)
# The properties that have columns above, and those that say nothing of the person.
_READ = frozenset(
    ("N", "FN", "ORG", "TITLE", "ADR", "URL", "NOTE", "CATEGORIES", "BDAY", "UID")
) | {"EMAIL", "TEL", "X-SOCIALPROFILE"}
_TECHNICAL = re.compile(
    "|".join(
        (
            *("VERSION", "PRODID", "REV", "KIND", "SOURCE", "NAME", "PROFILE", "CLASS"),
            *("SORT-STRING", "MAILER", "MEMBER", "XML", "CLIENTPIDMAP", "X-MS-.*"),
            *("X-AB(?:LABEL|ADR|UID|SHOWAS|CROP.*)", "X-ADDRESSBOOKSERVER-.*"),
            *("X-IMAGE.*", "X-SHARED-PHOTO-.*", "X-APPLE-.*"),
        )
    )
)


def is_one(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins with a vCard."""
    with open(path, "rb") as source:
        head = source.read(1024)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        head = head.decode("utf-16", "ignore").encode()
    return _BEGIN.match(head.removeprefix(b"\xef\xbb\xbf")) is not None


def detect(path: str | os.PathLike[str], encoding: str = "") -> Layout:
    """Read all cards once: their columns are those that hold something.

    Raises:
        UnreadableFile: as `data_rows`, and the faults of the text.
    """
    is_sure = True
    if encoding:
        encoding = checked_encoding(path, encoding)
    else:
        encoding, is_sure = _encoding_of(path)
    used: set[str] = set()
    for _, values in _cards(path, encoding):
        used.update(values)
    if not used:
        raise UnreadableFile("empty_file", "The vCards say nothing that is known.")
    columns = [name for name in COLUMNS if name in used]
    # What is known to no column has one too, or nobody would see that it is left out.
    columns += sorted(used.difference(COLUMNS))[: MAX_COLUMNS - len(columns)]
    return Layout(encoding, "", columns, format="vcard", encoding_is_sure=is_sure)


def _encoding_of(path: str | os.PathLike[str]) -> tuple[str, bool]:
    """As of any text; but each line of a card may say a charset of its own."""
    try:
        return encoding_of(path)
    except UnreadableFile as fault:
        if fault.code != "wrong_encoding":
            raise
        return "utf-8", False


def data_rows(path: str | os.PathLike[str], layout: Layout) -> Iterator[Row]:
    """A row for each card; its line is that of BEGIN:VCARD.

    Raises:
        UnreadableFile: while iterating: unclosed_card, field_too_long or row_too_long,
            with the line.
    """
    for line, values in _cards(path, layout.encoding):
        yield Row(line, [values.get(name, "") for name in layout.columns])


def _cards(
    path: str | os.PathLike[str], encoding: str
) -> Iterator[tuple[int, dict[str, str]]]:
    """The line and the values of each card."""
    begun = depth = size = 0
    content: list[bytes] = []
    for line, text in _content_lines(path, encoding):
        if _BEGIN.fullmatch(text):
            depth += 1
            if depth == 1:
                begun, size, content = line, 0, []
        elif _END.fullmatch(text):
            if depth == 1:
                yield begun, _values(content, encoding)
            depth = max(0, depth - 1)
        elif depth == 1:  # deeper is the card of somebody's agent
            size += len(text)
            if size > MAX_ROW:
                raise UnreadableFile(
                    "row_too_long",
                    f"The card that starts on line {begun} is longer than "
                    f"{MAX_ROW:,} bytes.",
                    begun,
                )
            content.append(text)
    if depth:
        raise UnreadableFile(
            "unclosed_card",
            f"The card that starts on line {begun} is never ended.",
            begun,
        )


# From physical lines to the lines that mean something


def _content_lines(
    path: str | os.PathLike[str], encoding: str
) -> Iterator[tuple[int, bytes]]:
    """Unfolded lines, with the number of the physical line that each starts on."""
    start, text = 1, b""
    passing_over = is_base64 = is_broken = False
    for number, line in enumerate(_physical_lines(path, encoding), start=1):
        is_folded = line[:1] in (b" ", b"\t")
        if is_base64 and not line:
            is_base64 = passing_over = False  # version 2.1 ends base64 by a blank line
        elif passing_over and (
            is_folded or is_broken or (is_base64 and b":" not in line)
        ):
            is_broken = is_broken and line.endswith(b"=")
            continue
        elif text.endswith(b"=") and _QUOTED_PRINTABLE.match(text):
            text = text[:-1] + line
        elif is_folded and text:
            text += line[1:]
        else:
            if text:
                yield start, text
            start, text = number, line
            is_base64 = _BASE64.match(line) is not None
            passing_over = is_base64 or _PASSED_OVER.match(line) is not None
            if passing_over:
                text = b""
                is_broken = line.endswith(b"=") and bool(_QUOTED_PRINTABLE.match(line))
        if len(text) > MAX_FIELD:
            raise UnreadableFile(
                "field_too_long",
                f"Line {start} is longer than {MAX_FIELD:,} bytes.",
                start,
            )
    if text:
        yield start, text


def _physical_lines(path: str | os.PathLike[str], encoding: str) -> Iterable[bytes]:
    """Lines without their ends; of UTF-16 as UTF-8. A picture in one line is cut."""
    is_utf16 = encoding.startswith("utf-16")
    # Latin-1 stands for the bytes themselves.
    read, written = (encoding, "utf-8") if is_utf16 else ("latin-1", "latin-1")
    with open_text(path, read) as stream:
        cut = False
        for text in iter(partial(stream.readline, MAX_FIELD), ""):
            goes_on = cut
            cut = not text.endswith("\n")
            line = text.rstrip("\n").encode(written).removeprefix(codecs.BOM_UTF8)
            # What goes on is folded, as if the program that wrote it had done so.
            yield (b" " if goes_on else b"") + line


# From lines to values


class _Property:
    """A line of a card: its name, the types that it has, and its text."""

    def __init__(self, line: bytes, encoding: str) -> None:
        from vobject.base import parseLine

        line = _ANDROID_LABEL.sub(b"X-CUSTOM", line)
        name, params, value, _ = parseLine(line.decode("latin-1"))
        self.name = name.upper()
        named: dict[str, list[str]] = defaultdict(list)
        for key, *values in params:
            # In version 2.1 a type stands without "TYPE=" before it.
            named[key.upper() if values else "TYPE"] += values or [key]
        self.types = {
            one.strip().upper() for text in named["TYPE"] for one in text.split(",")
        }
        self.preference = 101
        if "PREF" in self.types:
            self.preference = 1
        if named["PREF"] and named["PREF"][0].isdigit():
            self.preference = int(named["PREF"][0])
        data = value.encode("latin-1")
        codings = {text.upper() for text in named["ENCODING"]} | self.types
        if "QUOTED-PRINTABLE" in codings:
            data = quopri.decodestring(data)
        charsets = [*named["CHARSET"], encoding, "utf-8", "cp1252"]
        if encoding.startswith("utf-16"):
            charsets = ["utf-8"]
        self.text = _decoded(data, charsets)
        self.text = self.text.replace("\0", "").replace("\r\n", "\n")

    def one(self) -> str:
        return _unescape(self.text).strip()

    def parts(self, separator: str = ";") -> list[str]:
        """The parts of a value, at separators that are not escaped."""
        parts = [""]
        for token in _TOKEN.findall(self.text):
            if token == separator:
                parts.append("")
            else:
                parts[-1] += token
        return [_unescape(part).strip() for part in parts]


def _decoded(data: bytes, charsets: Iterable[str]) -> str:
    """The text by the first of the charsets that fits."""
    for charset in charsets:
        try:
            return data.decode(charset)
        except (LookupError, ValueError):
            continue
    return data.decode("utf-8", "replace")


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] in "nN" else found[1], text)


def _values(content: list[bytes], encoding: str) -> dict[str, str]:
    """What a card says, by column. Lines that are none of a card are passed over."""
    from vobject.base import ParseError

    found: dict[str, list[_Property]] = defaultdict(list)
    for line in content:
        try:
            prop = _Property(line, encoding)
        except (ParseError, UnicodeError):
            continue
        found[prop.name].append(prop)
    for properties in found.values():
        properties.sort(key=lambda prop: prop.preference)

    def first(name: str) -> str:
        return next((text for prop in found[name] if (text := prop.one())), "")

    if "GROUP" in (first(name).upper() for name in _KINDS):
        return {}  # a list of other cards, and nobody itself
    organization, department = ("", "")
    if found["ORG"]:
        organization, department, *_ = [*found["ORG"][0].parts(), "", ""]
    website, linkedin, *other_sites = _websites(found["URL"], found["X-SOCIALPROFILE"])
    values = {
        **_name(found, first("FN"), organization),
        **_address(found["ADR"]),
        "Company": organization,
        "Department": department,
        "Job Title": first("TITLE") or first("ROLE"),
        "Website": website,
        "LinkedIn": linkedin,
        "Other Websites": "\n".join(other_sites),
        "Notes": "\n".join(text for prop in found["NOTE"] if (text := prop.one())),
        "Tags": tags_text(
            [tag for prop in found["CATEGORIES"] for tag in prop.parts(",") if tag]
        ),
        "Birthday": first("BDAY"),
        "UID": first("UID"),
    }
    emails = [prop.one().removeprefix("mailto:") for prop in found["EMAIL"]]
    _number(values, "Email", emails)
    phones, faxes = [], []
    for prop in found["TEL"]:
        number = prop.one().removeprefix("tel:").replace(";ext=", " ext. ")
        if prop.types & _MOBILE and "Mobile" not in values:
            values["Mobile"] = number
        else:
            (faxes if prop.types & _NOT_REACHED else phones).append(number)
    _number(values, "Phone", phones)
    values["Fax"] = "; ".join(faxes)
    for name, properties in found.items():
        if name not in _READ and not _TECHNICAL.fullmatch(name):
            column = name.removeprefix("X-").replace("-", " ").title()
            values.setdefault(column, "; ".join(prop.one() for prop in properties))
    return {name: text for name, text in values.items() if text}


def _number(values: dict[str, str], column: str, texts: list[str]) -> None:
    different = dict.fromkeys(text for text in texts if text)
    for number, text in enumerate(list(different)[:MAX_VALUES], start=1):
        values[f"{column} {number}"] = text


def _name(found: dict, full_name: str, organization: str) -> dict[str, str]:
    """The parts of the name; of FN where N says nothing, if that is a person's."""
    for prop in found["N"]:
        last, first, middle, prefix, suffix, *_ = [*prop.parts(), *[""] * 5]
        if last or first:
            return {
                **{"Last Name": last, "First Name": first, "Middle Name": middle},
                **{"Salutation": prefix, "Suffix": suffix},
            }
    if not full_name or full_name == organization or "@" in full_name:
        return {}
    parts = split_full_name(full_name)
    return {
        "Last Name": parts.get("last_name", ""),
        "First Name": parts.get("first_name", ""),
    }


def _address(addresses: list[_Property]) -> dict[str, str]:
    """The preferred address that says something, one at work before others.

    Those others are a text.
    """
    wanted = sorted(
        addresses, key=lambda prop: (prop.preference, "WORK" not in prop.types)
    )
    told = [[", ".join(p.split("\n")) for p in prop.parts()] for prop in wanted]
    told = [parts for parts in told if any(parts)]
    if not told:
        return {}
    box, extended, street, city, state, code, country, *_ = [*told[0], *[""] * 7]
    lines = [text for text in (street, extended, box) if text]
    return {
        "Address Line 1": lines[0] if lines else "",
        "Address Line 2": ", ".join(lines[1:]),
        "City": city,
        "State": state,
        "Postal Code": code,
        "Country": country,
        "Other Addresses": "\n".join(", ".join(filter(None, o)) for o in told[1:]),
    }


def _websites(urls: list[_Property], profiles: list[_Property]) -> list[str]:
    """The first address of the web, of all others a LinkedIn profile, and the rest."""
    sites = [text for prop in urls if (text := prop.one())]
    others = [*sites[1:], *(text for prop in profiles if (text := prop.one()))]
    linkedin = next((text for text in others if _LINKEDIN.match(text)), "")
    rest = [
        text for text in dict.fromkeys(others) if text not in (*sites[:1], linkedin)
    ]
    return [*(sites[:1] or [""]), linkedin, *rest]
