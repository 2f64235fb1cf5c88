from copy import copy

from django.contrib import admin
from django.core.exceptions import ValidationError

from contact_management.admin import ADDRESS_SECTION
from core.access import hidden_fields
from core.admin import JournaledAdmin, JournaledForm, RecordAdmin
from core.concealment import conceal
from core.exceptions import Conflict
from lead_management.models import Lead, LeadProcess
from lead_management.scoring.explanation import explained

from .conversion import ConversionPage
from .stays import StaysAdmin


class LeadForm(JournaledForm):
    """Changes the status as the process of the organization allows it."""

    def clean(self):
        cleaned = super().clean() or self.cleaned_data
        status = cleaned.get("status")
        lead, process = self.instance, LeadProcess.of(self.instance.organization)
        if status is None or "status" not in self.changed_data:
            return cleaned
        if lead._state.adding:
            if status not in process.initial():
                self.add_error(
                    "status", f"Leads begin in: {', '.join(process.initial())}."
                )
            return cleaned
        typed = copy(lead)
        for name, value in cleaned.items():
            if name != "status" and name in typed.journaled_fields():
                setattr(typed, name, value)
        reason = cleaned.get("status_reason", "")
        lead.status_since = lead.arrival(reason)["status_since"]
        try:
            process.require_move(typed, status, reason)
        except Conflict as conflict:
            self.add_error("status", str(conflict.detail))
        except ValidationError as error:
            for name, errors in error.error_dict.items():
                field = "status_reason" if name == "reason" else name
                self.add_error(field if field in self.fields else "status", errors)
        return cleaned


@admin.register(Lead)
class LeadAdmin(ConversionPage, StaysAdmin, RecordAdmin):
    form = LeadForm
    change_form_after_template = "lead_management/admin/lead.html"
    list_display = (
        *("__str__", "email", "company_name", "status", "priority", "lead_score"),
        *("owner", "next_follow_up_at", "created_at"),
    )
    list_filter = (
        *("status", "priority", "lead_source"),
        *("next_follow_up_at", "last_contacted_at", "created_at"),
    )
    list_select_related = ("owner",)
    search_fields = ("first_name", "last_name", "email", "company_name")
    readonly_fields = (
        *("phone_e164", "status_since", "lead_score"),
        *("version", "updated_at"),
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("first_name", "last_name"),
                    ("email", "company_name"),
                    ("job_title", "phone_label"),
                    ("phone", "phone_e164"),
                    ("status", "status_reason"),
                    ("status_since", "lead_score"),
                    ("lead_source", "priority"),
                    ("estimated_value", "currency"),
                    ("probability",),
                    ("last_contacted_at",),
                    ("next_follow_up_at",),
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
                    ("website", "other_phones"),
                    ("external_ids", "custom_fields"),
                    ("version", "updated_at"),
                )
            },
        ),
    )

    def get_queryset(self, request):
        return super().get_queryset(request).with_scores(request.user.organization_id)

    @admin.display(description="score", ordering="lead_score")
    def lead_score(self, lead):
        return lead.lead_score

    def has_change_permission(self, request, obj=None):
        is_converted = obj is not None and obj.status == Lead.Status.CONVERTED
        return not is_converted and super().has_change_permission(request, obj)

    def save_model(self, request, obj, form, change):
        """Without an owner in the form, rules choose one."""
        obj.auto_assign = not change and obj.owner_id is None
        super().save_model(request, obj, form, change)

    def has_delete_permission(self, request, obj=None):
        is_kept = obj is not None and obj.converted_contact_id is not None
        return not is_kept and super().has_delete_permission(request, obj)

    def get_deleted_objects(self, objs, request):
        names, counts, refused, kept = super().get_deleted_objects(objs, request)
        converted = [
            str(conceal(lead, request.user))
            for lead in objs
            if lead.converted_contact_id is not None
        ]
        return names, counts, refused, [*kept, *converted]

    def written(self, request, stored, values):
        values = super().written(request, stored, values)
        if stored and "status" in values:
            values = {**stored.arrival(""), **values}
        return values

    def told_of(self, request, record):
        hidden = hidden_fields(request.user, Lead.record_type())
        is_shown = "lead_score" not in hidden
        return {
            **super().told_of(request, record),
            "became": self.became(request, record),
            "score": explained(record, request.user) if is_shown else None,
        }


@admin.register(LeadProcess)
class LeadProcessAdmin(JournaledAdmin):
    """One row, once somebody changed the defaults in the API."""

    list_display = ("__str__", "updated_at")

    def has_add_permission(self, request):
        return False

    def has_delete_permission(self, request, obj=None):
        return False
