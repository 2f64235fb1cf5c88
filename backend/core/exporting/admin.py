"""Exports in the admin: an action on the list of every record type, and the file."""

from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.http import Http404, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from rest_framework.exceptions import APIException, ValidationError
from unfold.widgets import UnfoldAdminSelectWidget

from core import problems
from core.access import Scope, Verb, scope_of
from core.exceptions import ReauthenticationRequired
from core.exporting import job as exports
from core.exporting.formats import Format
from core.exporting.vcard import VERSIONS
from core.exporting.wish import Wish
from core.models import Job
from core.origin import origin
from core.permissions import require_recent_sign_in
from core.views.exports import download

MAX_SELECTED = 100_000
# The parameters of an admin list that say nothing about which records are on it.
NO_FILTERS = ("p", "o", "all", "e")


class ExportForm(forms.Form):
    format = forms.ChoiceField(choices=Format.choices, widget=UnfoldAdminSelectWidget)
    version = forms.ChoiceField(
        label="Version of vCards",
        choices=[(version, version) for version in VERSIONS],
        widget=UnfoldAdminSelectWidget,
    )


class ExportMixin:
    """A page that asks for the format, and submits the job that makes the file."""

    def has_export_permission(self, request):
        return (
            scope_of(request.user, self.model.record_type(), Verb.EXPORT) != Scope.NONE
        )

    @admin.action(description="Export the selected", permissions=("export",))
    def export_selected(self, request, queryset):
        asked = "apply" in request.POST
        form = ExportForm(request.POST if asked else None)
        if asked and form.is_valid():
            try:
                job = self._export(request, queryset, form.cleaned_data)
            except ReauthenticationRequired:
                query = urlencode({"next": request.get_full_path()})
                address = f"{reverse('account_reauthenticate')}?{query}"
                return HttpResponseRedirect(address)
            except APIException as refusal:
                for detail in problems.sentences(refusal):
                    messages.error(request, detail)
            else:
                address = reverse("admin:core_job_change", args=[job.pk])
                return HttpResponseRedirect(address)
        context = {
            **self.admin_site.each_context(request),
            "title": "Export",
            "opts": self.opts,
            "action": "export_selected",
            "form": form,
            "count": queryset.order_by().count(),
            "selected": request.POST.getlist("_selected_action"),
            "select_across": request.POST.get("select_across", "0"),
        }
        return TemplateResponse(request, "core/admin/export.html", context)

    def _export(self, request, queryset, chosen: dict) -> Job:
        """Submit the job: of the whole list where nothing is looked for in it."""
        filters = {name for name in request.GET if name not in NO_FILTERS}
        whole = request.POST.get("select_across") == "1" and filters <= {"deleted"}
        is_deleted = request.GET.get("deleted") == "yes"
        ids = None if whole else self._ids(queryset)
        wish = Wish(
            self.model.record_type(),
            chosen["format"],
            {"deleted": True} if is_deleted else {},
            version=chosen["version"],
            ids=ids,
        )
        if wish.is_of_everything:
            require_recent_sign_in(request)
        return exports.start(request.user, wish, **origin(request))

    @staticmethod
    def _ids(queryset) -> list[str]:
        ids = queryset.order_by("pk").values_list("pk", flat=True)[: MAX_SELECTED + 1]
        if not 0 < len(ids) <= MAX_SELECTED:
            raise ValidationError(f"Select 1 to {MAX_SELECTED:,} records.")
        return [str(pk) for pk in ids]


class ExportedFileMixin:
    """The file of an export, on the page of its job."""

    def get_urls(self):
        address = path(
            "<uuid:pk>/download/",
            self.admin_site.admin_view(self.download_view),
            name="core_job_download",
        )
        return [address, *super().get_urls()]

    @admin.display(description="file")
    def exported_file(self, job):
        if job.kind != exports.KIND:
            return None
        if not exports.has_file(job):
            return "Not kept any more." if exports.expires_at(job) else "Not yet."
        return format_html(
            '<a href="{}">{}</a>, until {} UTC',
            reverse("admin:core_job_download", args=[job.pk]),
            exports.file_name(job),
            f"{exports.expires_at(job):%Y-%m-%d %H:%M}",
        )

    def download_view(self, request, pk):
        job = self.get_queryset(request).filter(pk=pk, kind=exports.KIND).first()
        if job is None:
            raise Http404
        try:
            return download(request, job)
        except APIException as refusal:
            messages.error(request, str(refusal.detail))
            return HttpResponseRedirect(reverse("admin:core_job_change", args=[pk]))
