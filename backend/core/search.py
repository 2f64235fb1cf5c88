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
from collections.abc import Collection, Iterable
from functools import lru_cache

from django.contrib.postgres.search import SearchQuery
from django.db.models import Model, QuerySet
from rapidfuzz.distance import OSA

from core import access
from core.indexes import WORDS
from core.statements import Bound

# A shorter word is met in the middle of half of all texts: it is looked for where words
# begin, and never guessed.
SHORT = 3
# Longer ones are no words.
LONGEST_WORD = 30
# So many words that a misspelt one may mean are tried, the likest first.
MEANINGS = 12
PHONE = re.compile(r"\+?[\d\s()./-]*\d[\d\s()./-]*")
DIGITS = re.compile(r"[0-9]+")
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


def texts_of(value: str | list) -> list[str]:
    """The texts that the value of a searched field holds."""
    if isinstance(value, str):
        return [value] if value else []
    # A list of texts, or of objects that have one as their value.
    return [entry["value"] if isinstance(entry, dict) else entry for entry in value]


def shown_fields(model: type[Model], user) -> tuple[str, ...]:
    """The searched fields of a record type that the user sees."""
    hidden = access.hidden_fields(user, model.record_type())
    return tuple(name for name in model.searched_fields() if name not in hidden)


def search_text(record: Model) -> str:
    """What a record is found by (`joined`)."""
    return joined(getattr(record, name) for name in record.searched_fields())


def joined(values: Iterable[str | list]) -> str:
    """The plain texts of searched fields, each once, with spaces around it."""
    filled = filter(None, values)  # most are empty
    texts = {plain(text) for value in filled for text in texts_of(value)} - {""}
    return f" {' '.join(sorted(texts))} " if texts else ""


def words_of(text: str) -> list[str]:
    """The words to look for, the longest first: they leave the fewest records."""
    text = text.strip()
    return plain_words([text] if is_phone(text) else text.split())


def plain_words(words: Iterable[str]) -> list[str]:
    found = {plain(word) for word in words} - {""}
    return sorted(found, key=lambda word: (-len(word), word))


# Conditions


def holding(queryset: QuerySet, words: list[str]) -> QuerySet:
    """The rows whose text holds every word."""
    for word in words:
        queryset = queryset.filter(search_text__contains=beginning(word) + word)
    return queryset


def perhaps_holding(queryset: QuerySet, name: str, part: str) -> QuerySet:
    """Without rows that cannot hold a part of a text in the field of this name.

    The index tells which they are, if the field is searched: whatever holds the part
    has its `plain` form in its text. Of what looks like a telephone number that is true
    only of digits in a row: what is between them stands in the text of a value that is
    none.
    """
    if name not in queryset.model.searched_fields():
        return queryset
    if PHONE.fullmatch(part):
        found = max(DIGITS.findall(part), key=len, default="").lstrip("0")
    else:
        found = plain(part)
    if len(found) < SHORT:
        return queryset
    return queryset.filter(search_text__contains=found)


def having_words(queryset: QuerySet, query: Bound) -> QuerySet:
    """On PostgreSQL, the rows whose text has the words of a `query_of`."""
    query = SearchQuery(query, config="simple", search_type="raw")
    return queryset.alias(words=WORDS).filter(words=query)


def query_of(groups: Iterable[Iterable[str]], whole: Collection[str]) -> str:
    """What asks for a word of each group, or one that begins with it.

    Args:
        whole: words that are asked for as they are only.
    """

    def asked(word: str) -> str:
        if word in whole:
            return f"'{word}'"
        # What was typed as one word may be several, as an e-mail address is.
        parts = (f"'{part}':*" for part in word.split())
        return f"({' & '.join(parts)})"

    return " & ".join(f"({' | '.join(map(asked, words))})" for words in groups)


def beginning(word: str) -> str:
    """What stands before a word where it is looked for."""
    return " " if len(word) < SHORT else ""


# What is found is made from (core.cache)

# Whatever holds a word holds its first letters. So each three letters in a row of a
# text name a version, which goes when the text comes, goes or changes; and what was
# found by a word goes with the version of its first three.
PART = 3
# Of the texts of more records, not each part is named.
FEW_TEXTS = 5
ANY_PART = "~"


def parts_of(text: str) -> set[str]:
    """The names of the versions that go with a plain text."""
    return {_name_of(text[at : at + PART]) for at in range(len(text) - PART + 1)}


def part_of(word: str) -> str | None:
    """The name of the version that goes with each text which holds the word.

    None for a single letter, which has none.
    """
    part = f"{beginning(word)}{word}"[:PART]
    return _name_of(part) if len(part) == PART else None


def _name_of(part: str) -> str:
    return f"~{part}"


def meanings_made_from(word: str) -> set[str]:
    """The names of the versions that `meanings_of` a word is made from."""
    return {f"~{form}~" for form in shortened(word)}


# Misspelt words


def shortened(word: str) -> set[str]:
    """The word, and what is left of it without each of its letters."""
    return {word, *(word[:at] + word[at + 1 :] for at in range(len(word)))}


def vocabulary(records: Iterable[Model]) -> set[str]:
    """The words of these records that somebody could mean; no addresses, no numbers."""
    values = (getattr(r, name) for r in records for name in r.searched_fields())
    texts = {text for value in filter(None, values) for text in texts_of(value)}
    return {
        word
        for text in texts
        if "@" not in text
        for word in WORD.findall(plain(text))
        if SHORT <= len(word) <= LONGEST_WORD
    }


def learn(organization_id, words: set[str]) -> set[str]:
    """Keep words that are new, and tell which these are.

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
    return new


def is_held(organization_id, word: str) -> bool:
    """Whether a text of any record holds this word, as part of another one too.

    Deleted records count, which may come back; live ones first, which have an index.
    """
    from core.registry import searched_types

    return any(
        model.objects.filter(
            organization=organization_id,
            deleted_at__isnull=is_live,
            search_text__contains=word,
        ).exists()
        for is_live in (True, False)
        for model in searched_types().values()
    )


def forget(organization_id, word: str) -> None:
    from core.models import SearchWord

    rows = SearchWord.objects.filter(
        organization=organization_id, shortened__in=shortened(word), word=word
    )
    rows.delete()


def likeness(word: str, other: str) -> float:
    """How like two words are, from 0 to 1."""
    return OSA.normalized_similarity(word, other)


def meanings_of(organization_id, word: str) -> list[str]:
    """The known words that a typed one may mean, the likest first, itself among them
    if it is known."""
    from core.models import SearchWord

    if not SHORT <= len(word) <= LONGEST_WORD:
        return []
    known = SearchWord.objects.filter(
        organization=organization_id, shortened__in=shortened(word)
    )
    words = set(known.values_list("word", flat=True))
    # Those have two slips that lack a letter, and not the same one.
    near = [other for other in words if OSA.distance(word, other) <= 1]
    near.sort(key=lambda other: (-likeness(word, other), other))
    return near[: MEANINGS + (word in words)]
