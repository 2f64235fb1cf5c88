from django.contrib import admin, messages
from django.urls import reverse
from django.utils.html import format_html
from rest_framework.exceptions import ValidationError

from contact_management.models import (
    Affiliation,
    Company,
    Contact,
    ContactGroup,
    Tag,
)
from core.admin import RecordAdmin
from core.admin.timeline import TimelineAdmin

ADDRESS_SECTION = (
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
                    ("phone", "phone_label"),
                    ("phone_e164",),
                    ("other_phones",),
                    ("website", "parent"),
                    ("owner",),
                    ("tags",),
                    ("description",),
                )
            },
        ),
        ADDRESS_SECTION,
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


class GroupFilter(admin.SimpleListFilter):
    title = "group"
    parameter_name = "group"

    def lookups(self, request, model_admin):
        groups = ContactGroup.objects.visible_to(request.user).order_by("name")
        return [(str(group.pk), group.name) for group in groups]

    def queryset(self, request, queryset):
        if not self.value():
            return queryset
        groups = ContactGroup.objects.visible_to(request.user)
        group = groups.filter(pk=self.value()).first()
        if group is None:
            return queryset.none()
        try:
            return group.members(queryset, request.user)
        except ValidationError as error:
            messages.error(request, f"{group}: {error}")
            return queryset.none()


@admin.register(Contact)
class ContactAdmin(TimelineAdmin, RecordAdmin):
    list_display = ("__str__", "email", "phone", "company_name", "owner", "created_at")
    list_filter = ("contact_type", "status", "created_at", GroupFilter)
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
                    ("salutation",),
                    ("contact_type", "status"),
                    ("email", "email_label"),
                    ("other_emails",),
                    ("phone", "phone_label"),
                    ("mobile",),
                    ("phone_e164", "mobile_e164"),
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
        ADDRESS_SECTION,
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


@admin.register(ContactGroup)
class ContactGroupAdmin(RecordAdmin):
    """Members are added to a static group from the list of contacts, in bulk."""

    list_display = ("name", "kind", "owner", "contacts")
    list_filter = ("kind",)
    list_select_related = ("owner",)
    search_fields = ("name", "description")
    readonly_fields = ("contacts",)
    fields = ("name", "description", "kind", "filter", "owner", "contacts")

    @admin.display(description="contacts")
    def contacts(self, group):
        if group._state.adding:
            return "-"
        address = reverse("admin:contact_management_contact_changelist")
        return format_html('<a href="{}?group={}">Show</a>', address, group.pk)
