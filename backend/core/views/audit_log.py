"""The audit log: who did what, when, and from where."""

from collections.abc import Iterator

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action

from core import access, audit, csvfile, merging
from core.history import ActorSerializer, ApiKeySummarySerializer
from core.models import SecurityEvent
from core.permissions import require_recent_sign_in
from core.security import note
from core.views.base import ViewSet

EXPORT_BATCH = 1000
COLUMNS = [
    *("created_at", "kind", "action", "actor_email", "record_type", "record_id"),
    *("version", "before", "after", "detail", "source", "reason", "address"),
    *("user_agent", "request_id", "change_set", "actor_id", "id"),
    *("api_key_name", "api_key_id"),
]


class AuditEntrySerializer(serializers.Serializer):
    """The OpenAPI shape of what `core.audit` gives."""

    id = serializers.CharField()
    kind = serializers.CharField(help_text="`change` or `security`.")
    action = serializers.CharField(help_text="A change's verb or an event's kind.")
    actor = ActorSerializer(allow_null=True)
    api_key = ApiKeySummarySerializer(
        allow_null=True, help_text="The key that the actor came with."
    )
    record_type = serializers.CharField()
    record_id = serializers.UUIDField(allow_null=True)
    version = serializers.IntegerField(allow_null=True)
    before = serializers.DictField(help_text="The changed fields before.")
    after = serializers.DictField(
        help_text="The changed fields after; of a creation the history tells them."
    )
    detail = serializers.DictField(help_text="Of a security event.")
    source = serializers.CharField(allow_null=True)
    reason = serializers.CharField()
    address = serializers.CharField()
    user_agent = serializers.CharField()
    request_id = serializers.CharField()
    created_at = serializers.DateTimeField()
    change_set = serializers.UUIDField(allow_null=True)


class AuditLogViewSet(ViewSet):
    """Changes and security events, for those whose role has the right `auditlog`."""

    model = SecurityEvent
    record_type = audit.RIGHT
    queryset = SecurityEvent.objects.none()
    serializer_class = AuditEntrySerializer
    # Both logs have the same filters; the schema shows those of this one.
    filterset_class = audit.LOGS[-1].filterset

    @property
    def query_parameters(self):
        return () if self.action == "export" else ViewSet.query_parameters

    def list(self, request):
        rows = self._rows(access.Verb.VIEW)
        return self.conditional(audit.page(request, rows))

    @extend_schema(filters=True, responses={(200, "text/csv"): OpenApiTypes.STR})
    @action(detail=False, pagination_class=None)
    def export(self, request):
        """All that the filters find, as CSV; that it was asked for is an event too."""
        rows = self._rows(access.Verb.EXPORT)
        require_recent_sign_in(request)
        note(
            request,
            SecurityEvent.Kind.EXPORT,
            request.user,
            record_type=audit.RIGHT,
            query=request.META["QUERY_STRING"],
        )
        return StreamingHttpResponse(
            csvfile.lines(COLUMNS, _batches(rows, request.user)),
            content_type="text/csv; charset=utf-8",
            headers={
                "Content-Disposition": 'attachment; filename="audit-log.csv"',
                "Cache-Control": "no-store",
            },
        )

    def _rows(self, verb: str) -> list:
        """What the filters find in each log, if the user's role has the right."""
        access.require_some(self.request.user, audit.RIGHT, verb)
        rows = []
        for log in audit.LOGS:
            self.filterset_class = log.filterset
            visible = log.visible_to(self.request.user, verb)
            rows.append(self.filter_queryset(visible))
        return rows


def _batches(rows, user) -> Iterator[list[dict]]:
    start = None
    streams = audit.streams(rows)
    while found := merging.places(streams, EXPORT_BATCH, start):
        yield [_flat(entry) for entry in audit.entries(found, user)]
        start = found[-1]


def _flat(entry: dict) -> dict:
    actor = entry["actor"] or {"id": None, "email": None}
    api_key = entry["api_key"] or {"id": None, "name": None}
    return {
        **entry,
        "actor_id": actor["id"],
        "actor_email": actor["email"],
        "api_key_id": api_key["id"],
        "api_key_name": api_key["name"],
    }
