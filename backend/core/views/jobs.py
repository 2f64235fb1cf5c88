"""Work in the background: what it does now, and stopping it."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from core import access, job_errors, jobs
from core.exceptions import Conflict
from core.models import Job, JobError
from core.views.base import ReadOnlyViewSet


class JobErrorSerializer(serializers.ModelSerializer):
    class Meta:
        model = JobError
        fields = ("line", "column", "code", "message", "row")

    def to_representation(self, error):
        """As far as the reader may see the fields that it is about."""
        answer = super().to_representation(error)
        return {**answer, **job_errors.shown(error, self.context["request"].user)}


class FailureSerializer(serializers.Serializer):
    code = serializers.CharField()
    detail = serializers.CharField()
    line = serializers.IntegerField(allow_null=True)


class JobSerializer(serializers.ModelSerializer):
    """`total` and `done` count rows or records; `counts` depend on the kind."""

    error = FailureSerializer(allow_null=True)
    counts = serializers.DictField(child=serializers.IntegerField())

    class Meta:
        model = Job
        fields = (
            *("id", "kind", "status", "total", "done", "counts", "error"),
            *("change_set", "cancel_requested", "owner"),
            *("created_at", "started_at", "finished_at"),
        )


class JobViewSet(ReadOnlyViewSet):
    """The jobs that the user asked for; an administrator sees everybody's."""

    model = Job
    serializer_class = JobSerializer
    filter_fields = ("kind", "status", "created_at")

    @extend_schema(responses=JobErrorSerializer(many=True))
    @action(detail=True, filter_backends=())
    def errors(self, request, pk):
        """What the job could not do, in the order of the file."""
        self.refuse_parameters(*self.query_parameters)
        return self.page_of(
            self.get_object().errors.all(),
            [("id", False)],
            JobErrorSerializer,
        )

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def cancel(self, request, pk):
        """Stop after the chunk at work; what was done stays, and can be undone."""
        self.refuse_parameters("dry_run")
        self.refuse_body()
        job = self.get_object(self.get_queryset().select_for_update(of=("self",)))
        access.require(request.user, job, access.Verb.EDIT)
        if not job.is_active:
            raise Conflict(f"The job is {job.status} already.", "not_active")
        jobs.cancel(job)
        return Response(self.get_serializer(job).data)
