from datetime import datetime

from django.db.models import Count, DateTimeField, Min, Q
from rest_framework import serializers

from core.serializers import StrictSerializer
from core.statements import Bound
from lead_management.models import Lead, LeadProcess
from lead_management.touches import waiting

from .period import DAY, start_of_day
from .question import DAYS_UNTOUCHED, UntouchedParameters
from .report import PersonSerializer, Report, ReportSerializer, by_most
from .table import TEXT, Column, Table, person


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
    """Open leads created in a period that nobody spoke to or moved for some days.

    Whole days: those of the last touch and of today do not count.
    """

    name = "untouched"
    title = "Leads without a touch"
    model = Lead
    moment = "created_at"
    needs = {Lead: ("status", "last_contacted_at")}
    tells_of = (LeadProcess,)
    reads = {Lead: ("status", "status_since", "last_contacted_at")}
    parameters = UntouchedParameters
    serializer = UntouchedReportSerializer

    def figures(self):
        days = self._days()
        today = start_of_day(self.asked.today, self.asked.period.zone)
        [rows] = self.counted(self._waiting, values={"before": today - days * DAY})
        since = [row["longest_since"] for row in rows]
        told = {
            "days": days,
            "leads": sum(row["leads"] for row in rows),
            "never": sum(row["never"] for row in rows),
            "longest_since": min(map(datetime.fromisoformat, since), default=None),
        }
        if "owner" not in self.hidden:
            rows = by_most(rows, "leads")
            people = self.people(row["owner"] for row in rows)
            told["people"] = [
                {
                    "person": people.get(row["owner"]),
                    "leads": row["leads"],
                    "never": row["never"],
                    "longest_since": datetime.fromisoformat(row["longest_since"]),
                }
                for row in rows
            ]
        return told

    def _waiting(self, records):
        before = Bound("before", DateTimeField())
        leads = waiting(records).filter(touched__lt=before)
        return leads.values("owner").annotate(
            leads=Count("pk"),
            never=Count("pk", Q(last_contacted_at=None)),
            longest_since=Min("touched"),
        )

    def _days(self) -> int:
        """As asked, or those after which owners are told."""
        if self.asked.days is not None:
            return self.asked.days
        process = LeadProcess.of(self.asked.user.organization)
        return process.untouched_after_days or DAYS_UNTOUCHED

    def table(self, answer):
        columns = [Column("Owner", TEXT), Column("Leads"), Column("Never spoken to")]
        table = Table([*columns, Column("Since", TEXT)], bars=[1])
        for one in answer.get("people", [{**answer, "person": {"name": "All"}}]):
            since = one["longest_since"]
            told = (
                f"{since.astimezone(self.asked.period.zone):%Y-%m-%d}" if since else ""
            )
            row = [person(one["person"]), one["leads"], one["never"], told]
            table.rows.append(row)
        return table
