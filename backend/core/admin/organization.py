"""What is set for a whole organization."""

from django import forms
from django.contrib import admin
from django.db.models import JSONField
from unfold.widgets import (
    UnfoldAdminSelectWidget,
)

from core.custom_fields.forms import ChoicesField
from core.custom_fields.indexing import keep_up
from core.models import (
    CustomField,
    ImportMapping,
    Organization,
)
from core.registry import record_types

from .records import JournaledAdmin, RecordAdmin


@admin.register(ImportMapping)
class ImportMappingAdmin(RecordAdmin):
    list_display = ("name", "applies_to", "owner", "updated_at")
    list_filter = ("applies_to",)
    list_select_related = ("owner",)
    search_fields = ("name",)
    fields = ("name", "description", "applies_to", "columns", "mapping", "owner")


@admin.register(CustomField)
class CustomFieldAdmin(JournaledAdmin):
    """Defines the fields that records have beside their own; archives, not deletes."""

    formfield_overrides = {JSONField: {"form_class": ChoicesField}}
    list_display = ("label", "applies_to", "key", "kind", "position", "is_archived")
    list_filter = ("kind", "is_archived")
    search_fields = ("key", "label")
    fields = (
        ("label", "applies_to"),
        ("key", "kind"),
        ("choices",),
        ("is_required", "position"),
        ("is_indexed", "index_status"),
        ("is_archived",),
    )

    def get_readonly_fields(self, request, obj=None):
        fixed = CustomField.fixed_fields if obj else ()
        return (*super().get_readonly_fields(request, obj), *fixed, "index_status")

    def formfield_for_dbfield(self, db_field, request, **kwargs):
        if db_field.name != "applies_to":
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        choices = [(name, name) for name in sorted(record_types())]
        return forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget)

    def save_model(self, request, obj, form, change):
        super().save_model(request, obj, form, change)
        keep_up(CustomField.objects.get(pk=obj.pk), request.user)

    def has_delete_permission(self, request, obj=None):
        return False


@admin.register(Organization)
class OrganizationAdmin(JournaledAdmin):
    list_display = ("name", "country", "created_at")
    fieldsets = (
        (None, {"fields": ("name", ("country", "currency", "timezone"))}),
        ("What is kept", {"fields": (("audit_retention_days", "purge_after_days"),)}),
    )

    def has_add_permission(self, request):
        return False

    def has_delete_permission(self, request, obj=None):
        return False
