from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model

from core.access import Verb, reaches
from core.admin import RecordAdmin
from lead_management.models import ReportSchedule
from lead_management.reports import REPORTS, Preset, mailing


@admin.register(ReportSchedule)
class ReportScheduleAdmin(RecordAdmin):
    """Reports that are mailed by themselves."""

    list_display = ("name", "report", "every", "hour", "next_at", "is_active", "owner")
    list_filter = ("is_active", "every")
    list_select_related = ("owner",)
    search_fields = ("name",)
    fields = (
        ("name", "is_active"),
        ("report", "period", "attachment"),
        ("every", "weekday", "day", "hour"),
        "recipients",
        ("owner", "next_at"),
        "custom_fields",
    )
    readonly_fields = ("next_at",)
    actions = ("send_now", *RecordAdmin.actions)

    def formfield_for_dbfield(self, db_field, request, **kwargs):
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "report":
            choices = [(name, report.title) for name, report in REPORTS.items()]
            return forms.ChoiceField(choices=choices)
        if db_field.name == "period":
            return forms.ChoiceField(choices=Preset.choices, initial="last_week")
        if db_field.name == "recipients":
            people = get_user_model().objects.visible_to(request.user)
            people = people.filter(is_active=True)
            return RecipientsField(
                queryset=people, required=False, help_text="None: its owner."
            )
        return field

    def has_send_permission(self, request):
        """As in the API: nobody sends to people who are hidden from them."""
        is_hidden = "recipients" in self.field_rights(request).hidden
        return self.has_change_permission(request) and not is_hidden

    @admin.action(description="Send now", permissions=("send",))
    def send_now(self, request, queryset):
        rows = queryset.live().select_related("organization", "owner")
        mine = [row for row in rows if reaches(request.user, row, Verb.EDIT)]
        count = sum(mailing.send(schedule) for schedule in mine)
        self.message_user(request, f"E-mails on their way: {count}.")


class RecipientsField(forms.ModelMultipleChoiceField):
    """People, kept as a list of their ids."""

    def clean(self, value):
        return [str(user.pk) for user in super().clean(value)]

    def has_changed(self, initial, data):
        return sorted(map(str, initial or ())) != sorted(map(str, data or ()))
