"""What happened with a record, and what was changed."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action

from core.exceptions import bad_parameter
from core.timeline import Timeline, TimelineEntrySerializer, kinds


class TimelineMixin:
    """`timeline/` for a record type's view."""

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "kind", description="Of the entries: `change`, or a record's type."
            )
        ],
        responses=TimelineEntrySerializer(many=True),
    )
    @action(detail=True, filter_backends=())
    def timeline(self, request, pk):
        """Its changes, and what happened with it, the newest first."""
        self.refuse_parameters("page", "page_size", "cursor", "kind")
        record = self.get_object(self.get_everything())
        kind = request.query_params.get("kind")
        if kind is not None and kind not in (known := kinds(self.model)):
            raise bad_parameter("kind", f"Give one of: {', '.join(known)}.")
        return self.conditional(Timeline(record, request.user, kind).page(request))
