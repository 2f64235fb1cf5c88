from django.db.models import Avg, Count, Q
from rest_framework import serializers

from core.serializers import StrictSerializer
from lead_management.models import Lead

from .report import Report, ReportSerializer, seconds, share
from .table import DAYS, SHARE, TEXT, Column, Table, days

Status = Lead.Status
STEPS = (Status.NEW, Status.CONTACTED, Status.QUALIFIED, Status.CONVERTED)
ENDS = (Status.UNQUALIFIED, Status.LOST)


class StatusSerializer(StrictSerializer):
    status = serializers.ChoiceField(Status.choices)
    now = serializers.IntegerField(help_text="Leads that are in it.")
    of_all = serializers.FloatField(
        allow_null=True, help_text="Which part of all leads that is, from 0 to 1."
    )
    average_seconds = serializers.FloatField(
        allow_null=True, help_text="How long leads were in it, of the stays that ended."
    )


class StepSerializer(StatusSerializer):
    reached = serializers.IntegerField(
        help_text="Leads that are, or were, in it or in a later step."
    )
    of_all = serializers.FloatField(
        allow_null=True, help_text="Which part of all leads reached it, from 0 to 1."
    )
    of_previous = serializers.FloatField(
        allow_null=True,
        help_text="Which part of those who reached the step before, from 0 to 1.",
    )


class FunnelReportSerializer(ReportSerializer):
    leads = serializers.IntegerField()
    steps = StepSerializer(many=True)
    ends = StatusSerializer(many=True)


class Funnel(Report):
    """How far leads created in a period have come, and how long each status took."""

    name = "funnel"
    title = "Lead funnel"
    model = Lead
    moment = "created_at"
    needs = {Lead: ("status",)}
    reads = {Lead: ("status", "status_since")}
    serializer = FunnelReportSerializer

    def figures(self):
        now = dict(self.records().values_list("status").annotate(Count("pk")))
        past = self._past()
        leads = reached_before = sum(now.values())
        steps = []
        for step in STEPS:
            later = STEPS[STEPS.index(step) :]
            reached = leads
            if step != Status.NEW:
                reached = past[f"left_{step}"] + sum(now.get(s, 0) for s in later)
            steps.append(
                {
                    "status": step,
                    "now": now.get(step, 0),
                    "reached": reached,
                    "of_all": share(reached, leads),
                    "of_previous": share(reached, reached_before),
                    "average_seconds": seconds(past[f"stay_{step}"]),
                }
            )
            reached_before = reached
        ends = [
            {
                "status": end,
                "now": now.get(end, 0),
                "of_all": share(now.get(end, 0), leads),
                "average_seconds": seconds(past[f"stay_{end}"]),
            }
            for end in ENDS
        ]
        return {"leads": leads, "steps": steps, "ends": ends}

    def _past(self) -> dict:
        """From the stays that ended: how long they were, and who was further once."""
        figures = {
            f"stay_{status}": Avg("stays__duration", filter=Q(stays__status=status))
            for status in Status
        }
        for step in STEPS[1:]:
            later = STEPS[STEPS.index(step) :]
            figures[f"left_{step}"] = Count(
                "pk",
                distinct=True,
                filter=Q(stays__status__in=later) & ~Q(status__in=later),
            )
        return self.records().filter(stays__isnull=False).aggregate(**figures)

    def table(self, answer):
        table = Table(
            [
                *(Column("Status", TEXT), Column("Reached"), Column("Now")),
                *(Column("Of all", SHARE), Column("Of those before", SHARE)),
                Column("Days in it", DAYS),
            ],
            bars=[1],
        )
        for one in (*answer["steps"], *answer["ends"]):
            row = [Status(one["status"]).label, one.get("reached", one["now"])]
            row += [one["now"], one["of_all"], one.get("of_previous")]
            table.rows.append([*row, days(one["average_seconds"])])
        return table
