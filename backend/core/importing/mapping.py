"""Which column of an imported file goes to which field."""

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import orjson

from core.csvfile import without_guard
from core.field_rights import PREFIX as CUSTOM_PREFIX

# Headers that mean a whole name, for records that have a first and a last name.
FULL_NAME_HEADERS = frozenset(
    ("name", "full name", "display name", "contact name", "person name")
)
NAME_FIELDS = frozenset(("first_name", "last_name"))
ADDRESS_FIELDS = frozenset(
    ("address_line_1", "address_line_2", "city", "state", "postal_code", "country")
)

# What an error file adds to the columns of the file that it comes from.
ERROR_COLUMNS = ("Error line", "Error code", "Error message")
_ERROR_KEYS = frozenset(name.casefold() for name in ERROR_COLUMNS)

# How alike, of 100, a header must be to a known one to be taken for it.
ALIKE = 88
SHORTEST_ALIKE = 5  # characters

# Google puts several values of the same kind into one cell this way.
_VALUE_SEPARATOR = ":::"
_TAG_SEPARATORS = re.compile(r":::|[;,]")
_QUOTED_TAGS = re.compile(r'\s*"[^"]*"\s*(?:[;,]\s*"[^"]*"\s*)*')
_SYSTEM_LABELS = frozenset(("* mycontacts", "* my contacts", "* starred"))

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")
_COPY_NUMBER = re.compile(r" \(\d+\)$")
_INNER_NUMBER = re.compile(r"(.+) \d+ (.+)")
_LAST_NUMBER = re.compile(r"(.+) \d+")
_PAIR_VALUE = re.compile(r"(.+ \d+) value")
_PAIR_LABEL = re.compile(r"(.+ \d+) (?:label|type)")
_EMAIL_SEPARATORS = re.compile(r"\s*:::\s*|\s*[;,]\s*|\s+(?=[^\s<]+@)")
# What text copied from web pages and telephones has around it, and nobody sees.
_INVISIBLE = dict.fromkeys(
    [0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), 0x2060, 0xFEFF]
)
_SEVERAL = re.compile(r"@.*[\s;,].*@", re.DOTALL)
_NAMED_EMAIL = re.compile(
    r"(?:[^<>]*<)?(?:mailto:)?([^<>\s]+@[^<>\s]+?)>?", re.IGNORECASE
)
_WITH_SYSTEM = re.compile(r"(\w+\.)[a-z0-9_]{1,50}")
_ADDRESS_KIND = re.compile(
    r"^(?:address \d+|business|work|mailing|billing|primary|home|other|alternate|alt)"
    r"|^(?:werkadres|huisadres)|\b(?:geschäftlich|privat|bureau|domicile|trabajo"
    r"|particular|residencia|uff|ab|comercial|residencial)\b"
)


class BadMapping(Exception):
    """A mapping sent by a client that does not fit the file or the fields.

    Attributes:
        code: unknown_column or unknown_target.
        detail: a sentence for a person.
        column: the column at fault.
    """

    def __init__(self, code: str, detail: str, column: str) -> None:
        super().__init__(code, detail, column)
        self.code = code
        self.detail = detail
        self.column = column

    def __str__(self) -> str:
        return self.detail


def unknown_target(column: str, target: str) -> BadMapping:
    detail = f"Column “{column}” cannot go to “{target}”: there is no such field."
    return BadMapping("unknown_target", detail, column)


class _Source(NamedTuple):
    """Where `values` finds a value: the cell, and for Google's pairs its label cell."""

    index: int
    target: str
    column: str
    is_pair: bool
    label_index: int | None


def normalise(header: str) -> str:
    """Return a header without the differences of case, spacing and punctuation."""
    text = unicodedata.normalize("NFC", header).casefold()
    return _NOT_ALPHANUMERIC.sub(" ", text).strip()


def split_tags(text: str) -> list[str]:
    """Split a cell of tags at " ::: ", ";" and ",".

    Google's own labels are left out, and so is the "* " it puts before others. Of tags
    that differ only in case the first is kept. A JSON list of texts is taken as it is.
    """
    tags: dict[str, str] = {}
    if (listed := _json_texts(text)) is not None:
        return listed
    if _QUOTED_TAGS.fullmatch(text):  # as Mailchimp writes them
        parts = text.split('"')[1::2]
    else:
        parts = _TAG_SEPARATORS.split(text)
    for part in parts:
        tag = part.strip()
        if len(tag) > 2 and tag[0] == tag[-1] == '"':
            tag = tag[1:-1].strip()
        if tag.casefold() in _SYSTEM_LABELS:
            continue
        tag = tag.removeprefix("* ").lstrip()
        if tag:
            tags.setdefault(tag.casefold(), tag)
    return list(tags.values())


def tags_text(tags: Sequence[str]) -> str:
    """What `split_tags` makes these tags of: a JSON list only where nothing else is."""
    text = "; ".join(tags)
    return text if split_tags(text) == list(tags) else orjson.dumps(tags).decode()


def _json_texts(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        texts = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    is_list = isinstance(texts, list) and all(isinstance(one, str) for one in texts)
    return texts if is_list else None


def split_emails(text: str) -> list[str]:
    """The e-mail addresses in a cell, without names and "mailto:".

    A text that is not all addresses comes back as it is, to be refused for what it is.
    """
    if not text.isascii():
        text = text.translate(_INVISIBLE).strip()
    parts = [_NAMED_EMAIL.fullmatch(p) for p in _EMAIL_SEPARATORS.split(text) if p]
    if not all(parts) and (whole := _NAMED_EMAIL.fullmatch(text)):
        parts = [whole]
    return [part[1] for part in parts] if parts and all(parts) else [text]


def split_full_name(name: str) -> dict[str, str]:
    """Split a whole name into first_name and last_name; blank parts are left out.

    "Lovelace, Ada" is last name first. Otherwise the last word is the last name, so a
    single word is one.
    """
    last, comma, first = name.partition(",")
    if not comma:
        first, _, last = " ".join(name.split()).rpartition(" ")
    parts = {"first_name": first.strip(), "last_name": last.strip()}
    return {field: part for field, part in parts.items() if part}


def other_part(name: str, given: str, missing: str) -> str:
    """What a whole name says beside one part of it, which is given.

    In "Name, First name" the name is the last one: a name without the part that is
    given is the other part itself.
    """
    words = re.findall(r"[^\s,]+", name.casefold())
    known = given.casefold().split()
    if set(words) <= set(known):
        return ""
    return split_full_name(name).get(missing, "") if set(known) <= set(words) else name


def header_key(columns: Sequence[str]) -> str:
    """A short text that is the same for the same header line.

    Case, spacing and punctuation do not matter, nor what an error file adds.
    """
    names = [name for name in map(normalise, columns) if name not in _ERROR_KEYS]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


@dataclass(frozen=True)
class ColumnMap:
    """The target of every column of a file.

    Several columns may have the same target; the first of them that is not blank in a
    row gives the value, and what others say is for the record to take
    (`Record.import_further`). Two things are decided row by row:

    - A phone in one of Google's numbered pairs ("Phone 1 - Label", "Phone 1 - Value")
      whose target is `phone` goes by its label: mobile phones to `mobile`, fax and
      pager numbers nowhere.
    - Where columns hold several addresses (business, home), the first one that is not
      blank is taken whole: another one only adds parts the first has no column for.

    Attributes:
        columns: the names of the columns, no two alike.
        targets: one per column; None where the column is ignored.
        order: column indexes, preferred ones first; empty for the order of the file.
        has_mobile: whether `mobile` is a field; without it mobile phones are phones.
        guesses: the columns whose target was guessed from a name that is only alike.
    """

    columns: tuple[str, ...]
    targets: tuple[str | None, ...]
    order: tuple[int, ...] = ()
    has_mobile: bool = True
    guesses: tuple[str, ...] = ()

    @classmethod
    def suggest(cls, columns: Sequence[str], headers: Mapping[str, str]) -> "ColumnMap":
        """Guess the mapping from the names of the columns.

        `headers` gives the target of each known normalised header; where several
        columns lead to one target, the header named earlier in it is preferred, then
        the earlier column. Numbers inside a header count repetitions and do not
        matter: "Phone 2 - Value" is as good as "Phone", "E-mail 2 Address" as "E-mail
        Address". Two headers depend on the rest of the file, or of the row:

        - "Title" is the job title, unless another column is; then it is the salutation
          (Outlook has both, the CRM programs use "Title" for the job).
        - A whole name is used, by `values`, where a row leaves out a part of it.

        A header that is unknown, but spelt nearly like a known one, is guessed to mean
        it, unless another column leads there.
        """
        keys = [_known_header(column, headers) for column in columns]
        targets = [None if key is None else headers[key] for key in keys]
        fields = set(headers.values())

        has_other_job_title = any(
            target == "job_title" and key != "title"
            for key, target in zip(keys, targets, strict=True)
        )
        if has_other_job_title and "salutation" in fields:
            targets = [
                "salutation" if key == "title" and target == "job_title" else target
                for key, target in zip(keys, targets, strict=True)
            ]
        if fields >= NAME_FIELDS:
            targets = [
                "full_name"
                if target is None and normalise(column) in FULL_NAME_HEADERS
                else target
                for column, target in zip(columns, targets, strict=True)
            ]
        guessed = _alike(columns, targets, headers)
        targets = [guessed.get(c, t) for c, t in zip(columns, targets, strict=True)]
        order = _preferred_order(columns, headers)
        return cls(
            tuple(columns), tuple(targets), order, "mobile" in fields, tuple(guessed)
        )

    @classmethod
    def given(
        cls,
        columns: Sequence[str],
        mapping: Mapping[str, str | None],
        allowed: Collection[str],
        headers: Mapping[str, str] | None = None,
    ) -> "ColumnMap":
        """Take the mapping a client chose.

        Args:
            columns: the names of the columns of the file.
            mapping: column name to target; None or "" ignores the column, and so does
                leaving it out.
            allowed: the fields that may be targets. `full_name` may be one too if both
                parts of the name are, and "external_ids.<source>" always. What ends in
                a dot allows targets that go on with a source.
            headers: as for `suggest`, to prefer columns in the same order; without it
                earlier columns are preferred.

        Raises:
            BadMapping: unknown_column or unknown_target.
        """
        for column, target in mapping.items():
            if column not in columns:
                raise BadMapping(
                    "unknown_column", f"The file has no column “{column}”.", column
                )
            if target and not _is_allowed(target, allowed):
                raise unknown_target(column, target)
        targets = tuple(mapping.get(column) or None for column in columns)
        order = _preferred_order(columns, headers) if headers else ()
        return cls(tuple(columns), targets, order, "mobile" in allowed)

    @classmethod
    def from_json(cls, kept: Mapping) -> "ColumnMap":
        """The map that `asdict` wrote down."""
        return cls(
            **{n: tuple(v) if isinstance(v, list) else v for n, v in kept.items()}
        )

    def as_dict(self) -> dict[str, str | None]:
        """Return column name to target, in the order of the file."""
        return dict(zip(self.columns, self.targets, strict=True))

    def values(self, cells: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return what a row says: target to (stripped value, column it came from).

        Blank cells are left out, missing ones count as blank. `full_name` comes out as
        first_name and last_name, or as the one of them that the row does not give.
        """
        found: dict[str, tuple[str, str]] = {}
        width = len(cells)
        plain_sources, addresses = self._sources
        for index, target, column, is_pair, label_index in plain_sources:
            if target in found and not is_pair:
                continue
            value = cells[index].strip() if index < width else ""
            if not value:
                continue
            if value[0] == "'":
                value = without_guard(value)
            if is_pair:
                value = value.partition(_VALUE_SEPARATOR)[0].rstrip()
            if target == "email":
                value = split_emails(value)[0]
            elif is_pair and label_index is not None and label_index < width:
                target = self._target_of_phone(cells[label_index])
            if target and target not in found:
                found[target] = (value, column)
        decided: set[str] = set()
        for address in addresses:
            parts: dict[str, tuple[str, str]] = {}
            for index, target, column, _, _ in address:
                value = cells[index].strip() if index < width else ""
                if value and target not in decided and target not in parts:
                    parts[target] = (without_guard(value), column)
            if parts:
                found.update(parts)
                decided.update(source.target for source in address)
        if "full_name" in found:
            name, column = found.pop("full_name")
            given = [field for field in NAME_FIELDS if field in found]
            parts = {} if given else split_full_name(name)
            if len(given) == 1:
                (missing,) = NAME_FIELDS.difference(given)
                parts = {missing: other_part(name, found[given[0]][0], missing)}
            found.update((n, (part, column)) for n, part in parts.items() if part)
        return found

    def further(self, cells: Sequence[str]) -> list[tuple[str, str, str]]:
        """What a row says beyond `values`: (target, value, column) of repetitions.

        Those are other e-mail addresses, other phones. Fax numbers and other addresses
        are none.
        """
        repeated = self._repeated
        if any(n < len(cells) and _SEVERAL.search(cells[n]) for n in self._emails):
            repeated |= {"email"}
        if not repeated:
            return []
        taken = {value for value, _ in self.values(cells).values()}
        found: list[tuple[str, str, str]] = []
        width = len(cells)
        for index, target, column, is_pair, label_index in self._sources[0]:
            value = cells[index].strip() if index < width else ""
            if not value or target not in repeated:
                continue
            target_of_cell: str | None = target
            if is_pair and label_index is not None and label_index < width:
                target_of_cell = self._target_of_phone(cells[label_index])
            parts = value.split(_VALUE_SEPARATOR) if is_pair else [value]
            if target == "email":
                parts = split_emails(value)
            for part in map(str.strip, parts):
                part = without_guard(part)
                if part and target_of_cell and part not in taken:
                    taken.add(part)
                    found.append((target_of_cell, part, column))
        return found

    @cached_property
    def _repeated(self) -> frozenset[str]:
        """Targets that several columns have, or that a cell gives several values."""
        plain = [source.target for source in self._sources[0]]
        paired = {source.target for source in self._sources[0] if source.is_pair}
        repeated = {target for target in plain if plain.count(target) > 1}
        return frozenset(repeated | paired)

    @cached_property
    def _emails(self) -> list[int]:
        return [n for n, target in enumerate(self.targets) if target == "email"]

    @cached_property
    def _sources(self) -> tuple[list[_Source], list[list[_Source]]]:
        """The sources of each address, and before them those of all other values.

        Both in order of preference.
        """
        names = [normalise(column) for column in self.columns]
        plain: list[_Source] = []
        addresses: dict[str, list[_Source]] = {}
        for index in self.order or range(len(self.columns)):
            target = self.targets[index]
            if not target:
                continue
            pair = _PAIR_VALUE.fullmatch(names[index])
            label_index = None
            if pair and target == "phone":
                label_index = _index_of(names, f"{pair[1]} label", f"{pair[1]} type")
            source = _Source(
                index, target, self.columns[index], bool(pair), label_index
            )
            if target in ADDRESS_FIELDS:
                kind = _ADDRESS_KIND.search(names[index])
                addresses.setdefault(kind[0] if kind else "", []).append(source)
            else:
                plain.append(source)
        return plain, list(addresses.values())

    def _target_of_phone(self, label: str) -> str | None:
        label = label.casefold()
        if "fax" in label or "pager" in label:
            return None
        if self.has_mobile and ("mobile" in label or "cell" in label):
            return "mobile"
        return "phone"


def _known_header(column: str, headers: Mapping[str, str]) -> str | None:
    """Return the key of `headers` that a column name stands for, if any."""
    name = normalise(column)
    if name in headers:
        return name
    if _PAIR_LABEL.fullmatch(name):
        return None  # it says what kind the value beside it is of
    if column.startswith(CUSTOM_PREFIX):
        return None  # of a field that is not there, or no more
    # The second of two columns of the same name has got a number when it was read.
    name = normalise(_COPY_NUMBER.sub("", column))
    if name in headers:
        return name
    numbered = _INNER_NUMBER.fullmatch(name)
    if numbered:
        name = " ".join(numbered.groups()).removesuffix(" value")
        if name in headers:
            return name
    # "Phone 3" is one more phone, but "Address 3" is a line of an address.
    numbered = _LAST_NUMBER.fullmatch(normalise(column))
    if numbered and headers.get(numbered[1]) not in {None, *ADDRESS_FIELDS}:
        return numbered[1]
    return None


def _alike(
    columns: Sequence[str],
    targets: Sequence[str | None],
    headers: Mapping[str, str],
) -> dict[str, str]:
    """Column name to the target of the known header that it is nearly spelt like."""
    from rapidfuzz import fuzz, process

    free = {name: t for name, t in headers.items() if t not in targets}
    guessed: dict[str, str] = {}
    for column, target in zip(columns, targets, strict=True):
        name = normalise(column)
        is_named = name in _ERROR_KEYS or column.startswith(CUSTOM_PREFIX)
        if target or len(name) < SHORTEST_ALIKE or is_named:
            continue
        if _PAIR_LABEL.fullmatch(name):
            continue
        found = process.extractOne(
            name, list(free), scorer=fuzz.ratio, score_cutoff=ALIKE
        )
        if found and free[found[0]] not in guessed.values():
            guessed[column] = free[found[0]]
    return guessed


def _preferred_order(
    columns: Sequence[str], headers: Mapping[str, str]
) -> tuple[int, ...]:
    ranks = {header: rank for rank, header in enumerate(headers)}
    unknown = len(ranks)
    keys = [_known_header(column, headers) for column in columns]
    return tuple(
        sorted(range(len(columns)), key=lambda index: ranks.get(keys[index], unknown))
    )


def _is_allowed(target: object, allowed: Collection[str]) -> bool:
    if not isinstance(target, str):
        return False
    if target == "full_name":
        return target in allowed or NAME_FIELDS.issubset(allowed)
    if target in allowed:
        return not target.endswith(".")
    named = _WITH_SYSTEM.fullmatch(target)
    return bool(named) and (named[1] == "external_ids." or named[1] in allowed)


def named_with_system(
    columns: Sequence[str], allowed: Collection[str]
) -> Iterator[str]:
    """The columns named as the target that they mean, as in `external_ids.crm`."""
    for column in columns:
        if _WITH_SYSTEM.fullmatch(column) and _is_allowed(column, allowed):
            yield column


def _index_of(names: Sequence[str], *wanted: str) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)
