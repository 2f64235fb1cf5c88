"""Import of files: upload, progress, result."""

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response

from core import access, job_errors
from core.importing.job import KIND, start
from core.importing.mapping import ColumnMap
from core.importing.rows import Mode
from core.models import Job
from core.origin import origin
from core.parsers import loads
from core.registry import record_types
from core.serializers import StrictSerializer
from core.views.base import boolean
from core.views.jobs import JobErrorSerializer, JobSerializer, JobViewSet

SHOWN_ERRORS = 100


class ImportRequestSerializer(StrictSerializer):
    """What to import, and how."""

    file = serializers.FileField(
        max_length=255, help_text="Delimited text: UTF-8, UTF-16 or Windows-1252."
    )
    record_type = serializers.CharField(help_text="Such as `contact`.")
    mapping = serializers.CharField(
        required=False,
        allow_blank=True,
        help_text="JSON: the name of a column to the field that it goes to, or null to"
        " leave it out. Suggested from the headers if not given.",
    )
    mode = serializers.ChoiceField(Mode.choices, default=Mode.CREATE)
    dry_run = serializers.BooleanField(default=False)

    def validate_file(self, file):
        if file.size > settings.IMPORT_MAX_BYTES:
            limit = settings.IMPORT_MAX_BYTES // 2**20
            raise ValidationError(f"At most {limit} MiB.", "too_large")
        return file

    def validate_record_type(self, name):
        if name not in record_types():
            raise ValidationError(
                f"One of: {', '.join(record_types())}.", "invalid_choice"
            )
        return record_types()[name]

    def validate_mapping(self, text):
        try:
            mapping = loads(text.encode())
        except ParseError as error:
            raise ValidationError(str(error.detail), "not_json") from None
        if mapping is None:
            raise ValidationError("Give an object of texts.", "not_an_object")
        return mapping


class ImportSerializer(JobSerializer):
    """An import: what was asked, how far it is, and what became of the rows."""

    file_name = serializers.CharField(source="params.file_name")
    record_type = serializers.CharField(source="params.record_type")
    mode = serializers.CharField(source="params.mode")
    dry_run = serializers.BooleanField(source="params.dry_run")
    mapping = serializers.SerializerMethodField()
    created = serializers.IntegerField(source="counts.created")
    updated = serializers.IntegerField(source="counts.updated")
    skipped = serializers.IntegerField(source="counts.skipped")
    failed = serializers.IntegerField(source="counts.failed")
    skipped_because = serializers.SerializerMethodField()
    unknown_owners = serializers.SerializerMethodField()
    errors = serializers.SerializerMethodField()

    class Meta:
        model = Job
        fields = (
            *("id", "status", "file_name", "record_type", "mode", "dry_run"),
            *("mapping", "total", "done", "created", "updated", "skipped", "failed"),
            *("skipped_because", "unknown_owners", "error", "errors", "change_set"),
            *("cancel_requested", "owner", "created_at", "started_at", "finished_at"),
        )

    def get_mapping(self, job) -> dict[str, str | None]:
        """Each column of the file and the field that it goes to."""
        mapping = ColumnMap(**job.params["columns"]).as_dict()
        for column in job_errors.hidden_columns(job, self.context["request"].user):
            del mapping[column]
        return mapping

    def get_skipped_because(self, job) -> dict[str, int]:
        """How many rows were skipped as blank, exists, not_found or unchanged."""
        return job.state.get("skipped_because", {})

    def get_unknown_owners(self, job) -> dict[str, int]:
        """Owners in the file who are no users here; the importer owns their rows."""
        user = self.context["request"].user
        if "owner" in access.hidden_fields(user, job.params["record_type"]):
            return {}
        return job.state.get("unknown_owners", {})

    def get_errors(self, job) -> JobErrorSerializer(many=True):
        """The first of the errors; `errors/` has them all."""
        errors = job.errors.all()[:SHOWN_ERRORS]
        return JobErrorSerializer(errors, many=True, context=self.context).data


class ImportViewSet(JobViewSet):
    """Imports; with the same rights as the API itself, row by row."""

    serializer_class = ImportSerializer
    filter_fields = ("status", "created_at")
    takes_dry_run_back = False

    def get_parsers(self):
        return super().get_parsers() if self.detail else [MultiPartParser()]

    def get_queryset(self):
        return super().get_queryset().filter(kind=KIND)

    @extend_schema(request=ImportRequestSerializer, responses={202: ImportSerializer})
    def create(self, request):
        """Upload a file; the answer is a job to be looked at until it is done."""
        self.refuse_parameters("dry_run")
        serializer = ImportRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        wish = serializer.validated_data
        job = start(
            request.user,
            wish["file"],
            wish["record_type"],
            wish.get("mapping"),
            mode=wish["mode"],
            dry_run=wish["dry_run"] or boolean(request, "dry_run"),
            file_name=wish["file"].name,
            **origin(request),
        )
        response = Response(self.get_serializer(job).data, status.HTTP_202_ACCEPTED)
        response["Location"] = request.build_absolute_uri(f"{request.path}{job.pk}/")
        return response
