from django.contrib import admin

from core.admin import RecordAdmin
from lead_management.models import Lead


@admin.register(Lead)
class LeadAdmin(RecordAdmin):
    list_display = ("__str__", "email", "company_name", "status", "owner", "created_at")
    list_filter = ("status", "priority", "lead_source", "created_at")
    list_select_related = ("owner",)
    search_fields = ("first_name", "last_name", "email", "company_name")
    readonly_fields = (
        *("phone_e164", "status_since", "lead_score"),
        *("version", "updated_at"),
    )
