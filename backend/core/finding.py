"""Finding records of all types by words, the best first (core.search).

A record fits that holds every word, or, where there are too few of those, a word that
each may mean. What a role hides finds nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from heapq import nlargest
from operator import itemgetter, or_
from typing import NamedTuple

from django.db import connection
from django.db.models import Model, Q

from core import access
from core.memory import Memory
from core.registry import searched_types
from core.representation import ById, ColumnsStatement
from core.search import (
    beginning,
    having_words,
    joined,
    likeness,
    meanings_made_from,
    meanings_of,
    part_of,
    plain,
    plain_with_places,
    query_of,
    shown_fields,
    texts_of,
    words_of,
)
from core.statements import Bound, Statement, Union

# Of more records of a type than this that hold the words, any are compared.
COMPARED = 200
# So many times what is asked for, of those that fit best by all of their text, are
# compared field by field; no fewer than this, for many fit as well by all of it.
LIKELY = 3
FEWEST_LIKELY = 50
# How well a word fits where it is a whole word of a text, the beginning of one, or
# within one; of what was not typed but may have been meant, at most MEANT of that.
WHOLE, BEGINNING, WITHIN, MEANT = 1.0, 0.95, 0.6, 0.9
RANKS = ((WHOLE, " {} "), (BEGINNING, " {}"), (WITHIN, "{}"))
# How much less each field counts than the one before it.
FIELD_STEP = 0.01


class Guess(NamedTuple):
    """What some words may mean.

    Attributes:
        meanings: for each word, the word and after it what it may mean, the likest
            first.
        whole: those that are not looked for where another word begins with them. Of a
            short one, that would be to collect half of all names.
    """

    meanings: list[list[str]]
    whole: set[str]


class Wanted:
    """What somebody looks for.

    Attributes:
        words: of the text.
        addresses: those of them that are e-mail addresses, or parts of one.
    """

    def __init__(self, organization_id, text: str):
        self.organization_id = organization_id
        self.words = words_of(text)
        self.addresses = {plain(word) for word in text.split() if "@" in word}

    @cached_property
    def guesses(self) -> list[Guess]:
        """What was meant perhaps.

        The first guess takes words that are known for what they say, and of others
        what is likest; the second all. There is none where it would be the first again,
        or only what was typed.
        """
        first, second, whole = [], [], set()
        for word in self._single_words():
            known = meanings_of(self.organization_id, word)
            others = [other for other in known if other != word]
            best = max((likeness(word, other) for other in others), default=0)
            likest = [other for other in others if likeness(word, other) == best]
            first.append([word] if word in known else [word, *likest])
            second.append([word, *others])
            whole.update(known)
        typed = [[word] for word in self._single_words()]
        guesses = [Guess(second, set())]
        if first not in (second, typed):
            guesses.insert(0, Guess(first, whole))
        return guesses if second != typed else []

    def made_from(self) -> set[str] | None:
        """The names of the versions that decide what is found.

        Where each of several words must be held, the first tells of all that hold them.
        None: any text that comes or goes may decide.
        """
        parts = {part_of(word) for word in self.words[:1]}
        meanings = set()
        # Where what was typed is enough, nobody asks what was meant.
        if "guesses" in vars(self):
            meanings.update(*map(meanings_made_from, self._single_words()))
            for guess in self.guesses:
                parts.update(part_of(word.split()[0]) for word in guess.meanings[0])
        return None if None in parts else parts | meanings

    def _single_words(self) -> list[str]:
        """Each for itself that can be misspelt: of a double name, both."""
        return [
            single
            for word in self.words
            for single in ([word] if word in self.addresses else word.split())
        ]


class Word:
    """A word that was typed, and what it may mean.

    Texts that it is compared with have spaces around them.
    """

    def __init__(self, meant: Sequence[str]):
        """`meant`: what was typed first."""
        self.meant = meant
        weights = [1.0, *(MEANT * likeness(other, meant[0]) for other in meant[1:])]
        # How well a text fits that has this part, the best first.
        self.parts = sorted(
            (
                (fit * weight, part.format(word))
                for word, weight in zip(meant, weights, strict=True)
                for fit, part in RANKS
            ),
            key=itemgetter(0),
            reverse=True,
        )

    def is_in(self, text: str) -> bool:
        return any(word in text for word in self.meant)

    def fit(self, text: str) -> float:
        """How well it fits the text, from 0 to 1."""
        for fit, part in self.parts:
            if part in text:
                return fit
        return 0.0

    def best_fit(self, texts: Iterable[tuple[float, str]]) -> float:
        """How well it fits the best of some texts, each with what it counts.

        Those that count most come first: the rest is not asked where it cannot be
        better.
        """
        most, _ = self.parts[0]
        best = 0.0
        for weight, text in texts:
            if best >= weight * most:
                break
            best = max(best, weight * self.fit(text))
        return best

    def ranges(self, text: str) -> Iterator[tuple[int, int]]:
        """Where [start, end) what it means fits the text best, without the spaces."""
        for word in self.meant:
            for _, part in RANKS:
                start = text.find(part.format(word))
                if start >= 0:
                    start += part.index("{")
                    yield start - 1, start - 1 + len(word)
                    break


@dataclass(frozen=True)
class Hit:
    """A record that was found.

    Attributes:
        record: its summary.
        score: how well it fits, from 0 to 1.
        matches: what says so: the name of a field, the text in it, and the places
            [start, end) in that text.
    """

    record_type: str
    record: dict
    score: float
    matches: list[dict]


class Source:
    """The records of a type that a user sees, and what they see of them."""

    def __init__(self, model: type[Model], user):
        self.record_type = model.record_type()
        self.visible = model.objects.visible_to(user)
        self.text = model._meta.get_field("search_text")
        hidden = access.hidden_fields(user, self.record_type)
        self.hides = bool(hidden)
        self.summary = [name for name in model.summary_fields if name not in hidden]
        self.searched = shown_fields(model, user)
        self.records = ById(
            self.visible, dict.fromkeys((*self.summary, *self.searched))
        )

    def statement(self, patterns: Sequence[Sequence[str]]) -> Statement:
        """Some rows whose text holds one of the patterns, of each group of them.

        Args:
            patterns: the names that their texts are bound by.
        """
        rows = self.visible.order_by()
        for names in patterns:
            held = (Q(search_text__contains=Bound(n, self.text)) for n in names)
            rows = rows.filter(reduce(or_, held))
        rows = rows[:COMPARED]
        # To plan this for all record types takes longer than to look.
        return ColumnsStatement(rows, ("id", "search_text"), planned_once=True)

    def meaning(self) -> Statement:
        """Some rows whose text has the words of a query, which is bound as `words`.

        It pays to plan it for each: to begin with what few rows have.
        """
        rows = having_words(self.visible.order_by(), Bound("words", self.text))
        return ColumnsStatement(rows[:COMPARED], ("id", "search_text"))

    def shown_texts(self, texts: dict) -> dict:
        """Of the texts of some records, by their ids, what the user sees of them."""
        if not self.hides:
            return texts
        return {
            pk: joined(record[name] for name in self.searched)
            for pk, record in self.records.of(texts).items()
        }

    def scored(self, keys: Iterable, words: list[Word]) -> list[tuple]:
        """How these records fit, and each of them; none that does not."""
        scored = (
            (self._score(record, words), record)
            for record in self.records.of(keys).values()
        )
        return sorted((found for found in scored if found[0]), key=self._rank)

    def _rank(self, found: tuple[float, dict]) -> tuple:
        score, record = found
        # A name may be made of hidden fields: then not even its place tells it.
        words = () if self.hides else (record[name] for name in self.summary)
        return -score, [str(word) for word in words][1:], record["id"]

    def _score(self, record: dict, words: list[Word]) -> float:
        """How a record fits by the fields that are searched."""
        fits = [word.best_fit(self._weighed(record)) for word in words]
        return round(sum(fits) / len(fits), 3) if all(fits) else 0.0

    def _weighed(self, record: dict) -> Iterator[tuple[float, str]]:
        """The texts of a record, and how much each counts."""
        for step, name in enumerate(self.searched):
            for text in texts_of(record[name]):
                yield 1 - FIELD_STEP * step, f" {plain(text)} "

    def hit(self, score: float, record: dict, words: list[Word]) -> Hit:
        """What is told of a record that was found."""
        summary = {name: record[name] for name in self.summary}
        matches = list(self._matches(record, words))
        return Hit(self.record_type, summary, score, matches)

    def _matches(self, record: dict, words: list[Word]) -> Iterator[dict]:
        for name in self.searched:
            for text in dict.fromkeys(texts_of(record[name])):
                # Few texts hold a word, and the places of all letters take long.
                if not any(word.is_in(plain(text)) for word in words):
                    continue
                plain_text, places = plain_with_places(text)
                ranges = {
                    (places[start], places[end - 1] + 1)
                    for word in words
                    for start, end in word.ranges(f" {plain_text} ")
                }
                yield {"field": name, "text": text, "ranges": sorted(ranges)}


class Finder:
    """Finds records of some types, for all who see the same of them."""

    def __init__(self, names: Iterable[str], user):
        """`names`: of record types that are searched."""
        self.record_types = tuple(names)
        types = searched_types()
        self.sources = [Source(types[name], user) for name in self.record_types]
        self.everywhere = range(len(self.sources))
        self.statements = Memory(32)

    def find(self, wanted: Wanted, limit: int) -> list[Hit]:
        """Those that fit best, at most so many."""
        if not (wanted.words and self.sources):
            return []
        texts = self._holding(wanted.words, limit)
        words = [Word([word]) for word in wanted.words]
        fits = {n: _fits(some, words) for n, some in texts.items()}
        good = sum(fit >= BEGINNING for some in fits.values() for fit in some.values())
        # What was meant fits less well: those that were typed would stand before it.
        if good < limit:
            words = self._guess(texts, wanted, words, limit)
            fits = {n: _fits(some, words) for n, some in texts.items()}
        best = nlargest(
            limit,
            [
                (score, n, record)
                for n, keys in self._likely(fits, limit).items()
                for score, record in self.sources[n].scored(keys, words)[:limit]
            ],
            key=itemgetter(0),
        )
        return [self.sources[n].hit(score, row, words) for score, n, row in best]

    def _holding(self, words: list[str], limit: int) -> dict[int, dict]:
        """Of each source, the texts by id of records that hold all words."""
        found = self._look(self.everywhere, [[beginning(w) + w] for w in words])
        # Of some there are more: those that fit best must be among them. Beginnings of
        # words, only where whole ones do not fill what is compared.
        many = [n for n in found if len(found[n]) == COMPARED]
        for after in (" ", ""):
            many = [n for n in many if not self._fill(n, found[n], words, limit)]
            if many:
                more = self._look(many, [[f" {word}{after}"] for word in words])
                for n in many:
                    found[n] |= more[n]
        return {n: self.sources[n].shown_texts(some) for n, some in found.items()}

    def _fill(self, n: int, texts: dict, words: list[str], limit: int) -> bool:
        """Whether enough of a source's texts have all words as whole ones."""
        if self.sources[n].hides:
            return False
        parts = [f" {word} " for word in words]
        fitting = sum(all(part in text for part in parts) for text in texts.values())
        return fitting >= most_likely(limit)

    def _guess(
        self, texts: dict[int, dict], wanted: Wanted, words: list[Word], limit: int
    ) -> list[Word]:
        """Add the texts of what may have been meant; the words with what they mean."""
        for guess in wanted.guesses:
            words = [Word(meant) for meant in guess.meanings]
            for n, more in self._meaning(guess).items():
                texts[n] |= self.sources[n].shown_texts(more)
            held = (t for some in texts.values() for t in some.values())
            if sum(all(w.is_in(text) for w in words) for text in held) >= limit:
                break
        return words

    def _likely(self, fits: dict[int, dict], limit: int) -> dict[int, list]:
        """Of each source, the ids of records that may be among the best."""
        best = nlargest(limit, (fit for some in fits.values() for fit in some.values()))
        fields = max(len(source.searched) for source in self.sources)
        # By their fields they fit as well as by all of their text, or a little less.
        least = best[-1] * (1 - FIELD_STEP * fields) if len(best) == limit else 0
        most = most_likely(limit)
        likely = {}
        for n, some in fits.items():
            keys = [key for key in sorted(some, reverse=True) if some[key] > least]
            if keys:
                likely[n] = nlargest(most, keys, some.get)
        return likely

    def _meaning(self, guess: Guess) -> dict[int, dict]:
        """Texts by id, of each source, that have a word of each group, or more."""
        if connection.vendor != "postgresql":
            patterns = [[f" {word}" for word in words] for words in guess.meanings]
            return self._look(self.everywhere, patterns)
        statement = self.statements.kept(
            "meaning",
            lambda: Union({n: s.meaning() for n, s in enumerate(self.sources)}),
        )
        rows = statement.rows({"words": query_of(*guess)})
        return _by_source(self.everywhere, rows)

    def _look(self, sources: Sequence[int], patterns: list[list[str]]) -> dict:
        """Texts by id, of each source, that hold one of each group of patterns."""
        names = [
            [f"{group} {place}" for place in range(len(some))]
            for group, some in enumerate(patterns)
        ]
        key = (tuple(sources), tuple(map(len, patterns)))
        statement = self.statements.kept(
            key, lambda: Union({n: self.sources[n].statement(names) for n in sources})
        )
        values = {
            name: pattern
            for group, some in zip(names, patterns, strict=True)
            for name, pattern in zip(group, some, strict=True)
        }
        return _by_source(sources, statement.rows(values))


finders = Memory(200)


def finder_of(names: tuple[str, ...], user, visibility: str) -> Finder:
    """A Finder, the same one as long as rights are known to be the same.

    Args:
        visibility: users with equal texts find the same.
    """
    if not user.proof:
        return Finder(names, user)
    key = (user.organization_id, visibility, user.proof.shared)
    return finders.kept(key, lambda: Finder(names, user))


def most_likely(limit: int) -> int:
    """How many records of a source are compared field by field."""
    return max(LIKELY * limit, FEWEST_LIKELY)


def _by_source(sources: Sequence[int], rows: Iterable[Sequence]) -> dict[int, dict]:
    found: dict[int, dict] = {n: {} for n in sources}
    for n, pk, text in rows:
        found[n][pk] = text
    return found


def _fits(texts: dict, words: list[Word]) -> dict:
    """How well records fit by all of their text at once, by their ids."""
    return {
        key: sum(word.fit(text) for word in words) / len(words)
        for key, text in texts.items()
    }
