"""One search over all record types."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers

from core import access, cache, finding
from core.exceptions import bad_parameter
from core.filters import MAX_SEARCH_LENGTH, MAX_SEARCH_WORDS
from core.pagination import whole_number
from core.plans import Made, Plan
from core.registry import record_types, searched_types
from core.search import ANY_PART
from core.serializers import StrictSerializer
from core.views.base import ViewSet

DEFAULT_LIMIT = 10
MAX_LIMIT = 50


class MatchSerializer(StrictSerializer):
    field = serializers.CharField()
    text = serializers.CharField(help_text="What stands in the field.")
    ranges = serializers.ListField(
        child=serializers.ListField(
            child=serializers.IntegerField(), min_length=2, max_length=2
        ),
        help_text="The places in the text that were found: [start, end), from 0.",
    )


class HitSerializer(StrictSerializer):
    record_type = serializers.CharField()
    id = serializers.UUIDField()
    score = serializers.FloatField(help_text="How well it fits, from 0 to 1.")
    record = serializers.DictField(help_text="The record's summary.")
    matches = MatchSerializer(many=True)


class SearchResultSerializer(StrictSerializer):
    results = HitSerializer(many=True)


class SearchPlan(Plan):
    """What fits the words of a request."""

    def __init__(self, finder: finding.Finder, organization_id, limit: int):
        self.finder, self.limit = finder, limit
        self.organization_id = organization_id

    def answer(self, request) -> Made:
        wanted = finding.Wanted(self.organization_id, _text(request))
        hits = self.finder.find(wanted, self.limit)
        names = wanted.made_from()
        if names is None:
            names = self.finder.record_types
        records = {f"{hit.record_type}:{hit.record['id']}" for hit in hits}
        content = {"results": [_shown(hit) for hit in hits]}
        return Made(content, names=records.union(names))


class SearchViewSet(ViewSet):
    """Records of all types that fit some words, the best first."""

    pagination_class = None
    filter_backends = ()
    is_recalled = True
    serializer_class = SearchResultSerializer

    @extend_schema(
        operation_id="search",
        parameters=[
            OpenApiParameter(
                "q",
                str,
                required=True,
                description="Parts of names, e-mails or companies, misspelt or without"
                " their accents; or a telephone number, however it is written.",
            ),
            OpenApiParameter(
                "types", str, description="Only these, such as `contact`."
            ),
            OpenApiParameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
                description=f"How many at most; {DEFAULT_LIMIT} if not given.",
            ),
        ],
    )
    def retrieve(self, request):
        self.refuse_parameters("q", "types", "limit")
        user = request.user
        _text(request)
        limit = whole_number(request, "limit", DEFAULT_LIMIT)
        if limit > MAX_LIMIT:
            raise bad_parameter("limit", f"At most {MAX_LIMIT}.", "max_value")
        types = _types(request)

        keys = [f"{name}: {access.visibility_key(user, name)}" for name in types]
        visibility = "; ".join(keys)

        def build():
            finder = finding.finder_of(types, user, visibility)
            return SearchPlan(finder, user.organization_id, limit)

        # People decide what is seen.
        made_from = {user.record_type(), "team", ANY_PART}
        made_from.update(*map(cache.names_of_shown, types))
        return self.cached(build, made_from, visibility)


def _text(request) -> str:
    text = request.GET.get("q", "")
    if "\0" in text:
        raise bad_parameter("q", "Holds a NUL character.")
    if not text.strip():
        raise bad_parameter("q", "Say what to look for.", "required")
    if len(text) > MAX_SEARCH_LENGTH or len(text.split()) > MAX_SEARCH_WORDS:
        detail = f"At most {MAX_SEARCH_WORDS} words, {MAX_SEARCH_LENGTH} characters."
        raise bad_parameter("q", detail, "max_length")
    return text


def _types(request) -> tuple[str, ...]:
    """The types that were asked for and hold words, if the user may see any of them."""
    asked = request.query_params.get("types")
    names = sorted(record_types()) if asked is None else asked.split(",")
    for name in names:
        if name not in record_types():
            raise bad_parameter("types", f"There is no '{name}'.", "unknown_type")
    return tuple(
        name
        for name in dict.fromkeys(names)
        if name in searched_types()
        and access.scope_of(request.user, name, access.Verb.VIEW) != access.Scope.NONE
    )


def _shown(hit: finding.Hit) -> dict:
    return {
        "record_type": hit.record_type,
        "id": hit.record["id"],
        "score": hit.score,
        "record": hit.record,
        "matches": hit.matches,
    }
