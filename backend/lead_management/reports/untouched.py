from django.db.models import Count, Min, Q
from django.db.models.functions import Coalesce
from rest_framework import serializers

from core.serializers import StrictSerializer
from lead_management.models import Lead

from .period import DAY, start_of_day
from .question import UntouchedParameters
from .report import PersonSerializer, Report, ReportSerializer

Status = Lead.Status
OPEN = (Status.NEW, Status.CONTACTED, Status.QUALIFIED)


class WaitingSerializer(StrictSerializer):
    leads = serializers.IntegerField()
    never = serializers.IntegerField(help_text="Those that nobody ever spoke to.")
    longest_since = serializers.DateTimeField(
        allow_null=True, help_text="Since when the first of them waits."
    )


class WaitingPersonSerializer(WaitingSerializer):
    person = PersonSerializer(allow_null=True)


class UntouchedReportSerializer(ReportSerializer, WaitingSerializer):
    days = serializers.IntegerField()
    people = WaitingPersonSerializer(
        many=True, required=False, help_text="The one with most of them first."
    )


class Untouched(Report):
    """Open leads created in a period that nobody has spoken to for some days.

    Whole days: those of the last touch and of today do not count. A lead that was never
    spoken to waits since it was created.
    """

    name = "untouched"
    title = "Leads without a touch"
    model = Lead
    moment = "created_at"
    needs = {Lead: ("status", "last_contacted_at")}
    parameters = UntouchedParameters
    serializer = UntouchedReportSerializer

    def figures(self):
        today = start_of_day(self.asked.today, self.asked.period.zone)
        since = today - self.asked.days * DAY
        waits = Coalesce("last_contacted_at", "created_at")
        leads = self.records().annotate(waits=waits)
        leads = leads.filter(status__in=OPEN, waits__lt=since)
        figures = {
            "leads": Count("pk"),
            "never": Count("pk", Q(last_contacted_at=None)),
            "longest_since": Min("waits"),
        }
        told = {"days": self.asked.days}
        if "owner" in self.hidden:
            return told | leads.aggregate(**figures)
        rows = list(
            leads.values("owner").annotate(**figures).order_by("-leads", "owner")
        )
        people = self.people(row["owner"] for row in rows)
        told["leads"] = sum(row["leads"] for row in rows)
        told["never"] = sum(row["never"] for row in rows)
        told["longest_since"] = min((r["longest_since"] for r in rows), default=None)
        told["people"] = [
            {"person": people.get(row.pop("owner")), **row} for row in rows
        ]
        return told
