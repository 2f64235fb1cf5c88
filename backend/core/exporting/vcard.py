"""Records as vCards of version 4.0 (RFC 6350) or 3.0 (RFC 2426).

A record type says in its `vcard` which field goes to which property:

    vcard = {
        "N": ("last_name", "first_name", "", "salutation"),  # the parts, in order
        "FN": ("first_name last_name", "company_name"),  # the first that says something
        "EMAIL": ("email", "email_label", "other_emails"),  # value, label, further ones
        "TEL;TYPE=cell": "mobile",
        "KIND": "individual",  # as it is
    }

vobject writes no version 4.0, and takes a millisecond for a card. So the lines are
written here; the tests read them with vobject.
"""

import re
from collections.abc import Iterable, Iterator

from core.models.values import to_json

VERSIONS = ("4.0", "3.0")
LINE_BYTES = 75
STRUCTURED = ("N", "ADR", "ORG")
LABELLED = ("EMAIL", "TEL")
# Labels that both versions know as a type; others follow as Apple's X-ABLabel.
TYPES = {"work": "work", "home": "home", "mobile": "cell", "cell": "cell"}
LITERAL = "KIND"

_SPECIAL = re.compile(r"[\\,;]")


def fields_of(declaration: dict) -> list[str]:
    """The names of the fields that a `vcard` declaration reads."""
    names = []
    for prop, source in declaration.items():
        if prop != LITERAL:
            for words in (source,) if isinstance(source, str) else source:
                names += words.split()
    return list(dict.fromkeys(names))


def card(declaration: dict, version: str, answer: dict) -> str:
    """The card of a record; what the answer does not hold is left out."""
    lines = ["BEGIN:VCARD", f"VERSION:{version}", f"UID:urn:uuid:{answer['id']}"]
    if "N" not in declaration and version == "3.0":
        lines.append("N:;;;;")
    numbers = iter(range(1, 1000))
    for prop, source in declaration.items():
        lines += _lines(prop, source, version, answer, numbers)
    if answer.get("updated_at"):
        moment = re.sub(r"[-:]|\.\d+", "", to_json(answer["updated_at"]))
        lines.append(f"REV:{moment}")
    lines.append("END:VCARD")
    return "".join(fold(line) for line in lines)


def _lines(prop: str, source, version, answer, numbers) -> Iterator[str]:
    name = prop.partition(";")[0]
    if prop == LITERAL:
        if version == "4.0":
            yield f"{prop}:{source}"
    elif name == "FN":
        yield f"FN:{escaped(_first(source, answer) or str(answer['id']))}"
    elif name in STRUCTURED:
        parts = [_text(answer, part) for part in source]
        if any(parts):
            yield f"{prop}:{';'.join(map(escaped, parts))}"
    elif name in LABELLED and not isinstance(source, str):
        yield from _labelled(name, source, version, answer, numbers)
    elif name == "CATEGORIES":
        if answer.get(source):
            yield f"{prop}:{','.join(map(escaped, answer[source]))}"
    elif text := _text(answer, source):
        # An address of the web is no text: nothing in it is escaped.
        yield f"{prop}:{_one_line(text) if name == 'URL' else escaped(text)}"


def _first(alternatives: Iterable[str], answer: dict) -> str:
    """The first of the alternatives, each a field or several, that says something."""
    for words in alternatives:
        text = " ".join(filter(None, (_text(answer, name) for name in words.split())))
        if text:
            return text
    return ""


def _labelled(prop, source, version, answer, numbers) -> Iterator[str]:
    value_name, label_name, further_name = source
    entries = []
    if value := _text(answer, value_name):
        entries.append((value, _text(answer, label_name), True))
    for entry in answer.get(further_name) or ():
        entries.append((entry["value"], entry.get("label", ""), False))
    for value, label, is_first in entries:
        kind = TYPES.get(label.casefold())
        params = f";TYPE={kind}" if kind else ""
        if is_first:
            params += ";PREF=1" if version == "4.0" else ";TYPE=pref"
        if label and not kind:
            group = f"item{next(numbers)}"
            yield f"{group}.{prop}{params}:{escaped(value)}"
            yield f"{group}.X-ABLabel:{escaped(label)}"
        else:
            yield f"{prop}{params}:{escaped(value)}"


def _text(answer: dict, name: str) -> str:
    value = answer.get(name)
    return "" if value is None else str(to_json(value))


def escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text).replace("\r\n", "\n").translate(_PLAIN)


# A card has no control characters but tabs.
_PLAIN = {
    **dict.fromkeys({*range(32), 127} - {ord("\t")}, " "),
    **dict.fromkeys(map(ord, "\r\n"), r"\n"),
}


def _one_line(text: str) -> str:
    return "".join(text.splitlines())


def fold(line: str) -> str:
    """The line, broken so that no part of it is longer than 75 bytes."""
    if len(line) <= LINE_BYTES and line.isascii():
        return f"{line}\r\n"
    parts, part, size = [], [], 0
    for character in line:
        width = len(character.encode())
        if size + width > LINE_BYTES:
            parts.append("".join(part))
            part, size = [], 1  # the space that a part begins with
        part.append(character)
        size += width
    parts.append("".join(part))
    return "\r\n ".join(parts) + "\r\n"
