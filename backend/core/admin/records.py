"""Pages of records: what staff write goes through the journal like everything else."""

from itertools import islice

from django.contrib import admin, messages
from django.db import IntegrityError, transaction
from django.db.models import JSONField
from django.http import Http404
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import APIException
from unfold.widgets import (
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from core import deletion, history
from core.access import Verb, reaches
from core.admin.imports import ImportPages
from core.bulk.admin import BulkChangeMixin
from core.concealment import LimitedAdmin, conceal
from core.custom_fields.forms import CustomFieldsAdmin
from core.exporting.admin import ExportMixin
from core.fields import LabelledField, TagsField
from core.models import (
    ChangeSet,
    Record,
)
from core.origin import origin

from .forms import JournaledForm, RecordSelect, StrictJSONField
from .scoped import UNUSABLE, ScopedAdmin

HISTORY_ENTRIES = 200
SHOWN_RECORDS = 100  # of each type, before they are deleted


class JournaledAdmin(LimitedAdmin, ScopedAdmin):
    """What is written here is a change set with the source "admin"."""

    form = JournaledForm
    formfield_overrides = {JSONField: {"form_class": StrictJSONField}}
    object_history_template = "core/admin/history.html"

    def get_form(self, request, obj=None, change=False, **kwargs):
        form = super().get_form(request, obj, change=change, **kwargs)
        organization = request.user.organization

        class BoundForm(form):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.instance.organization = organization

        return BoundForm

    def get_fieldsets(self, request, obj=None):
        fieldsets = super().get_fieldsets(request, obj)
        if any("shown_version" in options["fields"] for _, options in fieldsets):
            return fieldsets
        return [*fieldsets, (None, {"fields": ["shown_version"]})]

    def formfield_for_foreignkey(self, db_field, request, **kwargs):
        kwargs["queryset"] = db_field.related_model.objects.visible_to(request.user)
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs["widget"] = RecordSelect(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field, request, **kwargs):
        kwargs["queryset"] = db_field.related_model.objects.visible_to(request.user)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    # Writing

    def change_set(self, request, source=ChangeSet.Source.ADMIN):
        return ChangeSet.open(actor=request.user, source=source, **origin(request))

    def save_model(self, request, obj, form, change):
        names = [n for n in form.changed_data if n in obj.journaled_fields()]
        values = {name: getattr(obj, name) for name in names}
        with self.change_set(request) as changes:
            if not change:
                changes.save(obj, **self.written(request, None, values))
                return
            stored = self.model.objects.select_for_update(of=("self",)).get(pk=obj.pk)
            changes.save(stored, **self.written(request, stored, values))

    def changeform_view(self, request, *args, **kwargs):
        """A lost race on a unique value, or a right that is missing, is said so."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except IntegrityError:
            messages.error(request, "Somebody just took a value that must be unique.")
        except APIException as error:
            messages.error(request, str(error.detail))
        except UNUSABLE:
            messages.error(request, "The form holds a value that cannot be kept.")
        request.method = "GET"
        return super().changeform_view(request, *args, **kwargs)

    def history_view(self, request, object_id, extra_context=None):
        record = self.get_object(request, object_id)
        if record is None:
            raise Http404
        changes = history.changes_of(record).order_by("-version")[:HISTORY_ENTRIES]
        context = {
            **self.admin_site.each_context(request),
            "title": _("Change history: %s") % record,
            "opts": self.opts,
            "object": record,
            "entries": [history.entry(c, record, request.user) for c in changes],
            **(extra_context or {}),
        }
        return TemplateResponse(request, self.object_history_template, context)


class DeletedFilter(admin.SimpleListFilter):
    title = "deleted"
    parameter_name = "deleted"

    def lookups(self, request, model_admin):
        return [("yes", "Deleted")]

    def choices(self, changelist):
        for choice in super().choices(changelist):
            if choice["display"] == _("All"):
                choice["display"] = "Live"
            yield choice

    def queryset(self, request, queryset):
        return queryset.deleted() if self.value() == "yes" else queryset.live()


class RecordAdmin(
    CustomFieldsAdmin, BulkChangeMixin, ExportMixin, ImportPages, JournaledAdmin
):
    """Deletes softly and restores."""

    formfield_overrides = {
        **JournaledAdmin.formfield_overrides,
        TagsField: {"widget": UnfoldAdminTextInputWidget},
        LabelledField: {"widget": UnfoldAdminTextareaWidget(attrs={"rows": 3})},
    }
    actions = ("export_selected", "change_in_bulk", "restore_selected")
    ordering = ("-created_at", "-id")

    def get_queryset(self, request):
        rows = self.model.objects.within(request.user, Verb.VIEW)
        return rows.order_by(*self.get_ordering(request))

    def get_list_filter(self, request):
        return (*super().get_list_filter(request), DeletedFilter)

    def get_search_results(self, request, queryset, search_term):
        if request.resolver_match.url_name == "autocomplete":
            queryset = queryset.live()
        return super().get_search_results(request, queryset, search_term)

    def has_change_permission(self, request, obj=None):
        return self._is_live(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request, obj=None):
        return self._is_live(obj) and super().has_delete_permission(request, obj)

    @staticmethod
    def _is_live(obj):
        return obj is None or obj.deleted_at is None

    def delete_model(self, request, obj):
        with self.change_set(request) as changes:
            changes.delete(self._stored(obj))

    def delete_queryset(self, request, queryset):
        with self.change_set(request) as changes:
            records = queryset.live().select_for_update(of=("self",))
            changes.delete(*records.select_related("owner"))

    def get_deleted_objects(self, objs, request):
        """What a soft delete takes: the records, and what hangs on them."""
        with transaction.atomic():
            taken = deletion.planned(objs).records
        refused = {
            model._meta.verbose_name
            for model, records in taken.items()
            if not all(
                reaches(request.user, record, Verb.DELETE)
                for record in records.values()
            )
        }
        names = [
            f"{model._meta.verbose_name}: {conceal(record, request.user)}"
            for model, records in taken.items()
            for record in islice(records.values(), SHOWN_RECORDS)
        ]
        counts = {m._meta.verbose_name_plural: len(r) for m, r in taken.items()}
        return names, counts, refused, []

    @admin.action(description="Restore the selected records")
    def restore_selected(self, request, queryset):
        try:
            with self.change_set(request) as changes:
                records = queryset.deleted().select_for_update(of=("self",))
                restored = changes.restore(*records.select_related("owner"))
        except APIException as error:
            messages.error(request, str(error.detail))
        else:
            count = sum(map(len, restored.values()))
            messages.success(request, f"Restored: {count}.")

    def _stored(self, obj: Record) -> Record:
        return self.model.objects.select_for_update(of=("self",)).get(pk=obj.pk)
