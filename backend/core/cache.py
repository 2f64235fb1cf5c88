"""Cached reads, right by version: nothing is deleted from the cache to correct it.

Each (organization, record type) has a random token in Redis, and so has each record
that is read by itself. An answer is stored under a name that holds the tokens it was
made from, so when a token is gone, so is every answer that stood on it. A list, or what
a search found, stands on what decides which records it has, and on these records: which
they are it tells itself (`names_of_shown`). The protocol survives races, crashes and
flushes:

- A writer, before it commits, removes the token and sets a mark (`mark`); after the
  commit it removes the token again and lifts its mark (`lift`).
- A reader that meets a mark neither uses nor fills the cache (`find` gives None).
  Where there is no token it makes a new one, in the same atomic step.
- Marks and tokens expire. The second removal covers a commit that took longer than
  the mark lived.
- What Redis could not be told of a commit, it is told as soon as it answers again.

Without Redis no process shares a cache, so there is none. When Redis is away or slow,
it is left alone for a moment, so that it costs a request at most one time-out
(`core.redis`).
"""

import hashlib
import logging
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import orjson
from django.conf import settings
from django.db import transaction
from redis.commands.core import Script
from redis.exceptions import RedisError

from core.metrics.measures import cache_reads
from core.redis import rest, said_once
from core.renderers import dumps

logger = logging.getLogger(__name__)

# With a token goes all that stands on it, rights that were proven too: each reader
# begins anew then. It is also how long an answer could be stale where a writer could
# not reach a Redis that others reached, and was ended before it could.
TOKEN_SECONDS = 300
ANSWER_SECONDS = 300
MARK_SECONDS = 60
# Of more records that change together, not each is named.
FEW_RECORDS = 20
MANY = "many"
SHOWN = ":shown"
# Between names of versions, which may have spaces in them.
SEPARATOR = "\t"
# Others may mean something in names.
NAMED_VALUE = re.compile(r"[\w -]{1,50}")
# The fields that change where a record comes, goes, or is another's.
EXISTENCE = ("id", "deleted_at", "owner")
SCRIPTS = Path(__file__).parent / "lua"

# Of each commit that Redis does not know of: the versions that are over. While so many
# come, tokens expire.
overdue: deque[list[str]] = deque(maxlen=10_000)
AWAY = ()  # in the place of what Redis would have said; None it says itself


class Versions(NamedTuple):
    """What an answer is made from, as keys of Redis.

    Attributes:
        beginning: of all keys.
        own: of the versions that have a name.
        types: of which the answer shows records.
        whole: of the versions of these types.
    """

    beginning: str
    own: list[str]
    types: list[str] = []
    whole: list[str] = []


@dataclass(frozen=True)
class Slot:
    """A place in the cache for one answer, at the versions of now.

    Attributes:
        name: blank where a change is announced, so that nothing is kept.
        seen: the tokens of the types of which the answer shows records; blank where a
            change of one of them is announced.
    """

    name: str
    answer: bytes | None
    versions: Versions
    seen: str


@dataclass(frozen=True)
class Mark:
    keys: list[str]
    name: str


@dataclass(frozen=True)
class Proof:
    """That something was found to be so, and what must stand for it to be so still.

    Attributes:
        keys: of the versions at which it was found.
        tokens: what these versions were.
        shared: the part of them that the proofs of others in the organization have too.
        needed: keys that must be there; what keeps them is none of this module.
        until: when it ends by itself, in seconds since the epoch.
    """

    keys: list[str]
    tokens: str
    shared: str
    needed: list[str]
    until: float


NEVER = float("inf")
NOTHING = Proof([], "", "", [], NEVER)
NO_VERSIONS = Versions("", [])


def names_of_one(record_type: str, pk) -> set[str]:
    """The names of the versions that an answer about one record is made from."""
    return {f"{record_type}:{pk}", f"{record_type}:{MANY}"}


def names_of_own(record_type: str, owner) -> set[str]:
    """The names of the versions that an answer about somebody's records is made from.

    Records that become theirs, or were theirs before, among them.
    """
    return {f"{record_type}@{owner}", f"{record_type}:{MANY}"}


def names_of_whose(record_type: str, owner) -> set[str]:
    """The names of the versions that decide which records are somebody's."""
    return {f"{record_type}@@{owner}", f"{record_type}:{MANY}"}


def names_of_shown(record_type: str) -> set[str]:
    """The names of the versions that an answer is made from for the records it shows.

    `store` is told which they are. That others come in their place, these names do not
    tell.
    """
    return {record_type + SHOWN, f"{record_type}:{MANY}"}


def names_of_fields(record_type: str, fields: Iterable[str]) -> set[str]:
    """The names of the versions that what depends on fields alone is made from.

    Which records there are, and whose they are, it depends on always.

    Args:
        fields: with a value, where it matters only who has that (`with_value`).
    """
    fields = {*EXISTENCE, *fields}
    return {f"{record_type}.{name}" for name in fields} | {f"{record_type}:{MANY}"}


def with_value(field: str, value) -> str | None:
    """One value of a field, beside fields; None of what is not named so."""
    if isinstance(value, str) and NAMED_VALUE.fullmatch(value):
        return f"{field}={value}"
    return None


def names_of(
    record_type: str,
    ids: Collection | None = None,
    fields: Iterable[str] = (),
    owners: Iterable = (),
    parts: Iterable[str] = (),
) -> set[str]:
    """The names of the versions that are over when records of a type change.

    Args:
        ids: of those that change; None: which these are, and how, is not known.
        fields: those that change, and their values that some records get or lose
            (`with_value`); `id` where a record is new.
        owners: who has one of them, or had it before.
        parts: names of what searches find them by (core.search).
    """
    if ids is None or len(ids) > FEW_RECORDS:
        ids, owners, parts = [MANY], (), ()
        fields = [name for name in fields if "=" not in name]
    moved = owners if not set(EXISTENCE).isdisjoint(fields) else ()
    return {
        record_type,
        *(f"{record_type}@@{owner}" for owner in moved),
        *parts,
        *(f"{record_type}:{pk}" for pk in ids),
        *(f"{record_type}@{owner}" for owner in owners),
        *(f"{record_type}.{name}" for name in fields),
    }


def prove(
    organization_id,
    names: Iterable[str],
    own: Iterable[str],
    needed: list[str],
) -> Proof | None:
    """The proof of what is found out after this call, from the versions of the names.

    When it ends by itself, what is found may tell. None: Redis is away, something
    needed is missing, or a change is just announced.

    Args:
        own: names that the proofs of others do not have.
    """
    shared = _version_keys(organization_id, names)
    keys = [*shared, *_version_keys(organization_id, own)]
    found = _find(Versions("", keys), "", Proof([], "", "", needed, NEVER))
    if not found or not found[0]:
        return None
    tokens = found[0].decode().removeprefix(":").split(":")
    together = ":".join(tokens[: len(shared)])
    return Proof(keys, ":".join(tokens), together, needed, NEVER)


def stands(proof: Proof) -> bool:
    """Whether what was proven is so still; no, too, where nobody can tell."""
    return time.time() < proof.until and bool(_find(NO_VERSIONS, "", proof))


def find(
    organization_id,
    names: Iterable[str],
    request_key: str,
    proof: Proof | None = None,
) -> Slot | None:
    """The slot for an answer made from these versions; None: go to the database.

    Args:
        names: of record types, and of some of their records (`names_of_one`,
            `names_of_shown`).
        request_key: whatever else the answer depends on, such as the path, the query
            and what the reader may see.
        proof: of what is known already, and must stand.
    """
    slot = _slot(organization_id, names, request_key, proof or NOTHING)
    if slot:
        count(slot)
    elif settings.REDIS_URL:
        cache_reads["unavailable"].inc()
    return slot if slot and slot.name else None


def find_again(
    organization_id,
    names: Iterable[str],
    request_key: str,
    proof: Proof,
    enough: str = "",
) -> Slot | None:
    """The slot for an answer, if the proof stands; not counted as read (`count`).

    It has no name where a change is announced: the database has the answer.

    Args:
        enough: of an answer that begins with this, no more is given.
    """
    if time.time() >= proof.until:
        return None
    return _slot(organization_id, names, request_key, proof, enough) or None


def count(slot: Slot) -> None:
    """Count a slot that is used: its answer, or what is made to fill it."""
    result = "miss" if slot.answer is None else "hit"
    cache_reads[result if slot.name else "marked"].inc()


def _slot(organization_id, names, request_key, proof, enough="") -> Slot | tuple | None:
    versions = _versions(organization_id, frozenset(names))
    place = f"mycrm:answer:{_digest(request_key)}"
    found = _find(versions, place, proof, enough)
    if not found:
        return found
    name, answer, *seen = found
    return Slot(name.decode(), answer, versions, seen[0].decode() if seen else "")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _find(
    versions: Versions, name: str, proof: Proof, enough: str = ""
) -> list | tuple | None:
    own, whole = versions.own, versions.whole
    arguments = (
        *(name, secrets.token_urlsafe(9), TOKEN_SECONDS),
        *(len(own), len(proof.keys), len(whole), proof.tokens, enough),
        versions.beginning,
    )
    keys = [*own, *proof.keys, *whole, *proof.needed]
    return _say_once("find", keys, arguments)


def store(
    slot: Slot | None,
    answer: bytes,
    shown: Iterable = (),
    names: Iterable[str] = (),
) -> None:
    """Fill a slot that `find` gave before the answer was made.

    Args:
        shown: the ids of the records that the answer shows, of each of the types that
            the slot is of records of.
        names: of further versions that the answer is made from, which go with whatever
            changes one of these types.
    """
    if not (slot and slot.name):
        return
    versions = slot.versions
    if not versions.types:
        _safely(lambda redis: redis.set(slot.name, answer, ex=ANSWER_SECONDS))
    elif slot.seen:
        records = (f"{name}:{pk}" for name in versions.types for pk in shown)
        told = SEPARATOR.join([*records, *names])
        arguments = (
            *(answer, ANSWER_SECONDS, slot.seen, secrets.token_urlsafe(9)),
            *(TOKEN_SECONDS, versions.beginning, told),
        )
        _say_once("store", [slot.name, *versions.whole], arguments)


def kept(
    organization_id,
    names: Iterable[str],
    request_key: str,
    make: Callable[[], bytes],
) -> bytes:
    """What `make` would give now: from the cache, if it holds that.

    Args:
        names, request_key: as of `find`.
    """
    return _filled(find(organization_id, names, request_key), make)


def kept_part(
    organization_id,
    names: Iterable[str],
    request_key: str,
    make: Callable[[], bytes],
) -> bytes:
    """As `kept`, of a part of several answers: it is not counted as a read."""
    slot = _slot(organization_id, names, request_key, NOTHING)
    return _filled(slot or None, make)


def kept_parts(
    organization_id,
    parts: Mapping[str, Collection[str]],
    request_key: str,
    make: Callable[[Collection[str]], Mapping],
) -> dict:
    """The parts of an answer, of which only those are made that the cache has not.

    They stand in one place, each beside the tokens that it was made at.

    Args:
        parts: by the name of each, the names of the versions that it is made from.
        request_key: as of `find`.
        make: gives some parts, by their names.

    Returns:
        Each part by its name, as it comes from JSON.
    """
    place = f"mycrm:parts:{_digest(f'{organization_id} {request_key}')}"
    names = sorted(set().union(*parts.values()))
    keys = [place, *_version_keys(organization_id, names)]
    said = _say_once("parts", keys, (secrets.token_urlsafe(9), TOKEN_SECONDS))
    stored, *tokens = said or [None] * len(keys)
    token_of = dict(zip(names, tokens, strict=True))
    # Blank where a change is announced: that part is not kept, and so never used.
    seen = {
        part: _together(token_of[name] for name in sorted(of))
        for part, of in parts.items()
    }
    kept = orjson.loads(stored) if stored else {}
    found = {
        part: kept[part][1]
        for part in parts
        if part in kept and kept[part][0] == seen[part]
    }
    missing = [part for part in parts if part not in found]
    if missing:
        found |= orjson.loads(dumps(make(missing)))
        entries = {part: [seen[part], found[part]] for part in parts if seen[part]}
        _safely(lambda redis: redis.set(place, dumps(entries), ex=ANSWER_SECONDS))
    return found


def _together(tokens: Iterable[bytes | None]) -> str:
    """The tokens as one; blank if one of them is not there."""
    tokens = list(tokens)
    return b":".join(tokens).decode() if all(tokens) else ""


def _filled(slot: Slot | None, make: Callable[[], bytes]) -> bytes:
    if slot and slot.answer:
        return slot.answer
    answer = make()
    store(slot, answer)
    return answer


def is_first(name: str, seconds: float) -> bool:
    """Whether nobody asked this of the name for so many seconds; yes without Redis."""
    key, milliseconds = f"mycrm:first:{name}", round(seconds * 1000)
    first = _safely(lambda redis: redis.set(key, b"", nx=True, px=milliseconds))
    return first is not None


def mark(organization_id, names: Iterable[str]) -> Mark:
    """Announce a commit after which these versions are over (`names_of`)."""
    mark = Mark(_version_keys(organization_id, names), secrets.token_urlsafe(9))
    _call("mark", mark.keys, mark.name, MARK_SECONDS, is_urgent=True)
    return mark


def mark_until_commit(organization_id, names: Iterable[str]) -> None:
    """Announce the commit of this transaction, and let it lift the mark."""
    transaction.on_commit(partial(lift, mark(organization_id, names)))


def lift(mark: Mark) -> None:
    """Say that the announced commit is done: readers may fill the cache again."""
    said = _call("lift", mark.keys, mark.name, is_urgent=True)
    if said is AWAY and settings.REDIS_URL:
        overdue.append(mark.keys)


def _make_up(redis) -> None:
    """End the versions whose end could not be told when it came."""
    late = []
    # Other threads may be at it too.
    with suppress(IndexError):
        while True:
            late.append(overdue.popleft())
    try:
        _script("lift")([*chain(*late)], [""], redis)
    except RedisError:
        overdue.extend(late)
        raise


@lru_cache(maxsize=1024)
def _versions(organization_id, names: frozenset[str]) -> Versions:
    """Of these names; most answers are made from what others are made from too."""
    types = sorted(n.removesuffix(SHOWN) for n in names if n.endswith(SHOWN))
    own = names.difference(name + SHOWN for name in types)
    return Versions(
        _beginning(organization_id),
        _version_keys(organization_id, own),
        types,
        _version_keys(organization_id, types),
    )


def _version_keys(organization_id, names: Iterable[str]) -> list[str]:
    beginning = _beginning(organization_id)
    return [f"{beginning}{name}" for name in sorted(set(names))]


def _beginning(organization_id) -> str:
    return f"mycrm:version:{organization_id}:"


@cache
def _script(name: str) -> Script:
    """What Redis runs in one step; each says what its keys and arguments are."""
    return Script(None, (SCRIPTS / f"{name}.lua").read_bytes())


def _say_once(script: str, keys: list[str], arguments: tuple):
    return _safely(lambda redis: said_once(_script(script), keys, arguments, redis))


def _call(script: str, keys: list[str], *arguments, is_urgent=False):
    return _safely(lambda redis: _script(script)(keys, arguments, redis), is_urgent)


def _safely(action: Callable, is_urgent=False):
    """Do it if there is a Redis and it answers; otherwise AWAY.

    Urgent is what others would read something stale without: it is tried even while
    Redis is left alone, for it may be back, and others read from it already.
    """
    if not settings.REDIS_URL or (rest and not is_urgent):
        return AWAY
    from django_redis import get_redis_connection

    try:
        redis = get_redis_connection("default")
        if overdue:
            _make_up(redis)
        return action(redis)
    except RedisError as error:
        rest.begin()
        logger.warning("The cache is away: %s", error)
        return AWAY
