"""Import in the admin: upload, look, try, run, and what became of it.

The pages do what the API does, by the same functions.
"""

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import FileResponse, Http404
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from rest_framework.exceptions import APIException, ValidationError
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from core import job_errors, undo
from core.access import Scope, Verb, scope_of
from core.importing import errorfile
from core.importing.drafts import may_own, tags_field
from core.importing.job import KIND, require_rights, start
from core.importing.mapping import split_tags
from core.importing.options import Blank, Mode
from core.importing.preview import preview
from core.importing.rows import Skip
from core.importing.uploads import receive
from core.models import Job, Upload
from core.origin import origin
from core.problems import flatten

SHOWN = 100


class FileForm(forms.Form):
    file = forms.FileField(
        widget=UnfoldAdminFileFieldWidget,
        max_length=255,
        help_text="CSV or other delimited text, an Excel workbook, or vCards.",
    )

    def clean_file(self):
        file = self.cleaned_data["file"]
        if file.size > settings.IMPORT_MAX_BYTES:
            limit = settings.IMPORT_MAX_BYTES // 2**20
            raise forms.ValidationError(f"At most {limit} MiB.")
        return file


class ChoicesForm(forms.Form):
    """Where the columns of a previewed file go, and how it is imported."""

    mode = forms.ChoiceField(
        choices=[
            (Mode.CREATE, "make new records only"),
            (Mode.UPDATE, "change records that are there only"),
            (Mode.UPSERT, "make new records, and change those that are there"),
        ],
        widget=UnfoldAdminSelectWidget,
    )
    blank = forms.ChoiceField(
        label="Blank cells",
        choices=[
            (Blank.IGNORE, "leave what the record has"),
            (Blank.CLEAR, "clear the field"),
        ],
        widget=UnfoldAdminSelectWidget,
    )
    match = forms.CharField(
        label="Matched by",
        required=False,
        max_length=70,
        widget=UnfoldAdminTextInputWidget,
        help_text="Blank for the usual rules; or id, or external_ids. and a system.",
    )
    owner = forms.ModelChoiceField(
        queryset=None,
        required=False,
        empty_label="as the rows say, or else I",
        widget=UnfoldAdminSelectWidget,
    )
    auto_assign = forms.BooleanField(
        label="Rules choose the owner where a row names none",
        required=False,
        widget=UnfoldBooleanWidget,
    )
    tags = forms.CharField(
        label="Tags for all",
        required=False,
        max_length=1000,
        widget=UnfoldAdminTextInputWidget,
    )
    encoding = forms.CharField(
        required=False, max_length=40, widget=UnfoldAdminTextInputWidget
    )
    sheet = forms.ChoiceField(required=False, widget=UnfoldAdminSelectWidget)
    save_mapping_as = forms.CharField(
        required=False, max_length=100, widget=UnfoldAdminTextInputWidget
    )

    def __init__(self, *args, user, model, shown: dict, **kwargs):
        super().__init__(*args, **kwargs)
        self.user, self.model = user, model
        people = get_user_model().objects.visible_to(user).filter(is_active=True)
        self.fields["owner"].queryset = people
        if tags_field(model) is None:
            del self.fields["tags"]
        if not model.is_assigned_by_rules:
            del self.fields["auto_assign"]
        if shown["sheets"]:
            self.fields["sheet"].choices = [(name, name) for name in shown["sheets"]]
            self.fields["sheet"].initial = shown["sheet"]
            del self.fields["encoding"]
        else:
            del self.fields["sheet"]
            self.fields["encoding"].initial = (
                "" if shown["encoding_is_sure"] else shown["encoding"]
            )
        targets = [("", "-"), *((t["name"], t["label"]) for t in shown["targets"])]
        known = {name for name, _ in targets}
        self.shown_columns = shown["columns"]
        for number, column in enumerate(shown["columns"]):
            target = column["target"] or ""
            others = [] if target in known else [(target, target)]
            self.fields[f"column_{number}"] = forms.ChoiceField(
                label=column["name"],
                required=False,
                choices=[*targets, ("id", "its id here"), *others],
                initial=target,
                widget=UnfoldAdminSelectWidget,
            )

    def clean_owner(self):
        owner = self.cleaned_data["owner"]
        if owner and not may_own(owner, self.user, self.model):
            raise forms.ValidationError("You may not give them records.")
        return owner

    @property
    def columns(self):
        """Each column as it was found, with its field in this form."""
        return [
            {**column, "field": self[f"column_{number}"]}
            for number, column in enumerate(self.shown_columns)
        ]

    @property
    def options(self):
        return [field for field in self if not field.name.startswith("column_")]

    def mapping(self) -> dict[str, str | None]:
        return {
            column["name"]: self.cleaned_data[f"column_{number}"] or None
            for number, column in enumerate(self.shown_columns)
        }

    def wishes(self) -> dict:
        """What `start` takes."""
        names = ("mode", "blank", "match", "owner", "save_mapping_as")
        wishes = {name: self.cleaned_data[name] for name in names}
        for name in ("encoding", "sheet"):
            wishes[name] = self.cleaned_data.get(name, "")
        wishes["auto_assign"] = self.cleaned_data.get("auto_assign", False)
        return {**wishes, "tags": split_tags(self.cleaned_data.get("tags", ""))}


class ImportPages:
    """Adds the pages to the admin of a record type."""

    actions_list = ("import_page",)

    def get_urls(self):
        name = self._page
        view = self.admin_site.admin_view
        pages = (
            ("import/<uuid:pk>/", self.import_choices, "choices"),
            ("import/jobs/<uuid:pk>/", self.import_progress, "progress"),
            ("import/jobs/<uuid:pk>/error-file/", self.import_errors, "errors"),
            ("import/jobs/<uuid:pk>/undo/", self.import_undo, "undo"),
        )
        own = [path(route, view(page), name=name(key)) for route, page, key in pages]
        return [*own, *super().get_urls()]

    def has_import_permission(self, request, obj=None):
        record_type = self.model.record_type()
        may = scope_of(request.user, record_type, Verb.IMPORT) != Scope.NONE
        return self.model.is_importable and may

    @action(description="Import", url_path="import/", permissions=["import"])
    def import_page(self, request):
        """Choose a file; it is looked at before anything is imported."""
        form = FileForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            file = form.cleaned_data["file"]
            upload = receive(request.user, file, file.name)
            try:
                preview(request.user, upload, self.model)
            except ValidationError as error:
                upload.path.unlink(missing_ok=True)
                upload.delete()
                form.add_error("file", _sentences(error))
            else:
                return redirect(self._address("choices", upload.pk))
        return self._answer(request, "import_file", form=form)

    def import_choices(self, request, pk):
        """Where the columns go, with samples; from here it is tried or run."""
        self._require(request)
        upload = Upload.objects.filter(owner=request.user, pk=pk).first()
        if upload is None or not upload.path.exists():
            raise Http404
        asked = {n: request.POST.get(n, "")[:200] for n in ("encoding", "sheet")}
        asked["match"] = request.POST.get("match", "")[:70]
        try:
            shown = preview(request.user, upload, self.model, **asked)
        except ValidationError as error:
            messages.error(request, _sentences(error))
            shown = preview(request.user, upload, self.model)
        wants_job = "try" in request.POST or "run" in request.POST
        form = ChoicesForm(
            request.POST if wants_job else None,
            user=request.user,
            model=self.model,
            shown=shown,
            initial=request.POST.dict() if request.method == "POST" else None,
        )
        if wants_job and form.is_valid():
            try:
                with transaction.atomic():
                    job = start(
                        request.user,
                        upload,
                        self.model,
                        form.mapping(),
                        dry_run="run" not in request.POST,
                        file_name=upload.file_name,
                        **form.wishes(),
                        **origin(request),
                    )
                address = self._address("progress", job.pk)
                return redirect(f"{address}?upload={upload.pk}")
            except APIException as error:
                form.add_error(None, _sentences(error))
        return self._answer(request, "import_choices", form=form, shown=shown)

    def import_progress(self, request, pk):
        """How far an import is, and what became of its rows."""
        job = self._job(request, pk)
        upload = request.GET.get("upload", "")
        known = job.params["dry_run"] and Upload.objects.filter(owner=request.user)
        back = next((u for u in known or () if str(u.pk) == upload), None)
        return self._answer(
            request,
            "import_progress",
            job=job,
            errors=[
                {"line": e.line, "code": e.code, **job_errors.shown(e, request.user)}
                for e in job.errors.all()[:SHOWN]
            ],
            skips=[
                {
                    "line": s.line,
                    "why": Skip(s.reason).label,
                    "first_line": s.first_line,
                }
                for s in job.skips.all()[:SHOWN]
            ],
            skipped=[
                (Skip(reason).label, count)
                for reason, count in job.state.get("skipped_because", {}).items()
            ],
            shown=job_errors.missing(job, request.user),
            back=back and self._address("choices", back.pk),
            error_file=self._address("errors", job.pk),
            undo=self._address("undo", job.pk),
            is_undone=job.change_set is not None and job.change_set.is_undone(),
        )

    def import_errors(self, request, pk):
        job = self._job(request, pk)
        return FileResponse(
            (text.encode() for text in errorfile.lines(job, request.user)),
            content_type="text/csv; charset=utf-8",
            as_attachment=True,
            filename=errorfile.name_of(job),
        )

    def import_undo(self, request, pk):
        """Take an import back as a job; what was edited since is left alone."""
        job = self._job(request, pk)
        if request.method == "POST" and job.change_set:
            try:
                with transaction.atomic():
                    undo.require_undoable(job.change_set)
                    undo.start(
                        job.change_set,
                        request.user,
                        partial=True,
                        dry_run=False,
                        **origin(request),
                    )
            except APIException as error:
                messages.error(request, str(error.detail))
            else:
                messages.success(request, "The import is being undone: see jobs.")
        return redirect(self._address("progress", pk))

    def _job(self, request, pk) -> Job:
        self._require(request)
        jobs = Job.objects.visible_to(request.user).select_related("change_set")
        job = jobs.filter(kind=KIND, pk=pk).first()
        if job is None or job.params["record_type"] != self.model.record_type():
            raise Http404
        return job

    def _require(self, request) -> None:
        if not self.has_import_permission(request):
            raise Http404
        require_rights(request.user, self.model, Mode.UPDATE)

    def _page(self, key: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_import_{key}"

    def _address(self, key: str, pk) -> str:
        return reverse(f"admin:{self._page(key)}", args=[pk])

    def _answer(self, request, template, **context):
        title = f"Import {self.opts.verbose_name_plural}"
        return TemplateResponse(
            request,
            f"core/admin/{template}.html",
            {
                **self.admin_site.each_context(request),
                "title": title,
                "opts": self.opts,
                "list": reverse(
                    f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"
                ),
                **context,
            },
        )


def _sentences(error: APIException) -> str:
    return " ".join(one["detail"] for one in flatten(error.detail))
