"""Search: words that somebody remembers, more or less, and the records they mean.

Every record keeps its searched fields as one plain text, `search_text`: in lower case,
without accents and punctuation, telephone numbers as digits alone. On PostgreSQL the
trigrams of that text are indexed (core.indexes).

Words are looked for as they stand, and where that is not enough, misspelt: the words of
all records are known (`SearchWord`), each by what is left of it without one of its
letters. A slip of the pen and the word that was meant have one of those in common,
whatever the slip was.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from heapq import nlargest
from operator import or_

from django.db.models import Model, Q, QuerySet
from rapidfuzz.distance import OSA

from core import access

# A shorter word is met in the middle of half of all texts: it is looked for where words
# begin, and never guessed.
SHORT = 3
# Longer ones are no words.
LONGEST_WORD = 30
# So many words that a misspelt one may mean are tried, the likest first.
MEANINGS = 12
# Of more records than this that hold the words, the newest are compared.
COMPARED = 200
# How well a word fits where it is a whole word of a text, the beginning of one, or
# within one; of what was not typed but may have been meant, at most MEANT of that.
WHOLE, BEGINNING, WITHIN, MEANT = 1.0, 0.95, 0.6, 0.9
# How much less each field counts than the one before it.
FIELD_STEP = 0.01

PHONE = re.compile(r"\+?[\d\s()./-]*\d[\d\s()./-]*")
WORD = re.compile(r"[^\W\d_]+")
# What Unicode does not take apart into a letter and its accent, and what people leave
# out.
LETTERS = {
    **{"æ": "ae", "đ": "d", "ð": "d", "ħ": "h", "\u0131": "i", "ł": "l", "ø": "o"},
    **{"œ": "oe", "þ": "th", "ŧ": "t", "'": "", "\u2019": ""},
}


# Texts


class _Letters(dict):
    """For `str.translate`: letters and digits in lower case, a space for all else."""

    def __missing__(self, code):
        letter = chr(code)
        found = LETTERS.get(letter, letter.lower() if letter.isalnum() else " ")
        self[code] = found
        return found


LETTERS_OF_ALL = _Letters()


@lru_cache(maxsize=8192)
def plain(text: str) -> str:
    """A text without the differences that people do not remember."""
    if is_phone(text):
        return "".join(filter(str.isdigit, text)).lstrip("0")
    return " ".join(_letters(text).split())


def plain_with_places(text: str) -> tuple[str, list[int]]:
    """The `plain` form of a text, and for each of its characters where it came from."""
    phone = is_phone(text)
    result, places = [], []
    for place, character in enumerate(text):
        for letter in _digit(character) if phone else _letters(character):
            # One space between words, none at the ends. The zeros before a number are
            # dialled by a caller nearby alone.
            if not (letter == " " and (not result or result[-1] == " ")) and not (
                phone and letter == "0" and not result
            ):
                result.append(letter)
                places.append(place)
    if result and result[-1] == " ":
        result.pop()
    return "".join(result), places


def _digit(character: str) -> str:
    return character if character.isdigit() else ""


def _letters(text: str) -> str:
    if not text.isascii():
        parts = unicodedata.normalize("NFKD", text.casefold())
        text = "".join(c for c in parts if not unicodedata.combining(c))
    return text.translate(LETTERS_OF_ALL)


def is_phone(text: str) -> bool:
    return bool(PHONE.fullmatch(text)) and sum(c.isdigit() for c in text) > SHORT


def texts_of(record: Model, name: str) -> list[str]:
    """The texts that a searched field holds."""
    value = getattr(record, name)
    if isinstance(value, str):
        return [value] if value else []
    # A list of texts, or of objects that have one as their value.
    return [entry["value"] if isinstance(entry, dict) else entry for entry in value]


def shown_fields(model: type[Model], user) -> tuple[str, ...]:
    """The searched fields of a record type that the user sees."""
    hidden = access.hidden_fields(user, model.record_type())
    return tuple(name for name in model.searched_fields() if name not in hidden)


def search_text(record: Model, names: Iterable[str] | None = None) -> str:
    """What a record is found by: each plain text once, with spaces around it.

    Args:
        names: of the fields; all that are searched if not given.
    """
    names = record.searched_fields() if names is None else names
    texts = {plain(text) for name in names for text in texts_of(record, name)}
    return f" {' '.join(sorted(texts - {''}))} " if texts - {""} else ""


def words_of(text: str) -> list[str]:
    """The words to look for, the longest first: they leave the fewest records."""
    text = text.strip()
    return plain_words([text] if is_phone(text) else text.split())


def plain_words(words: Iterable[str]) -> list[str]:
    found = {plain(word) for word in words} - {""}
    return sorted(found, key=lambda word: (-len(word), word))


# Conditions


def holding(queryset: QuerySet, words: list[str], before="", after="") -> QuerySet:
    """The rows whose text holds every word, with this before and after it."""
    for word in words:
        start = " " if len(word) < SHORT else before
        queryset = queryset.filter(search_text__contains=f"{start}{word}{after}")
    return queryset


def meaning(queryset: QuerySet, meanings: list[list[str]]) -> QuerySet:
    """The rows that hold one of the meanings of every word."""
    for words in meanings:
        conditions = (Q(search_text__contains=f" {word}") for word in words)
        queryset = queryset.filter(reduce(or_, conditions))
    return queryset


# Misspelt words


def shortened(word: str) -> set[str]:
    """The word, and what is left of it without each of its letters."""
    return {word, *(word[:at] + word[at + 1 :] for at in range(len(word)))}


def vocabulary(records: Iterable[Model]) -> set[str]:
    """The words of these records that somebody could mean; no addresses, no numbers."""
    texts = {
        text
        for record in records
        for name in record.searched_fields()
        for text in texts_of(record, name)
    }
    return {
        word
        for text in texts
        if "@" not in text
        for word in WORD.findall(plain(text))
        if SHORT <= len(word) <= LONGEST_WORD
    }


def learn(organization_id, words: set[str]) -> None:
    """Keep words that are new.

    No constraint says that each stands once: two writers of one new name would wait for
    each other, and a word that stands twice does no harm.
    """
    from core.models import SearchWord
    from core.models.copying import insert_values

    known = SearchWord.objects.filter(organization=organization_id, shortened__in=words)
    new = words - set(known.values_list("word", flat=True))
    rows = [
        (organization_id, word, key)
        for word in sorted(new)
        for key in sorted(shortened(word))
    ]
    insert_values(SearchWord, ("organization_id", "word", "shortened"), rows)


def meanings_of(organization_id, word: str) -> list[str]:
    """The known words that a misspelt one may mean, the likest first."""
    from core.models import SearchWord

    if not SHORT <= len(word) <= LONGEST_WORD:
        return []
    known = SearchWord.objects.filter(
        organization=organization_id, shortened__in=shortened(word)
    )
    words = set(known.values_list("word", flat=True)) - {word}
    likeness = {other: OSA.normalized_similarity(word, other) for other in words}
    # Those have two slips that lack a letter, and not the same one.
    near = [other for other in words if OSA.distance(word, other) == 1]
    return sorted(near, key=lambda other: (-likeness[other], other))[:MEANINGS]


# Finding


class Wanted:
    """What somebody looks for in records of all types.

    Attributes:
        words: of the text.
    """

    def __init__(self, organization_id, text: str):
        self.organization_id = organization_id
        self.words = words_of(text)

    @cached_property
    def meanings(self) -> list[list[str]]:
        """Each word, and after it the known ones that it may mean, the likest first."""
        return [[word, *meanings_of(self.organization_id, word)] for word in self.words]


@dataclass(frozen=True)
class Hit:
    """A record that was found.

    Attributes:
        score: how well it fits, from 0 to 1.
        matches: what says so: the name of a field, the text in it, and the places
            [start, end) in that text.
    """

    record: Model
    score: float
    matches: list[dict]


def find(model: type[Model], user, wanted: Wanted, limit: int) -> list[Hit]:
    """The records of a type that fit best, of those that the user may see.

    A record fits that holds every word, or, where there are too few of those, a word
    that each may mean. What a role hides finds nothing.
    """
    words = wanted.words
    if not words:
        return []
    visible = model.objects.visible_to(user)
    names = {*model.summary_fields, *model.searched_fields(), "search_text"}
    shown = shown_fields(model, user)
    hides = bool(access.hidden_fields(user, model.record_type()))
    found: dict = {}

    def look(condition: QuerySet) -> int:
        records = list(condition.order_by().only(*names)[:COMPARED])
        records.sort(key=lambda record: record.pk, reverse=True)
        for record in records:
            if hides:
                record.search_text = search_text(record, shown)
            found[record.pk] = record
        return len(records)

    meanings = [[word] for word in words]
    if look(holding(visible, words)) == COMPARED:
        # There are more: those that fit best must be among them.
        look(holding(visible, words, " "))
        look(holding(visible, words, " ", " "))
    good = sum(_coarse(r, meanings) >= BEGINNING for r in found.values())
    if good < limit:
        meanings = wanted.meanings
        if any(len(words) > 1 for words in meanings):
            look(meaning(visible, meanings))
    likely = nlargest(3 * limit, found.values(), key=lambda r: _coarse(r, meanings))
    hits = filter(None, (_hit(r, meanings, shown) for r in likely))

    def rank(hit):
        # A name may be made of hidden fields: then not even its place tells it.
        return -hit.score, "" if hides else str(hit.record), hit.record.pk

    return sorted(hits, key=rank)[:limit]


def _coarse(record: Model, meanings: list[list[str]]) -> float:
    """How well a record fits by all of its text at once."""
    text = record.search_text.strip()
    fits = (max(_fit(word, text, words[0])[0] for word in words) for words in meanings)
    return sum(fits) / len(meanings)


def _hit(record: Model, meanings: list[list[str]], names) -> Hit | None:
    """How a record fits by these of its fields; None where it does not."""
    texts = [
        (1 - FIELD_STEP * step, name, text, *plain_with_places(text))
        for step, name in enumerate(names)
        for text in texts_of(record, name)
    ]
    total = 0.0
    found = defaultdict(set)
    for words in meanings:
        best = 0.0
        for weight, name, text, plain_text, places in texts:
            for word in words:
                fit, start = _fit(word, plain_text, words[0])
                best = max(best, weight * fit)
                if fit:
                    place = (places[start], places[start + len(word) - 1] + 1)
                    found[name, text].add(place)
        if not best:
            return None
        total += best
    matches = [
        {"field": name, "text": text, "ranges": sorted(ranges)}
        for (name, text), ranges in found.items()
    ]
    return Hit(record, round(total / len(meanings), 3), matches)


def _fit(word: str, text: str, typed: str) -> tuple[float, int]:
    """How well a word fits a text, from 0 to 1, and where it begins.

    A whole word fits best, then the beginning of one, then its middle; and any of these
    less, where something else was typed.
    """
    padded = f" {text} "
    meant = 1 if word == typed else MEANT * OSA.normalized_similarity(word, typed)
    for fit, part in ((WHOLE, f" {word} "), (BEGINNING, f" {word}"), (WITHIN, word)):
        start = padded.find(part)
        if start >= 0:
            return fit * meant, start - 1 + part.index(word)
    return 0.0, 0
