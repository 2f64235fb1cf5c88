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
from lead_management.models import Deal, DealContact, Pipeline
from lead_management.serializers import (
    DealStaySerializer,
    NamedPipelineSerializer,
    StageSummary,
    SumSerializer,
)
from lead_management.views.stays import StaysMixin


@extend_schema_view(stays=extend_schema(responses=DealStaySerializer(many=True)))
class DealViewSet(StaysMixin, RecordViewSet):
    model = Deal
    fields = (
        *("name", "amount", "currency", "pipeline", "stage", "stage_since"),
        *("probability", "expected_close_on", "company", "company_name"),
        *("notes", "tags", "external_ids", "reason", "closed_at"),
    )

    def write(self, changes, record, values):
        """A deal that is open has no end, and what is over has its probability."""
        stage = values.get("stage")
        if "stage" not in values and record.stage_id:
            stage = record.stage
        is_over = stage is not None and stage.is_over
        for name in ("probability",) if is_over else ("reason", "closed_at"):
            if values.get(name):
                detail = f"A deal that is {stage.kind if stage else 'open'} has none."
                raise bad_parameter(name, detail, "not_allowed")
        super().write(changes, record, values)

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
            self._require_place_shown()
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
                raise access.RightMissing(
                    user, Pipeline.record_type(), access.Verb.VIEW
                )
            raise bad_parameter(
                "pipeline", "There is no such pipeline.", "does_not_exist"
            )
        return pipeline


class BoardColumnSerializer(StrictSerializer):
    stage = StageSummary()
    count = serializers.IntegerField()
    sums = SumSerializer(many=True, help_text="Of the deals with an amount.")
    results = DealViewSet.serializer_class(many=True)
    next = serializers.URLField(allow_null=True, help_text="A page of the list.")


class BoardSerializer(StrictSerializer):
    pipeline = NamedPipelineSerializer()
    columns = BoardColumnSerializer(many=True)


extend_schema_view(board=extend_schema(responses=BoardSerializer))(DealViewSet)


class DealContactViewSet(RecordViewSet):
    model = DealContact
    fields = ("deal", "contact", "role")
