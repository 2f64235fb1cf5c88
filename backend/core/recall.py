"""Answers that are given once more before anything else is asked.

Who asks for the same kind of thing again (core.plans), with the same credentials, gets
what the whole way through middlewares, sign-in and view would give. A process remembers
of each kind of request what its answers are made from, the proof that whoever sent it
may have them, and the plan by which a view made one. The answer comes from the cache
(core.cache) in one round trip to Redis, which tells too whether the proof stands; what
is not there is made by the plan. In doubt, and for all else, a request goes the whole
way.
"""

from dataclasses import dataclass
from hashlib import blake2b

from django.db import Error, close_old_connections

from core import cache
from core.conditional import conditional_response, etag_had, etag_of
from core.memory import Memory
from core.plans import REFUSALS, Plan, kind_of, named
from core.renderers import dumps

# What of a request an answer or its headers can depend on, beside path and query.
# Bodies of reads and other headers mean nothing to the API; cookies do not beside an
# `Authorization`.
ASKED = (
    *("HTTP_AUTHORIZATION", "SCRIPT_NAME"),
    *("HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "wsgi.url_scheme"),
    *("HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT", "HTTP_X_FORWARDED_PROTO"),
    "HTTP_ORIGIN",
)
# Headers that `conditional_response` sets, for what is asked this time.
OWN_HEADERS = ("Content-Length", "Content-Type", "ETag")
BREAK = "\n"
# Longer ones, in characters, are seldom asked twice.
LONGEST_QUERY = 900


@dataclass(frozen=True, slots=True)
class Reader:
    """As much of a request's user as is told of it afterwards (core.origin.actor)."""

    pk: object
    organization_id: object


@dataclass(frozen=True, slots=True)
class Place:
    """Where the answers to a kind of request stand, and how they are made.

    Attributes:
        reader: who asks.
        names: of the versions that the answers are made from (core.plans.named).
        visibility: readers with equal texts get equal answers.
        proof: that this reader may have them.
        plan: None where only the view can make one.
    """

    reader: Reader
    names: frozenset[str]
    visibility: str
    proof: cache.Proof
    plan: Plan | None


@dataclass(frozen=True, slots=True)
class Recall:
    place: Place
    headers: tuple[tuple[str, str], ...]
    match: object

    def answer(self, request):
        """The response, if whoever asks may have it and nobody else need be asked."""
        place = self.place
        had = etag_had(request)
        slot = cache.find_again(
            place.reader.organization_id,
            named(place.names, request),
            request_key(request, place.visibility),
            place.proof,
            # The client has the rest.
            had and had + BREAK,
        )
        answer = slot and (slot.answer or self._made(request, slot))
        if not answer:
            return None
        cache.count(slot)
        response = conditional_response(request, *unpacked(answer))
        for name, value in self.headers:
            response.headers[name] = value
        # For what measures and logs: it knows an address by its view.
        request.resolver_match = self.match
        request.user = place.reader
        return response

    def _made(self, request, slot: cache.Slot) -> bytes | None:
        """What the plan gives for the empty slot; None where that is no answer."""
        if not self.place.plan:
            return None
        try:
            answer = packed(*self.place.plan.answer(request))
        except Error:
            # The view goes on with a connection that is not broken.
            close_old_connections()
            return None
        except REFUSALS:
            return None
        cache.store(slot, answer)
        return answer


def request_key(request, visibility: str) -> str:
    """What an answer depends on besides the records: address, query and reader."""
    query = sorted(request.GET.lists())
    where = f"{request.scheme}://{request.get_host()}{request.path}"
    return f"{where} {query} {visibility}"


def packed(answer, version: int | None) -> bytes:
    """An answer as the cache keeps it: the ETag, a line break, and the JSON.

    Args:
        version: of the record, if it is one.
    """
    body = dumps(answer)
    return etag_of(body, version).encode() + BREAK.encode() + body


def unpacked(answer: bytes) -> tuple[bytes, str]:
    """The JSON and the ETag."""
    etag, _, body = answer.partition(BREAK.encode())
    return body, etag.decode()


# Of a thousand people there are some tens of thousands; most have nearly all in common.
recalls = Memory(20_000)
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
        asked = "\n".join([kind_of(request), *[str(meta.get(name)) for name in ASKED]])
        key = blake2b(asked.encode(errors="surrogatepass"), digest_size=16).digest()
        recall = recalls.get(key)
        answer = recall and recall.answer(request)
        if answer:
            return answer
        response = self.get_response(request)
        place = getattr(response, "place", None)
        if place and not response.cookies:
            headers = response.headers.items()
            kept = tuple(pair for pair in headers if pair[0] not in OWN_HEADERS)
            match = request.resolver_match
            recall = Recall(
                Place(
                    parts.same(place.reader),
                    parts.same(place.names),
                    parts.same(place.visibility),
                    place.proof,
                    place.plan,
                ),
                parts.same(kept),
                parts.kept(("match", match.route), lambda: match),
            )
            recalls.put(key, recall)
        return response
