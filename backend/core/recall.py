"""Answers that are given once more before anything else is asked.

Who asks the same again with the same credentials gets, in one round trip to Redis, what
the whole way through middlewares, sign-in and view would give: a process remembers of
each such request where its answer stands in the cache (core.cache) and the proof that
whoever sent it may have it. The proof falls with whatever it was made from, the answer
with whatever that was; in doubt, and for all else, a request goes the whole way.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock

from core import cache
from core.conditional import conditional_response

# What of a request an answer or its headers can depend on. Bodies of reads and other
# headers mean nothing to the API; cookies do not beside an `Authorization`.
ASKED = (
    *("HTTP_AUTHORIZATION", "PATH_INFO", "QUERY_STRING", "SCRIPT_NAME"),
    *("HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "wsgi.url_scheme"),
    *("HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT", "HTTP_X_FORWARDED_PROTO"),
    "HTTP_ORIGIN",
)
# Headers that `conditional_response` sets, for what is asked this time.
OWN_HEADERS = ("Content-Length", "Content-Type", "ETag")


class Memory:
    """What a process remembers: at most so much, and the latest used the longest."""

    def __init__(self, size: int):
        self.size = size
        self._entries = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable):
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def put(self, key: Hashable, entry) -> None:
        with self._lock:
            self._entries[key] = entry
            self._entries.move_to_end(key)
            if len(self._entries) > self.size:
                self._entries.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Reader:
    """As much of a request's user as is told of it afterwards (core.origin.actor)."""

    pk: object
    organization_id: object


@dataclass(frozen=True, slots=True)
class Place:
    """Where the answer to a request stands: the arguments of `cache.find_again`."""

    reader: Reader
    record_types: frozenset[str]
    request_key: str
    proof: cache.Proof


@dataclass(frozen=True, slots=True)
class Recall:
    place: Place
    headers: tuple[tuple[str, str], ...]
    match: object

    def answer(self, request):
        """The response, if the answer still stands there for whoever asks."""
        place = self.place
        answer = cache.find_again(
            place.reader.organization_id,
            place.record_types,
            place.request_key,
            place.proof,
        )
        if answer is None:
            return None
        etag, _, body = answer.partition(b"\n")
        response = conditional_response(request, body, etag.decode())
        for name, value in self.headers:
            response.headers[name] = value
        # For what measures and logs: it knows an address by its view.
        request.resolver_match = self.match
        request.user = place.reader
        return response


recalls = Memory(4000)


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
        if request.method not in ("GET", "HEAD") or "HTTP_AUTHORIZATION" not in meta:
            return self.get_response(request)
        asked = "\n".join([str(meta.get(name)) for name in ASKED])
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
            recalls.put(key, Recall(place, kept, request.resolver_match))
        return response
