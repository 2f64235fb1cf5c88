"""One change for many records, as a job."""

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response

from core import access
from core.bulk import job as bulk_job
from core.bulk.changes import BulkChange
from core.bulk.serializers import bulk_serializer
from core.origin import origin
from core.views.base import REASON_HEADER, boolean
from core.views.jobs import JobErrorSerializer, JobSerializer

SHOWN_ERRORS = 100


class TrialSerializer(serializers.Serializer):
    """What a dry run says at once: the same as the job that does it would."""

    status = serializers.CharField()
    total = serializers.IntegerField()
    counts = serializers.DictField(child=serializers.IntegerField())
    errors = JobErrorSerializer(many=True)


class BulkMixin:
    """`bulk/` for a record type's view."""

    # What can be done in bulk beside edits and deletion, by its name in `change`.
    bulk_changes: dict[str, type[BulkChange]] = {}

    def get_serializer_class(self):
        if self.action == "bulk":
            return bulk_serializer(type(self))
        return super().get_serializer_class()

    @extend_schema(
        responses={
            200: OpenApiResponse(TrialSerializer, "A dry run of few records."),
            202: OpenApiResponse(JobSerializer, "A job does it."),
        },
    )
    @action(
        detail=False,
        methods=["post"],
        takes_dry_run_back=False,
        filter_backends=(),
        pagination_class=None,
    )
    def bulk(self, request):
        """Change all records of a filter, or of a list of ids, in one change set.

        The answer is a job. Its `counts`: `matched` is the sum of `changed`,
        `unchanged`, `refused` (also by reason, such as `no_right_to_edit`) and
        `failed` (`errors/` of the job tells why, by id); `not_found` counts ids of no
        record that you see. Records made after the start are left out.
        """
        self.refuse_parameters("dry_run")
        access.require_some(request.user, self.record_type, access.Verb.VIEW)
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        wish = serializer.validated_data
        selection = (
            {"ids": sorted({str(pk) for pk in wish["ids"]})}
            if "ids" in wish
            else {"filter": request.data["filter"]}
        )
        job = bulk_job.new_job(
            request.user,
            self.model,
            selection,
            request.data["change"],
            dry_run=wish["dry_run"] or boolean(request, "dry_run"),
            reason=request.headers.get(REASON_HEADER, "")[:500],
            **origin(request),
        )
        try:
            found = bulk_job.selected(request.user, self.model, selection)
        except ValidationError as error:
            raise ValidationError({"filter": error.detail}) from None
        size = bulk_job.CHUNK_RECORDS
        few = len(selection.get("ids", ())) < size
        if job.params["dry_run"] and few and found.order_by()[:size].count() < size:
            errors = bulk_job.trial(job)[:SHOWN_ERRORS]
            answer = {
                "status": job.status,
                "total": job.total,
                "counts": job.counts,
                "errors": JobErrorSerializer(
                    errors, many=True, context=self.get_serializer_context()
                ).data,
            }
            return Response(answer)
        bulk_job.submit(job)
        response = Response(JobSerializer(job).data, status.HTTP_202_ACCEPTED)
        path = f"/api/jobs/{job.pk}/"
        response["Location"] = request.build_absolute_uri(path)
        return response
