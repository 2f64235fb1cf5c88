"""The admin of records: what staff see there is what their role lets them see, and what
they write goes through the journal like everything else."""

from itertools import islice

from django import forms
from django.contrib import admin, messages
from django.db import DataError, IntegrityError, transaction
from django.db.models import Count, JSONField
from django.forms.fields import InvalidJSONInput
from django.http import Http404, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import APIException, ParseError
from unfold.admin import ModelAdmin, TabularInline
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from core import audit, deletion, history, job_errors, undo
from core.access import Scope, Verb, field_rights, reaches, scope_of
from core.admin_imports import ImportPages
from core.bulk.admin import BulkChangeMixin
from core.concealment import LimitedAdmin, RevealedForm, conceal
from core.custom_fields.forms import ChoicesField, CustomFieldsAdmin
from core.custom_fields.indexing import keep_up
from core.exporting.admin import ExportedFileMixin, ExportMixin
from core.fields import LabelledField, TagsField
from core.models import (
    Change,
    ChangeSet,
    CustomField,
    ImportMapping,
    Job,
    JobError,
    Notification,
    Organization,
    Record,
    SecurityEvent,
)
from core.origin import origin
from core.parsers import loads
from core.registry import record_types

HISTORY_ENTRIES = 200
SHOWN_RECORDS = 100  # of each type, before they are deleted


class JournaledForm(RevealedForm, forms.ModelForm):
    """Knows the version it shows, so that a save never overwrites somebody's work."""

    shown_version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.fields["shown_version"].initial = self.instance.version
        for name, field in self.fields.items():
            if isinstance(field, forms.ModelChoiceField):
                self._keep_unseen(name, field)

    def _keep_unseen(self, name, field):
        """A relation to what the user may not see stays, without a word about it."""
        current = getattr(self.instance, f"{name}_id", None)
        if current is None or field.queryset.filter(pk=current).exists():
            return
        field.queryset = field.queryset.model._base_manager.filter(pk=current)
        field.label_from_instance = lambda other: "(not yours to see)"
        field.disabled = True

    def clean(self):
        shown = self.cleaned_data.get("shown_version")
        if not self.instance._state.adding and shown != self.instance.version:
            raise forms.ValidationError(
                "Somebody changed this in the meantime. Reload the page and try again.",
                code="stale",
            )
        return super().clean()

    def _get_validation_exclusions(self):
        """Unique values stand on these two, though they are no fields of the form."""
        return super()._get_validation_exclusions() - {"organization", "deleted_at"}


class StrictJSONField(forms.JSONField):
    """JSON in a form, as strict as the API about it."""

    def to_python(self, value):
        if value in self.empty_values or not isinstance(value, str):
            return super().to_python(value)
        try:
            return loads(value.encode())
        except ParseError as error:
            raise forms.ValidationError(str(error.detail), code="invalid") from None

    def bound_data(self, data, initial):
        """What was typed, as it was typed: it may be no JSON at all."""
        return InvalidJSONInput(data) if data is not None else data

    def has_changed(self, initial, data):
        try:
            return self.to_python(data) != initial
        except forms.ValidationError:
            return True


# What Django's lists and forms raise for values that no browser sends by itself.
UNUSABLE = (ValueError, OverflowError, RecursionError, DataError, forms.ValidationError)


class ScopedAdmin(ModelAdmin):
    """Shows what the user's role lets them see, and allows what it allows."""

    list_per_page = 50
    show_full_result_count = False

    def changelist_view(self, request, extra_context=None):
        try:
            return super().changelist_view(request, extra_context)
        except UNUSABLE:
            messages.error(request, "That is no value to look for or to act on.")
            return HttpResponseRedirect(request.path)

    def lookup_allowed(self, lookup, value, request):
        """Only what the filters of the page themselves ask."""
        field, _, suffix = lookup.partition("__")
        if not suffix:
            return True
        filters = {f for f in self.get_list_filter(request) if isinstance(f, str)}
        return field in filters and suffix in ("exact", "gte", "lt", "isnull")

    def get_queryset(self, request):
        rows = self.model.objects.visible_to(request.user)
        ordering = self.get_ordering(request)
        return rows.order_by(*ordering) if ordering else rows

    def has_module_permission(self, request):
        return self._may(request, "view")

    def has_view_permission(self, request, obj=None):
        return self._may(request, "view", obj)

    def has_add_permission(self, request):
        return self._may(request, "add")

    def has_change_permission(self, request, obj=None):
        return self._may(request, "change", obj)

    def has_delete_permission(self, request, obj=None):
        return self._may(request, "delete", obj)

    def _may(self, request, action, obj=None):
        permission = f"{self.opts.app_label}.{action}_{self.opts.model_name}"
        return request.user.has_perm(permission, obj)


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


class ReadOnlyAdmin(ScopedAdmin):
    """What only the program writes."""

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False


class ReadOnlyInline(TabularInline):
    """Rows that the program wrote, as far as the user may see what they are about."""

    extra = 0
    per_page = 50
    can_delete = False

    def has_add_permission(self, request, obj):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_view_permission(self, request, obj=None):
        return True

    def get_queryset(self, request):
        # Django makes an inline for each request.
        self.user = request.user
        return super().get_queryset(request)


class ChangeInline(ReadOnlyInline):
    model = Change
    fields = ("record_type", "record_id", "verb", "version", "was", "became")
    readonly_fields = fields

    @admin.display(description="before")
    def was(self, change):
        return self._shown(change)[0]

    @admin.display(description="after")
    def became(self, change):
        return self._shown(change)[1]

    def _shown(self, change):
        rights = field_rights(self.user, change.record_type)
        return rights.shown_change(change.before or {}, change.after or {})

    def get_queryset(self, request):
        """Whoever sees a change set need not see all the records in it."""
        return super().get_queryset(request).filter(history.seen_by(request.user))


@admin.register(ChangeSet)
class ChangeSetAdmin(ReadOnlyAdmin):
    list_display = (
        *("created_at", "source", "actor", "api_key", "reason", "size", "undoes"),
    )
    list_filter = ("source", "created_at")
    search_fields = ("reason", "request_id", "actor__email", "api_key__name")
    list_select_related = ("actor", "api_key", "undoes")
    fields = (
        *("created_at", "source", "actor", "api_key", "reason", "request_id"),
        *("undoes", "address", "user_agent"),
    )
    inlines = (ChangeInline,)
    actions = ("undo_selected",)

    def get_queryset(self, request):
        counted = super().get_queryset(request).annotate(size=Count("changes"))
        # A query that counts loses the model's own order.
        return counted.order_by(*ChangeSet._meta.ordering)

    @admin.display(description="records")
    def size(self, change_set):
        return change_set.size

    @admin.action(description="Undo the selected change sets", permissions=("view",))
    def undo_selected(self, request, queryset):
        """Each as a job of its own, the newest first."""
        for change_set in ChangeSet.objects.filter(
            pk__in=queryset.values("pk")
        ).order_by("-created_at"):
            if change_set.is_undone():
                messages.error(request, f"{change_set} is undone already.")
                continue
            try:
                undo.require_undoable(change_set)
                undo.start(
                    change_set,
                    request.user,
                    partial=True,
                    dry_run=False,
                    **origin(request),
                )
            except APIException as error:
                messages.error(request, f"{change_set}: {error.detail}")
            else:
                messages.success(request, f"{change_set} is being undone: see jobs.")


@admin.register(SecurityEvent)
class SecurityEventAdmin(ReadOnlyAdmin):
    list_display = (
        *("created_at", "kind", "user", "api_key", "record_type", "address", "detail"),
    )
    list_filter = ("kind", "created_at")
    search_fields = ("user__email", "address", "request_id", "user_agent")
    search_help_text = "E-mail, address, request id or program"
    list_select_related = ("user", "api_key")
    fields = (
        *(
            "created_at",
            "kind",
            "user",
            "api_key",
            "record_type",
            "record_id",
            "detail",
        ),
        *("address", "user_agent", "request_id"),
    )

    def get_queryset(self, request):
        [log] = [log for log in audit.LOGS if log.model is SecurityEvent]
        return log.visible_to(request.user, Verb.VIEW)

    def _may(self, request, action, obj=None):
        if (
            action != "view"
            or scope_of(request.user, audit.RIGHT, action) == Scope.NONE
        ):
            return False
        return obj is None or self.get_queryset(request).filter(pk=obj.pk).exists()


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


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    """One's own, whoever one is."""

    list_display = ("created_at", "code", "about", "at", "read_at")
    list_filter = ("event", "code", "created_at")
    fields = ("event", "code", "about", "at", "created_at", "read_at")
    readonly_fields = ("about",)
    actions = ("mark_read",)

    def _may(self, request, action, obj=None):
        return action == "view" and (obj is None or obj.user_id == request.user.pk)

    @admin.display(description="record")
    def about(self, notification):
        model = record_types()[notification.subject_type]
        pattern = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
        address = reverse(pattern, args=[notification.subject_id])
        return format_html('<a href="{}">{}</a>', address, model._meta.verbose_name)

    @admin.action(description="Mark as read", permissions=("view",))
    def mark_read(self, request, queryset):
        queryset.filter(read_at=None).update(read_at=timezone.now())


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
