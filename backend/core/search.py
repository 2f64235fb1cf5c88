"""Search: words that somebody remembers, more or less, and the records they mean.

Every record keeps its searched fields as one plain text, `search_text`: in lower case,
without accents, telephone numbers as digits alone. A word is found in it as it stands,
and misspelt by its trigrams; on PostgreSQL one index serves both (core.indexes), on
SQLite each text is looked at.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connection, models, transaction
from django.db.models import F, Model, QuerySet, Value
from rapidfuzz import fuzz

# How much of its trigrams a misspelt word must share with a part of a text.
TRIGRAMS_SHARED = 0.5
# How alike a misspelt word and a part of a text must be, of 100, to be taken for it.
LIKENESS = 75
# A shorter word is met in the middle of half of all texts: it is looked for where words
# begin, and never guessed.
SHORT = 3
# Of more records than this that hold the words, these many are compared.
COMPARED = 1000

AROUND_WORDS = '()[]<>,;:"'
PHONE = re.compile(r"\+?[\d\s()./-]*\d[\d\s()./-]*")
# What Unicode does not take apart into a letter and its accent, and what people leave
# out.
LETTERS = {
    **{"æ": "ae", "đ": "d", "ð": "d", "ħ": "h", "\u0131": "i", "ł": "l", "ø": "o"},
    **{"œ": "oe", "þ": "th", "ŧ": "t", "'": "", "\u2019": "", "\0": ""},
}


# Texts


def fold(text: str) -> str:
    """A text without the differences that people do not remember."""
    return "".join(_fold_character(character) for character in text)


def _fold_character(character: str) -> str:
    if character.isascii():
        return LETTERS.get(character, character.lower())
    parts = unicodedata.normalize("NFKD", character.casefold())
    plain = (c for c in parts if not unicodedata.combining(c))
    return "".join(LETTERS.get(c, c) for c in plain)


def is_phone(text: str) -> bool:
    return bool(PHONE.fullmatch(text)) and sum(c.isdigit() for c in text) > SHORT


def digits(text: str) -> str:
    """The digits of a number, without the zeros that only a caller nearby dials."""
    return re.sub(r"\D", "", text).lstrip("0")


def searchable(text: str) -> str:
    text = " ".join(text.split())
    return digits(text) if is_phone(text) else fold(text)


def texts_of(record: Model, name: str) -> list[str]:
    """The texts that a searched field holds."""
    value = getattr(record, name)
    if isinstance(value, str):
        return [value] if value else []
    # A list of texts, or of objects that have one as their value.
    return [entry["value"] if isinstance(entry, dict) else entry for entry in value]


def search_text(record: Model) -> str:
    """What a record is found by: each text once, with a space before it."""
    found = {
        searchable(text)
        for name in record.searched_fields()
        for text in texts_of(record, name)
    }
    return "".join(f" {text}" for text in sorted(found) if text)


def words_of(text: str) -> list[str]:
    """The words to look for, the longest first: they leave the fewest records."""
    text = text.strip()
    if is_phone(text):
        return [digits(text)]
    return plain_words(text.split())


def plain_words(words: Iterable[str]) -> list[str]:
    plain = {searchable(word.strip(AROUND_WORDS)) for word in words}
    return sorted((word for word in plain if word), key=lambda w: (-len(w), w))


# Conditions


def holding(queryset: QuerySet, words: list[str]) -> QuerySet:
    """The rows whose text holds every word."""
    for word in words:
        start = " " if len(word) < SHORT else ""
        queryset = queryset.filter(search_text__contains=f"{start}{word}")
    return queryset


class WordSimilarity(models.Func):
    """How much a word is like the part of a text that is most like it, from 0 to 1."""

    function = "word_similarity"
    output_field = models.FloatField()


class Resembles(models.Func):
    """Whether a text has a part that a word may be a slip for."""

    output_field = models.BooleanField()

    def as_postgresql(self, compiler, connection):
        # The operator, not the function: an index knows it.
        return self.as_sql(
            compiler, connection, template="(%(expressions)s)", arg_joiner=" <%% "
        )

    def as_sqlite(self, compiler, connection):
        template = f"word_similarity(%(expressions)s) >= {LIKENESS / 100}"
        return self.as_sql(compiler, connection, template=template)


def word_similarity(word: str, text: str) -> float:
    """The function of this name for SQLite; PostgreSQL has its own."""
    return fuzz.partial_ratio(word, text) / 100 if word and text else 0.0


def resembling(queryset: QuerySet, words: list[str]) -> QuerySet:
    """The rows that have something like every word."""
    for word in words:
        if len(word) < SHORT:
            queryset = queryset.filter(search_text__contains=f" {word}")
        else:
            queryset = queryset.filter(Resembles(Value(word), F("search_text")))
    return queryset


def likeliest(queryset: QuerySet, words: list[str], limit: int) -> list[Model]:
    """The first rows by the database's own measure."""
    likeness = sum(WordSimilarity(Value(word), F("search_text")) for word in words)
    return list(queryset.order_by(likeness.desc(), "pk")[:limit])


# Finding


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


def find(model: type[Model], user, text: str, limit: int) -> list[Hit]:
    """The records of a type that fit a text best, of those that the user may see.

    A record fits that holds every word, or, where there are too few of those, something
    like it. What a role hides finds nothing.
    """
    words = words_of(text)
    if not words:
        return []
    visible = model.objects.visible_to(user)
    shown = model.searched_fields()
    compared = holding(visible, words).values("pk")[:COMPARED]
    with transaction.atomic():
        records = likeliest(model.objects.filter(pk__in=compared), words, limit)
        if len(records) < limit:
            _set_threshold()
            more = resembling(visible, words).exclude(pk__in=[r.pk for r in records])
            records += likeliest(more, words, limit - len(records))
    hits = (_hit(record, words, shown) for record in records)
    return sorted(
        (hit for hit in hits if hit),
        key=lambda hit: (-hit.score, str(hit.record), hit.record.pk),
    )


def _set_threshold() -> None:
    """Say, for this transaction, what `<%` takes for alike."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            name = "pg_trgm.word_similarity_threshold"
            cursor.execute(
                "SELECT set_config(%s, %s, true)", [name, str(TRIGRAMS_SHARED)]
            )


def _hit(record: Model, words: list[str], names) -> Hit | None:
    """How a record fits by these of its fields; None where it does not."""
    texts = [
        (name, text, *_with_places(text))
        for name in names
        for text in texts_of(record, name)
    ]
    total = 0.0
    found = defaultdict(set)
    for word in words:
        fits = [(_fit(word, plain), *rest) for *rest, plain, _ in texts]
        places = {text: at for _, text, _, at in texts}
        best = max((fit[0] for fit, *_ in fits), default=0)
        if not best:
            return None
        total += best
        for (score, start, end), name, text in fits:
            if score == best:
                at = places[text]
                found[name, text].add((at[start], at[end - 1] + 1))
    matches = [
        {"field": name, "text": text, "ranges": sorted(ranges)}
        for (name, text), ranges in found.items()
    ]
    return Hit(record, round(total / len(words), 3), matches)


def _with_places(text: str) -> tuple[str, list[int]]:
    """The searchable form of a text, and for each character where it came from."""
    plain, places = "", []
    phone = is_phone(text.strip())
    for place, character in enumerate(text):
        if phone and (not character.isdigit() or (character == "0" and not plain)):
            continue
        folded = _fold_character(character)
        plain += folded
        places += [place] * len(folded)
    return plain, places


def _fit(word: str, text: str) -> tuple[float, int, int]:
    """How well a word fits a text, from 0 to 1, and where.

    A whole word fits best, then the beginning of one, its middle, and something alike.
    """
    start = text.find(word)
    if start >= 0:
        end = start + len(word)
        begins = start == 0 or not text[start - 1].isalnum()
        ends = end == len(text) or not text[end].isalnum()
        return 0.9 + 0.07 * begins + 0.03 * (begins and ends), start, end
    if min(len(word), len(text)) < SHORT:
        return 0.0, 0, 0
    if len(text) <= len(word):
        alike, start, end = fuzz.ratio(word, text), 0, len(text)
    else:
        found = fuzz.partial_ratio_alignment(word, text)
        alike, start, end = found.score, found.dest_start, found.dest_end
    return (0.85 * alike / 100, start, end) if alike >= LIKENESS else (0.0, 0, 0)
