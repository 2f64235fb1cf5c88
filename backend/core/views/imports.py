"""Import of files: upload, preview, progress, result."""

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError as InvalidRecord
from django.http import FileResponse, StreamingHttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.response import Response

from core import job_errors
from core.importing import errorfile
from core.importing.drafts import may_own
from core.importing.job import KIND, require_rights, start
from core.importing.mapping import ColumnMap, split_tags
from core.importing.options import Blank, Mode
from core.importing.preview import preview
from core.importing.uploads import receive
from core.models import ImportMapping, Job, JobSkip, Upload
from core.origin import origin
from core.parsers import StrictJSONParser, UploadParser, loads
from core.problems import from_django
from core.registry import importable_types
from core.serializers import AutoAssignField, StrictSerializer
from core.views.base import boolean
from core.views.jobs import JobErrorSerializer, JobSerializer, JobViewSet
from core.views.records import RecordViewSet

SHOWN_ERRORS = 100


@extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
class MappingField(serializers.Field):
    """An object; in a form, where there are only texts, as JSON."""

    def to_internal_value(self, data):
        if isinstance(data, str):
            if not data.strip():
                return None
            try:
                data = loads(data.encode(errors="replace"))
            except ParseError as error:
                raise ValidationError(str(error.detail), "not_json") from None
        if data is None:
            raise ValidationError("Give an object of texts.", "not_an_object")
        return data


@extend_schema_field({"type": "array", "items": {"type": "string"}})
class TagsOfAllField(serializers.Field):
    """A list of tags, or one text of them, separated by commas."""

    def to_internal_value(self, data):
        if isinstance(data, str):
            data = split_tags(data)
        if not isinstance(data, list) or not all(isinstance(tag, str) for tag in data):
            raise ValidationError("Give a list of texts.", "not_a_list")
        if len(data) > 50 or any(not 0 < len(tag.strip()) <= 100 for tag in data):
            detail = "At most 50 names of 1 to 100 characters."
            raise ValidationError(detail, "max_length")
        return [tag.strip() for tag in data]


class SourceSerializer(StrictSerializer):
    """A file, or one that was uploaded before, and as what it is read."""

    file = serializers.FileField(
        max_length=255,
        required=False,
        help_text="Delimited text of any encoding, an Excel workbook, or vCards.",
    )
    upload = serializers.UUIDField(
        required=False, help_text="Instead of a file: the id that a preview gave."
    )
    record_type = serializers.CharField(help_text="Such as `contact`.")
    mapping = MappingField(
        required=False,
        help_text="The name of a column to the field that it goes to, or null to leave"
        " it out; in a form, as JSON. If not given, the one saved for this header line,"
        " or a suggestion.",
    )
    encoding = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=40,
        help_text="Such as `cp1251`, where what was found is wrong.",
    )
    sheet = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=200,
        help_text="Of a workbook; the first that holds something if not given.",
    )
    match = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=70,
        help_text="By what a row means a record: `id`, or `external_ids.<system>`; if"
        " not given, the rules of the record type, such as the e-mail address.",
    )

    def validate_file(self, file):
        if file.size > settings.IMPORT_MAX_BYTES:
            limit = settings.IMPORT_MAX_BYTES // 2**20
            raise ValidationError(f"At most {limit} MiB.", "too_large")
        return file

    def validate_upload(self, pk):
        upload = Upload.objects.filter(owner=self.context["request"].user, pk=pk)
        upload = upload.first()
        if upload is None or not upload.path.exists():
            raise ValidationError("There is no such upload.", "does_not_exist")
        return upload

    def validate_record_type(self, name):
        if name not in importable_types():
            raise ValidationError(
                f"One of: {', '.join(importable_types())}.", "invalid_choice"
            )
        return importable_types()[name]

    def validate(self, wish):
        if "file" in wish and "upload" in wish:
            detail = "Give a file or an upload, not both."
            raise ValidationError({"upload": serializers.ErrorDetail(detail, "both")})
        if "file" not in wish and "upload" not in wish:
            detail = serializers.ErrorDetail("Give a file or an upload.", "required")
            raise ValidationError({"file": detail})
        return wish


class ImportRequestSerializer(SourceSerializer):
    """What to import, and how."""

    mode = serializers.ChoiceField(Mode.choices, default=Mode.CREATE)
    blank = serializers.ChoiceField(
        Blank.choices,
        default=Blank.IGNORE,
        help_text="Whether a blank cell leaves what the record has, or clears it.",
    )
    owner = serializers.UUIDField(
        required=False, allow_null=True, help_text="The user who gets all rows."
    )
    tags = TagsOfAllField(required=False, help_text="For all rows.")
    auto_assign = AutoAssignField(
        default=False,
        help_text="Whether rules choose the owners of new leads whose rows name none:"
        " true, or the id of the one that does.",
    )
    save_mapping_as = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=100,
        help_text="A name, to use where the columns go again for files like this.",
    )
    dry_run = serializers.BooleanField(default=False)

    def validate(self, wish):
        wish = super().validate(wish)
        if wish.get("owner"):
            user = self.context["request"].user
            people = get_user_model().objects.visible_to(user).filter(is_active=True)
            owner = people.filter(pk=wish["owner"]).first()
            if owner is None or not may_own(owner, user, wish["record_type"]):
                detail = "There is no such user whom you may give records."
                raise ValidationError(
                    {"owner": serializers.ErrorDetail(detail, "does_not_exist")}
                )
            wish["owner"] = owner
        try:
            user = self.context["request"].user
            wish["record_type"].check_auto_assign(wish["auto_assign"], user)
        except InvalidRecord as error:
            raise from_django(InvalidRecord({"auto_assign": error})) from None
        return wish


class ColumnSerializer(serializers.Serializer):
    name = serializers.CharField()
    target = serializers.CharField(allow_null=True)
    is_guess = serializers.BooleanField(
        help_text="Its name is only like a known one: look at it."
    )
    samples = serializers.ListField(child=serializers.CharField())


class TargetSerializer(serializers.Serializer):
    name = serializers.CharField()
    label = serializers.CharField()
    kind = serializers.CharField()
    choices = serializers.ListField(child=serializers.CharField())


class WarningSerializer(serializers.Serializer):
    code = serializers.CharField()
    detail = serializers.CharField()


class SavedMappingSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()


class PreviewSerializer(serializers.Serializer):
    """How a file was read, and where its columns would go."""

    upload = serializers.UUIDField(help_text="To preview again, and to import.")
    file_name = serializers.CharField()
    record_type = serializers.CharField()
    format = serializers.CharField(help_text="csv, xlsx or vcard.")
    encoding = serializers.CharField()
    encoding_is_sure = serializers.BooleanField()
    delimiter = serializers.CharField()
    header_line = serializers.IntegerField()
    sheet = serializers.CharField()
    sheets = serializers.ListField(child=serializers.CharField())
    columns = ColumnSerializer(many=True)
    targets = TargetSerializer(many=True)
    saved_mapping = SavedMappingSerializer(allow_null=True)
    warnings = WarningSerializer(many=True)


class SkipSerializer(serializers.ModelSerializer):
    class Meta:
        model = JobSkip
        fields = ("line", "reason", "first_line")


class ImportSerializer(JobSerializer):
    """An import: what was asked, how far it is, and what became of the rows."""

    file_name = serializers.CharField(source="params.file_name")
    record_type = serializers.CharField(source="params.record_type")
    mode = serializers.CharField(source="params.mode")
    dry_run = serializers.BooleanField(source="params.dry_run")
    # Imports of before there was a choice say nothing of it.
    match = serializers.CharField(source="params.options.match", default="")
    blank = serializers.CharField(source="params.options.blank", default="ignore")
    encoding = serializers.CharField(source="params.layout.encoding", default="")
    mapping = serializers.SerializerMethodField()
    created = serializers.IntegerField(source="counts.created")
    updated = serializers.IntegerField(source="counts.updated")
    skipped = serializers.IntegerField(source="counts.skipped")
    failed = serializers.IntegerField(source="counts.failed")
    skipped_because = serializers.SerializerMethodField()
    unknown_owners = serializers.SerializerMethodField()
    not_found = serializers.SerializerMethodField()
    errors = serializers.SerializerMethodField()

    class Meta:
        model = Job
        fields = (
            *("id", "status", "file_name", "record_type", "mode", "dry_run"),
            *("match", "blank", "encoding"),
            *("mapping", "total", "done", "created", "updated", "skipped", "failed"),
            *("skipped_because", "unknown_owners", "not_found", "error", "errors"),
            "change_set",
            *("cancel_requested", "owner", "created_at", "started_at", "finished_at"),
        )

    def get_mapping(self, job) -> dict[str, str | None]:
        """Each column of the file and the field that it goes to."""
        mapping = ColumnMap.from_json(job.params["columns"]).as_dict()
        for column in job_errors.hidden_columns(job, self.context["request"].user):
            del mapping[column]
        return mapping

    def get_skipped_because(self, job) -> dict[str, int]:
        """How many rows were skipped, by reason; `skipped/` lists them."""
        return job.state.get("skipped_because", {})

    def get_unknown_owners(self, job) -> dict[str, int]:
        """Owners in the file who are no users here; the importer owns their rows."""
        return job_errors.missing(job, self.context["request"].user)["unknown_owners"]

    def get_not_found(self, job) -> dict[str, int]:
        """Columns that name companies and the like which are not there, and in how many
        rows; these were taken without them."""
        return job_errors.missing(job, self.context["request"].user)["not_found"]

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
        if self.detail:
            return super().get_parsers()
        return [UploadParser(), StrictJSONParser()]

    def get_queryset(self):
        return super().get_queryset().filter(kind=KIND)

    @extend_schema(request=ImportRequestSerializer, responses={202: ImportSerializer})
    def create(self, request):
        """Import a file, or one that was previewed; the answer is a job to look at."""
        self.refuse_parameters("dry_run")
        serializer = ImportRequestSerializer(
            data=request.data, context=self.get_serializer_context()
        )
        serializer.is_valid(raise_exception=True)
        wish = serializer.validated_data
        source = wish.pop("upload", None) or wish.pop("file")
        wish["dry_run"] = wish["dry_run"] or boolean(request, "dry_run")
        job = start(
            request.user,
            source,
            wish.pop("record_type"),
            wish.pop("mapping", None),
            file_name=getattr(source, "file_name", "") or source.name,
            **wish,
            **origin(request),
        )
        response = Response(self.get_serializer(job).data, status.HTTP_202_ACCEPTED)
        response["Location"] = request.build_absolute_uri(f"{request.path}{job.pk}/")
        return response

    @extend_schema(request=SourceSerializer, responses=PreviewSerializer)
    @action(detail=False, methods=["post"], takes_dry_run=False)
    def preview(self, request):
        """Look at a file before it is imported: how it was read, where columns go.

        A file is sent once. Its `upload` is previewed again with another mapping,
        encoding or sheet, tried, and imported; one that is not is removed after a day.
        """
        self.refuse_parameters()
        serializer = SourceSerializer(
            data=request.data, context=self.get_serializer_context()
        )
        serializer.is_valid(raise_exception=True)
        wish = serializer.validated_data
        model = wish.pop("record_type")
        require_rights(request.user, model, Mode.UPDATE)
        upload = wish.pop("upload", None)
        file = wish.pop("file", None)
        is_new = upload is None
        upload = upload or receive(request.user, file, file.name)
        try:
            answer = preview(
                request.user, upload, model, wish.pop("mapping", None), **wish
            )
        except BaseException:
            if is_new:
                upload.path.unlink(missing_ok=True)
            raise
        return Response(PreviewSerializer(answer).data)

    @extend_schema(responses=SkipSerializer(many=True))
    @action(detail=True, filter_backends=())
    def skipped(self, request, pk):
        """The rows that were left out, why, and which row a duplicate repeats."""
        self.refuse_parameters(*self.query_parameters)
        return self.page_of(
            JobSkip.objects.filter(job=self.get_object()),
            [("id", False)],
            SkipSerializer,
        )

    @extend_schema(
        responses={(200, "text/csv"): OpenApiResponse(str, "The rows that failed.")}
    )
    @action(
        detail=True, url_path="error-file", filter_backends=(), pagination_class=None
    )
    def error_file(self, request, pk):
        """The rows that failed, with what is wrong, to mend and to import again."""
        self.refuse_parameters()
        return error_file_response(self.get_object(), request.user)


def error_file_response(job: Job, user) -> StreamingHttpResponse:
    response = FileResponse(
        (text.encode() for text in errorfile.lines(job, user)),
        content_type="text/csv; charset=utf-8",
        as_attachment=True,
        filename=errorfile.name_of(job),
    )
    response["Cache-Control"] = "private, no-store"
    return response


class ImportMappingViewSet(RecordViewSet):
    """Saved mappings. A file with the same header line is imported by it."""

    model = ImportMapping
    fields = ("name", "description", "applies_to", "columns", "mapping")
    search_fields = ("name", "description")
