"""What people are told."""

from django.contrib import admin
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from core.models import (
    Notification,
)
from core.notifications import subject_types

from .scoped import ReadOnlyAdmin


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    """One's own, whoever one is."""

    list_display = ("created_at", "code", "about", "count", "at", "read_at")
    list_filter = ("event", "code", "created_at")
    fields = (
        *("event", "code", "actor", "about", "count"),
        *("at", "created_at", "read_at"),
    )
    readonly_fields = ("about",)
    actions = ("mark_read",)

    def _may(self, request, action, obj=None):
        mine = obj is None or obj.user_id == request.user.pk
        return action == "view" and mine

    @admin.display(description="record")
    def about(self, notification):
        model = subject_types()[notification.subject_type]
        if not self.admin_site.is_registered(model):
            return model._meta.verbose_name
        pattern = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
        address = reverse(pattern, args=[notification.subject_id])
        return format_html('<a href="{}">{}</a>', address, model._meta.verbose_name)

    @admin.action(description="Mark as read", permissions=("view",))
    def mark_read(self, request, queryset):
        queryset.filter(read_at=None).update(read_at=timezone.now())
