"""What happened: change sets and the security log."""

from django.contrib import admin, messages
from django.db.models import Count
from rest_framework.exceptions import APIException

from core import audit, history, undo
from core.access import Scope, Verb, field_rights, scope_of
from core.models import (
    Change,
    ChangeSet,
    SecurityEvent,
)
from core.origin import origin

from .scoped import ReadOnlyAdmin, ReadOnlyInline


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
