"""Export of records: asking for a file, and fetching it."""

from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.response import Response

from core import access
from core.exceptions import Conflict, Gone
from core.exporting import job as exports
from core.exporting.formats import CONTENT_TYPES, Format
from core.exporting.vcard import VERSIONS
from core.exporting.wish import Wish
from core.models import Job
from core.origin import origin
from core.permissions import require_recent_sign_in
from core.registry import record_types
from core.serializers import StrictSerializer
from core.views.jobs import FailureSerializer, JobViewSet


class ExportRequestSerializer(StrictSerializer):
    """What to export, and how."""

    record_type = serializers.CharField(help_text="Such as `contact`.")
    format = serializers.ChoiceField(Format.choices, default=Format.CSV)
    filters = serializers.DictField(
        default=dict,
        help_text="The parameters of the list, with `search` and `deleted`, such as"
        ' `{"status": "active", "owner": "me"}`; `{}` means all.',
    )
    fields = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        allow_empty=False,
        help_text="Fields of the list; all if not given.",
    )
    ordering = serializers.CharField(
        required=False, help_text="As of the list; the list's own if not given."
    )
    version = serializers.ChoiceField(
        VERSIONS, default=VERSIONS[0], help_text="Of vCards."
    )

    def validate_record_type(self, name):
        if name not in record_types():
            raise ValidationError(
                f"One of: {', '.join(record_types())}.", "invalid_choice"
            )
        return name


class ExportSerializer(serializers.ModelSerializer):
    """An export: what was asked, how far it is, and where its file is."""

    record_type = serializers.CharField(source="params.record_type")
    format = serializers.CharField(source="params.format")
    filters = serializers.SerializerMethodField()
    fields = serializers.SerializerMethodField("get_asked_fields")
    ordering = serializers.CharField(source="params.ordering")
    error = FailureSerializer(allow_null=True)
    shortened = serializers.IntegerField(
        source="counts.shortened",
        default=0,
        help_text="Texts that were longer than a cell of a workbook can be.",
    )
    size = serializers.IntegerField(
        source="state.size", default=None, allow_null=True, help_text="In bytes."
    )
    expires_at = serializers.SerializerMethodField()
    download = serializers.SerializerMethodField()

    class Meta:
        model = Job
        fields = (
            *("id", "status", "record_type", "format"),
            *("filters", "fields", "ordering"),
            *("total", "done", "shortened", "size", "error"),
            *("expires_at", "download", "cancel_requested", "owner"),
            *("created_at", "started_at", "finished_at"),
        )

    def get_filters(self, job) -> dict:
        """As asked, without what the reader's role hides."""
        asked = job.params["filters"].items()
        rights = self._rights(job)
        return {name: v for name, v in asked if not rights.hides_path(name)}

    def get_asked_fields(self, job) -> list[str] | None:
        """As asked, without what the reader's role hides; null for all."""
        asked, hidden = job.params["fields"], self._rights(job).hidden
        return asked and [name for name in asked if name not in hidden]

    def _rights(self, job):
        user = self.context["request"].user
        return access.field_rights(user, job.params["record_type"])

    def get_expires_at(self, job) -> serializers.DateTimeField(allow_null=True):
        return exports.expires_at(job)

    def get_download(self, job) -> serializers.URLField(allow_null=True):
        """The address of the file, while it is there."""
        if not exports.has_file(job):
            return None
        path = f"/api/exports/{job.pk}/download/"
        return self.context["request"].build_absolute_uri(path)


class ExportViewSet(JobViewSet):
    """Exports of records; with the same rights as the lists, and that to export."""

    serializer_class = ExportSerializer
    filter_fields = ("status", "created_at")

    def get_queryset(self):
        return super().get_queryset().filter(kind=exports.KIND)

    @extend_schema(request=ExportRequestSerializer, responses={202: ExportSerializer})
    def create(self, request):
        """Ask for a file; the answer is a job to be looked at until it is done."""
        self.refuse_parameters("dry_run")
        serializer = ExportRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        wish = Wish(**serializer.validated_data)
        job = exports.start(request.user, wish, **origin(request))
        if wish.is_of_everything:
            require_recent_sign_in(request)
        response = Response(self.get_serializer(job).data, status.HTTP_202_ACCEPTED)
        response["Location"] = request.build_absolute_uri(f"{request.path}{job.pk}/")
        return response

    @extend_schema(
        responses={
            **{(200, kind): OpenApiTypes.BINARY for kind in CONTENT_TYPES.values()},
            409: OpenApiResponse(description="It is not finished: `not_finished`."),
            410: OpenApiResponse(description="It is not kept any more: `expired`."),
        }
    )
    @action(detail=True, filter_backends=(), pagination_class=None)
    def download(self, request, pk):
        """The file, for who may export now what is in it."""
        self.refuse_parameters()
        return download(request, self.get_object())


def download(request, job: Job) -> FileResponse:
    """The file of an export that the user of the request sees.

    Raises:
        PermissionDenied: they may not, or not any more, export what is in it.
        Conflict: it is not finished, or never will be.
        Gone: it is not kept any more.
    """
    access.require_some(request.user, job.params["record_type"], access.Verb.EXPORT)
    if job.status != Job.Status.DONE:
        raise Conflict(f"The export is {job.status}.", "not_finished")
    if not exports.may_fetch(request.user, job):
        raise PermissionDenied("There is something in it that you may not export.")
    if not exports.has_file(job):
        raise Gone("The file is not kept any more: export again.", "expired")
    if request.method != "HEAD":
        exports.note(job, request.user, request, step="fetched")
    return FileResponse(
        exports.file_of(job.pk).open("rb"),
        as_attachment=True,
        filename=exports.file_name(job),
        content_type=exports.content_type(job),
        headers={
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )
