from django.contrib import admin

from contact_management.models import Affiliation, Company, Contact, Tag
from core.admin import RecordAdmin
from core.timeline_admin import TimelineAdmin

ADDRESS = (
    "Address",
    {
        "fields": (
            ("address_line_1", "address_line_2"),
            ("postal_code", "city"),
            ("state", "country"),
        )
    },
)


@admin.register(Company)
class CompanyAdmin(TimelineAdmin, RecordAdmin):
    list_display = ("name", "domain", "industry", "size", "owner", "created_at")
    list_filter = ("created_at",)
    list_select_related = ("owner",)
    search_fields = ("name", "domain", "industry")
    autocomplete_fields = ("parent",)
    readonly_fields = ("phone_e164", "version", "updated_at")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "domain"),
                    ("industry", "size"),
                    ("phone", "phone_label", "phone_e164"),
                    ("other_phones",),
                    ("website", "parent"),
                    ("owner",),
                    ("tags",),
                    ("description",),
                )
            },
        ),
        ADDRESS,
        (
            "More",
            {
                "fields": (
                    ("external_ids", "custom_fields"),
                    ("version", "updated_at"),
                )
            },
        ),
    )


@admin.register(Contact)
class ContactAdmin(TimelineAdmin, RecordAdmin):
    list_display = ("__str__", "email", "phone", "company_name", "owner", "created_at")
    list_filter = ("contact_type", "status", "created_at")
    list_select_related = ("owner",)
    autocomplete_fields = ("company",)
    search_fields = ("first_name", "last_name", "email", "company_name")
    readonly_fields = ("phone_e164", "mobile_e164", "version", "updated_at")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("first_name", "last_name"),
                    ("salutation", "contact_type", "status"),
                    ("email", "email_label"),
                    ("other_emails",),
                    ("phone", "phone_label", "phone_e164"),
                    ("mobile", "mobile_e164"),
                    ("other_phones",),
                    ("company", "company_name"),
                    ("job_title", "department"),
                    ("source",),
                    ("owner",),
                    ("tags",),
                    ("notes",),
                )
            },
        ),
        ADDRESS,
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


@admin.register(Affiliation)
class AffiliationAdmin(RecordAdmin):
    list_display = ("contact", "company", "job_title", "owner", "created_at")
    list_select_related = ("contact", "company", "owner")
    autocomplete_fields = ("contact", "company")
    search_fields = ("job_title", "contact__last_name", "company__name")


@admin.register(Tag)
class TagAdmin(RecordAdmin):
    list_display = ("name", "color")
    search_fields = ("name",)
