from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action

from core import access
from core.exceptions import bad_parameter
from core.filters import ordering_of
from core.pagination import page_size
from core.serializers import StrictSerializer
from core.views import RecordViewSet
from lead_management.board import Board
from lead_management.models import Deal, DealContact, DealStay, Pipeline
from lead_management.serializers import (
    NamedPipelineSerializer,
    StageSummary,
    StaySerializer,
    SumSerializer,
)


class DealViewSet(RecordViewSet):
    model = Deal
    fields = (
        *("name", "amount", "currency", "pipeline", "stage", "probability"),
        *("expected_close_on", "company", "notes", "tags", "external_ids"),
        *("reason", "closed_at"),
    )

    def write(self, changes, record, values):
        """A deal that moves is won or lost anew; one that is open is neither."""
        stage = values.get("stage")
        if stage and stage.pk != record.stage_id:
            values = {"reason": "", "closed_at": None, **values}
        elif "stage" not in values and record.stage_id:
            stage = record.stage
        is_over = stage is not None and stage.is_over
        for name in ("probability",) if is_over else ("reason", "closed_at"):
            if values.get(name):
                detail = f"A deal that is {stage.kind if stage else 'open'} has none."
                raise bad_parameter(name, detail, "not_allowed")
        super().write(changes, record, values)

    @extend_schema(responses=StaySerializer(many=True))
    @action(detail=True, filter_backends=())
    def stays(self, request, pk):
        """The stages that it was in, and for how long, the latest first."""
        self.refuse_parameters("page", "page_size", "cursor")
        deal = self.get_object()
        self._require_stages()
        now = timezone.now()

        def select(stays, extra=()):
            return [
                (
                    {
                        "stage": {
                            name: getattr(stay.stage, name)
                            for name in stay.stage.summary_fields
                        },
                        "entered_at": stay.entered_at,
                        "left_at": stay.left_at,
                        "seconds": int(
                            ((stay.left_at or now) - stay.entered_at).total_seconds()
                        ),
                    },
                    tuple(getattr(stay, name) for name in extra),
                )
                for stay in stays.select_related("stage")
            ]

        stays = DealStay.objects.filter(deal=deal)
        ordering = [("entered_at", True), ("id", True)]
        return self.conditional(
            self.paginator.paginate(request, stays, ordering, select)
        )

    @extend_schema(
        parameters=[
            OpenApiParameter("page_size", int, description="Deals of each column.")
        ],
    )
    @action(
        detail=False,
        pagination_class=None,
        query_parameters=("page_size", "search", "ordering", "fields", "expand"),
    )
    def board(self, request):
        """The stages of a pipeline, the first if not given, with the deals in them.

        Each column counts and sums all of its deals that the filters leave, and shows
        the first of them; `next` leads to the list, where the others are.
        """

        def build():
            self._require_stages()
            deals = self.filter_queryset(self.get_queryset())
            board = Board(self, self._pipeline(), deals, ordering_of(request, self))
            return board.answer(page_size(request)), None

        types, visibility = self._made_from()
        key = access.visibility_key(request.user, Pipeline.record_type())
        return self.cached(
            build, types | {Pipeline.record_type()}, f"{visibility}; pipelines: {key}"
        )

    def _pipeline(self) -> Pipeline:
        user = self.request.user
        asked = self.request.query_params.get("pipeline")
        pipelines = Pipeline.objects.visible_to(user)
        if asked is None:
            pipeline = pipelines.default_of(user.organization_id)
        else:
            pipeline = pipelines.filter(pk=asked).first()
        if pipeline is None:
            if access.is_beyond_key(user, Pipeline.record_type(), access.Verb.VIEW):
                raise access.refusal(user, Pipeline.record_type(), access.Verb.VIEW)
            raise bad_parameter(
                "pipeline", "There is no such pipeline.", "does_not_exist"
            )
        return pipeline

    def _require_stages(self):
        if "stage" in self.field_rights.hidden:
            raise access.PermissionDenied("Your role does not see the stages of deals.")


class ColumnSerializer(StrictSerializer):
    stage = StageSummary()
    count = serializers.IntegerField()
    sums = SumSerializer(many=True, help_text="Of the deals with an amount.")
    results = DealViewSet.serializer_class(many=True)
    next = serializers.URLField(allow_null=True, help_text="A page of the list.")


class BoardSerializer(StrictSerializer):
    pipeline = NamedPipelineSerializer()
    columns = ColumnSerializer(many=True)


extend_schema_view(board=extend_schema(responses=BoardSerializer))(DealViewSet)


class DealContactViewSet(RecordViewSet):
    model = DealContact
    fields = ("deal", "contact", "role")
