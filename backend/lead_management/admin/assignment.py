from django import forms
from django.contrib import admin
from unfold.widgets import UnfoldAdminTextareaWidget

from core.access import Scope, Verb, scope_of
from core.admin import JournaledAdmin, ReadOnlyAdmin, RecordAdmin
from lead_management.models import (
    Absence,
    AssignmentDecision,
    AssignmentRule,
    Availability,
)
from lead_management.models.availability import DAYS, fault_of


class HoursField(forms.CharField):
    """Working hours as one types them: a line for each day."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 7})

    def to_python(self, value):
        """{"mon": [["09:00", "12:30"]]} of "mon 09:00-12:30"."""
        hours = {}
        for line in super().to_python(value).splitlines():
            day, *spans = line.lower().split()
            if day in hours:
                raise forms.ValidationError(f"'{day}' stands twice.", "repeated")
            hours[day] = [span.split("-") for span in spans]
        if fault := fault_of(hours):
            raise forms.ValidationError(fault, "invalid")
        return hours

    def prepare_value(self, value):
        if not isinstance(value, dict):
            return value
        return "\n".join(
            " ".join([day, *("-".join(span) for span in value[day])])
            for day in DAYS
            if day in value
        )

    def has_changed(self, initial, data):
        try:
            return self.to_python(data) != initial
        except forms.ValidationError:
            return True


@admin.register(AssignmentRule)
class AssignmentRuleAdmin(JournaledAdmin):
    """The first active rule that a new lead matches decides who gets it."""

    list_display = ("name", "position", "method", "goes_to", "fallback", "is_active")
    list_filter = ("is_active", "method")
    list_select_related = ("user", "team")
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": (("name",), ("position", "is_active"), ("filter",))}),
        ("Who gets them", {"fields": (("method",), ("user", "team"))}),
        (
            "Where nobody can take one",
            {"fields": (("fallback",), ("fallback_user", "fallback_team"))},
        ),
    )

    @admin.display(description="to")
    def goes_to(self, rule):
        return rule.user or rule.team

    def has_delete_permission(self, request, obj=None):
        return False


@admin.register(Availability)
class AvailabilityAdmin(JournaledAdmin):
    """How many open leads somebody may have, and when they work."""

    list_display = ("user", "max_open_leads", "hours", "updated_at")
    list_select_related = ("user",)
    search_fields = ("user__email", "user__first_name", "user__last_name")
    fields = ("user", "max_open_leads", "working_hours")

    @admin.display(description="working hours")
    def hours(self, availability):
        days = [day for day in DAYS if day in availability.working_hours]
        return ", ".join(days) or "at any time"

    def formfield_for_dbfield(self, db_field, request, **kwargs):
        if db_field.name != "working_hours":
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        return HoursField(
            required=False,
            help_text="In the person's time zone, a line for each day: mon 09:00-12:30"
            " 13:30-17:00. A day that is not there is free; nothing: at any time.",
        )

    def get_readonly_fields(self, request, obj=None):
        fixed = ("user",) if obj else ()
        return (*super().get_readonly_fields(request, obj), *fixed)

    def has_delete_permission(self, request, obj=None):
        return False


@admin.register(Absence)
class AbsenceAdmin(RecordAdmin):
    list_display = ("owner", "starts_at", "ends_at", "note")
    list_filter = ("starts_at", "ends_at")
    list_select_related = ("owner",)
    search_fields = ("note", "owner__email", "owner__first_name", "owner__last_name")
    ordering = ("-starts_at", "-id")
    fields = ("owner", ("starts_at", "ends_at"), "note", "custom_fields")


@admin.register(AssignmentDecision)
class AssignmentDecisionAdmin(ReadOnlyAdmin):
    """The log of who got which lead, and why."""

    list_display = ("created_at", "lead", "outcome", "assignee", "rule")
    list_filter = ("outcome", "created_at")
    list_select_related = ("lead", "assignee", "rule")
    fields = (*list_display, "explanation", "change_set")

    def _may(self, request, action, obj=None):
        rules = scope_of(request.user, AssignmentRule.record_type(), Verb.VIEW)
        if action != "view" or rules != Scope.ALL:
            return False
        return obj is None or self.get_queryset(request).filter(pk=obj.pk).exists()
