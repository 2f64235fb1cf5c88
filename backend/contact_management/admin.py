from django.contrib import admin

from contact_management.models import Contact, Tag
from core.admin import RecordAdmin


@admin.register(Contact)
class ContactAdmin(RecordAdmin):
    list_display = ("__str__", "email", "phone", "company_name", "owner", "created_at")
    list_filter = ("contact_type", "status", "created_at")
    list_select_related = ("owner",)
    search_fields = ("first_name", "last_name", "email", "company_name")
    readonly_fields = ("phone_e164", "mobile_e164", "version", "updated_at")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("first_name", "last_name"),
                    ("salutation", "email"),
                    ("contact_type", "status"),
                    ("phone", "phone_e164"),
                    ("mobile", "mobile_e164"),
                    ("company_name", "job_title"),
                    ("department", "source"),
                    ("owner",),
                    ("tags",),
                    ("notes",),
                )
            },
        ),
        (
            "Address",
            {
                "fields": (
                    ("address_line_1", "address_line_2"),
                    ("postal_code", "city"),
                    ("state", "country"),
                )
            },
        ),
        (
            "More",
            {
                "fields": (
                    ("website", "linkedin"),
                    ("external_ids", "custom_fields"),
                    ("version", "updated_at"),
                )
            },
        ),
    )


@admin.register(Tag)
class TagAdmin(RecordAdmin):
    list_display = ("name", "color")
    search_fields = ("name",)
