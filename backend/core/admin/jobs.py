"""What workers do."""

from django.contrib import admin

from core import job_errors
from core.exporting.admin import ExportedFileMixin
from core.models import (
    Job,
    JobError,
)

from .scoped import ReadOnlyAdmin, ReadOnlyInline


class JobErrorInline(ReadOnlyInline):
    model = JobError
    fields = ("line", "of_column", "code", "told")
    readonly_fields = fields

    @admin.display(description="column")
    def of_column(self, error):
        return job_errors.shown(error, self.user)["column"]

    @admin.display(description="message")
    def told(self, error):
        return job_errors.shown(error, self.user)["message"]


@admin.register(Job)
class JobAdmin(ExportedFileMixin, ReadOnlyAdmin):
    list_display = ("created_at", "kind", "status", "done", "total", "counts", "owner")
    list_filter = ("kind", "status")
    list_select_related = ("owner",)
    fields = (
        *("kind", "status", "owner", "api_key", "done", "total", "counts"),
        *("exported_file", "error", "change_set"),
        *("created_at", "started_at", "finished_at"),
    )
    readonly_fields = ("exported_file",)
    inlines = (JobErrorInline,)
