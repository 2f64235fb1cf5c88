from django.contrib import admin

from core.admin import RecordAdmin
from lead_management.models import Activity


@admin.register(Activity)
class ActivityAdmin(RecordAdmin):
    list_display = (
        *("kind", "subject", "occurred_at", "lead", "contact", "company", "deal"),
        *("due_at", "done_at", "owner"),
    )
    list_filter = ("kind", "occurred_at", "due_at")
    list_select_related = ("lead", "contact", "company", "deal", "owner")
    autocomplete_fields = ("lead", "contact", "company", "deal")
    search_fields = ("subject", "body", "outcome")
    readonly_fields = ("version", "updated_at")
