"""The journal's change sets: who changed what together, and undo."""

from django.db.models import Count
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.response import Response

from core import undo
from core.history import ActorSerializer, ApiKeySummarySerializer
from core.models import ChangeSet
from core.origin import origin
from core.serializers import StrictSerializer
from core.views.base import REASON_HEADER, ReadOnlyViewSet, boolean
from core.views.jobs import JobSerializer


class ChangeSetSerializer(serializers.ModelSerializer):
    actor = ActorSerializer(allow_null=True)
    api_key = ApiKeySummarySerializer(allow_null=True)
    undone_by = serializers.PrimaryKeyRelatedField(many=True, read_only=True)

    class Meta:
        model = ChangeSet
        fields = (
            *("id", "actor", "api_key", "source", "reason", "request_id"),
            *("created_at", "undoes", "undone_by"),
        )


class SummarySerializer(serializers.Serializer):
    record_type = serializers.CharField()
    verb = serializers.CharField()
    count = serializers.IntegerField()


class ChangeSetDetailSerializer(ChangeSetSerializer):
    changes = serializers.SerializerMethodField()

    class Meta(ChangeSetSerializer.Meta):
        fields = (*ChangeSetSerializer.Meta.fields, "changes")

    def get_changes(self, change_set) -> SummarySerializer(many=True):
        """How many records of which type were created, updated and so on."""
        groups = change_set.changes.order_by("record_type", "verb")
        return list(groups.values("record_type", "verb").annotate(count=Count("id")))


class UndoRequestSerializer(StrictSerializer):
    partial = serializers.BooleanField(
        default=False,
        help_text="Undo what can be undone, and leave alone what was changed since.",
    )


class LeftoverSerializer(serializers.Serializer):
    record_type = serializers.CharField()
    record_id = serializers.UUIDField()
    field = serializers.CharField(allow_null=True)
    code = serializers.CharField()
    detail = serializers.CharField()


class UndoneSerializer(serializers.Serializer):
    change_set = serializers.UUIDField(allow_null=True)
    undone = serializers.IntegerField()
    conflicts = LeftoverSerializer(many=True)


class ChangeSetViewSet(ReadOnlyViewSet):
    """What the user changed; whoever may see more sees everybody's."""

    model = ChangeSet
    serializer_class = ChangeSetSerializer
    filter_fields = ("source", "actor", "api_key", "created_at")
    takes_dry_run_back = False

    def get_queryset(self):
        queryset = super().get_queryset()
        if self.action == "undo":
            return queryset
        return queryset.select_related("actor", "api_key").prefetch_related("undone_by")

    def get_serializer_class(self):
        if self.action == "retrieve":
            return ChangeSetDetailSerializer
        return super().get_serializer_class()

    @extend_schema(
        request=UndoRequestSerializer,
        responses={
            200: UndoneSerializer,
            202: OpenApiResponse(JobSerializer, "It is large: a job undoes it."),
        },
    )
    @action(detail=True, methods=["post"])
    def undo(self, request, pk):
        """Take a change set back, as far as its records were not changed since."""
        self.refuse_parameters("dry_run")
        serializer = UndoRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        # Locked, so that of two undos at the same time the second sees the first.
        queryset = self.get_queryset().select_for_update(of=("self",))
        change_set = self.get_object(queryset)
        undo.require_undoable(change_set)
        wish = {
            "partial": serializer.validated_data["partial"],
            "reason": request.headers.get(REASON_HEADER, "")[:500],
            **origin(request),
        }
        dry_run = boolean(request, "dry_run")
        if change_set.changes.all()[: undo.AT_ONCE + 1].count() > undo.AT_ONCE:
            job = undo.start(change_set, request.user, dry_run=dry_run, **wish)
            response = Response(JobSerializer(job).data, status.HTTP_202_ACCEPTED)
            path = f"/api/jobs/{job.pk}/"
            response["Location"] = request.build_absolute_uri(path)
            return response
        return Response(undo.undo(change_set, request.user, trial=dry_run, **wish))
