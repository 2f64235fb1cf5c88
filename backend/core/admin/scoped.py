"""Pages that show what the role of whoever looks lets them see."""

from django import forms
from django.contrib import messages
from django.db import DataError
from django.http import HttpResponseRedirect
from unfold.admin import ModelAdmin, TabularInline

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
