"""Answers that are given once more before anything else is asked.

Who asks for the same kind of thing (core.plans) as somebody with equal rights did gets
what the whole way through middlewares, sign-in and view would give. A process remembers
who came with which credentials, with the proof of it, and of each kind of request and
those rights what its answers are made from. The answer comes from the cache
(core.cache) in one round trip to Redis, which tells too whether the proof stands; what
is not there is made by the plan of a view. In doubt, and for all else, a request goes
the whole way.
"""

import time
from dataclasses import dataclass
from hashlib import blake2b

from django.db import Error, close_old_connections

from core import cache
from core.conditional import conditional_response, etag_had, etag_of
from core.memory import Memory
from core.plans import (
    LONGEST_QUERY,
    REFUSALS,
    Made,
    Plan,
    address_of,
    named,
    plan_key,
    plans,
)
from core.renderers import dumps

# What of a request an answer or its headers can depend on, beside path, query and who
# asks. Bodies of reads and other headers mean nothing to the API; cookies do not beside
# an `Authorization`.
ASKED = (
    *("SCRIPT_NAME", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "wsgi.url_scheme"),
    *("HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT", "HTTP_X_FORWARDED_PROTO"),
    "HTTP_ORIGIN",
)
# Headers that `conditional_response` sets, for what is asked this time.
OWN_HEADERS = ("Content-Length", "Content-Type", "ETag")
BREAK = "\n"
# In the place of the reader's id.
ME = "{me}"


@dataclass(frozen=True, slots=True)
class Reader:
    """Who asks: as much of a user as an answer, and what is told of it, depends on.

    Attributes:
        proof: that the credentials are theirs, and that they have these rights.
        rights: equal for users who may do the same, but to what is their own.
    """

    pk: object
    organization_id: object
    proof: cache.Proof
    rights: str

    @classmethod
    def of(cls, user) -> "Reader":
        # The same role is another one after a change, and so is its proof.
        rights = _digest(f"{user.rights_key} {user.proof.shared}")
        return cls(user.pk, user.organization_id, user.proof, rights)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the answers to a kind of request stand.

    Attributes:
        names: of the versions that the answers are made from (core.plans.named).
        visibility: readers with equal texts get equal answers. Of readers with equal
            rights, the texts differ by their ids alone.
        until: when it is another by itself, in seconds since the epoch.
    """

    reader: Reader
    names: frozenset[str]
    visibility: str
    until: float = cache.NEVER


@dataclass(frozen=True, slots=True)
class Recall:
    """What a kind of request from readers with some rights is answered from.

    Attributes:
        names, visibility, until: of a Place, but with ME for the reader's id.
        headers: of the answers.
        match: the view, by its address.
    """

    names: frozenset[str]
    visibility: str
    until: float
    headers: tuple[tuple[str, str], ...]
    match: object

    def answer(self, request, reader: Reader, kind: str):
        """The response, if the reader may have it and nobody else need be asked.

        Args:
            kind: of the request.
        """
        if time.time() >= self.until:
            return None
        had = etag_had(request)
        visibility = self.visibility.replace(ME, str(reader.pk))
        slot = cache.find_again(
            reader.organization_id,
            named(self.names, request, reader),
            request_key(request, visibility),
            reader.proof,
            # The client has the rest.
            had and had + BREAK,
        )
        if not slot:
            return None
        answer = slot.answer
        if not answer:
            key = plan_key(kind, reader.organization_id, visibility, reader.proof)
            answer = _made(request, plans.get(key), slot)
        if not answer:
            return None
        cache.count(slot)
        response = conditional_response(request, *unpacked(answer))
        for name, value in self.headers:
            response.headers[name] = value
        # For what measures and logs: it knows an address by its view.
        request.resolver_match = self.match
        request.user = reader
        return response


def _made(request, plan: Plan | None, slot: cache.Slot) -> bytes | None:
    """What the plan gives for the empty slot; None where that is no answer."""
    if not plan:
        return None
    try:
        made = plan.answer(request)
    except Error:
        # The view goes on with a connection that is not broken.
        close_old_connections()
        return None
    except REFUSALS:
        return None
    answer = packed(made)
    cache.store(slot, answer, made.shown, made.names)
    return answer


def request_key(request, visibility: str) -> str:
    """What an answer depends on besides the records: address, query and reader."""
    where = f"{request.scheme}://{request.get_host()}{request.path}"
    return f"{where} {address_of(request).query} {visibility}"


def packed(made: Made) -> bytes:
    """An answer as the cache keeps it: the ETag, a line break, and the JSON."""
    body = dumps(made.content)
    return etag_of(body, made.version).encode() + BREAK.encode() + body


def unpacked(answer: bytes) -> tuple[bytes, str]:
    """The JSON and the ETag."""
    etag, _, body = answer.partition(BREAK.encode())
    return body, etag.decode()


def _digest(text: str) -> str:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


# By the `Authorization` that they came with.
readers = Memory(5000)
recalls = Memory(5000)
# Most recalls have nearly all in common.
parts = Memory(5000)


class RecallMiddleware:
    """Gives what is remembered, and remembers what a view says can be.

    A view says so by the `place` of its response. What stands before this middleware
    sees every request, what stands after it only those that go the whole way; so the
    headers that all answers get are remembered too.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        meta = request.META
        if (
            request.method not in ("GET", "HEAD")
            or "HTTP_AUTHORIZATION" not in meta
            or len(meta.get("QUERY_STRING", "")) > LONGEST_QUERY
        ):
            return self.get_response(request)
        credentials = _digest(meta["HTTP_AUTHORIZATION"])
        kind = address_of(request).kind
        asked = "\n".join([kind, *[str(meta.get(name)) for name in ASKED]])
        reader = readers.get(credentials)
        recall = reader and recalls.get(_digest(asked + reader.rights))
        answer = recall and recall.answer(request, reader, kind)
        if answer:
            return answer
        response = self.get_response(request)
        place = getattr(response, "place", None)
        if place and not response.cookies:
            reader = place.reader
            headers = response.headers.items()
            match = request.resolver_match
            recall = Recall(
                parts.same(place.names),
                parts.same(place.visibility.replace(str(reader.pk), ME)),
                place.until,
                parts.same(
                    tuple(pair for pair in headers if pair[0] not in OWN_HEADERS)
                ),
                parts.kept(("match", match.route), lambda: match),
            )
            readers.put(credentials, reader)
            recalls.put(_digest(asked + reader.rights), recall)
        return response
