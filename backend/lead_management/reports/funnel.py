from collections import Counter

from django.db.models import Count, Q, Sum
from rest_framework import serializers

from core.serializers import StrictSerializer
from lead_management.models import Lead

from .report import Report, ReportSerializer, average_seconds, share
from .table import DAYS, SHARE, TEXT, Column, Table, days

Status = Lead.Status
STEPS = (Status.NEW, Status.CONTACTED, Status.QUALIFIED, Status.CONVERTED)
ENDS = (Status.UNQUALIFIED, Status.LOST)


def from_step(step: Status) -> tuple[Status, ...]:
    """The step and those after it."""
    return STEPS[STEPS.index(step) :]


def length_of(status: Status, counts: Counter) -> float | None:
    """How long leads were in a status, in seconds."""
    return average_seconds(counts[f"length_{status}"], counts[f"stays_{status}"])


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
        found, past = self.counted(self._now, self._past)
        now, counts = Counter(), Counter()
        for row in found:
            now[row["status"]] += row["leads"]
        for row in past:
            del row["owner"]
            counts.update({name: value or 0 for name, value in row.items()})
        leads = reached_before = now.total()
        steps = []
        for step in STEPS:
            reached = leads
            if step != Status.NEW:
                reached = counts[f"left_{step}"] + sum(now[s] for s in from_step(step))
            steps.append(
                {
                    "status": step,
                    "now": now[step],
                    "reached": reached,
                    "of_all": share(reached, leads),
                    "of_previous": share(reached, reached_before),
                    "average_seconds": length_of(step, counts),
                }
            )
            reached_before = reached
        ends = [
            {
                "status": end,
                "now": now[end],
                "of_all": share(now[end], leads),
                "average_seconds": length_of(end, counts),
            }
            for end in ENDS
        ]
        return {"leads": leads, "steps": steps, "ends": ends}

    def _now(self, records):
        return records.values("owner", "status").annotate(leads=Count("pk"))

    def _past(self, records):
        """Of the stays that ended: how long they were, and who was further once."""
        figures = {}
        for status in Status:
            stays = Q(stays__status=status)
            figures[f"stays_{status}"] = Count("stays", filter=stays)
            figures[f"length_{status}"] = Sum("stays__duration", filter=stays)
        for step in STEPS[1:]:
            later = from_step(step)
            figures[f"left_{step}"] = Count(
                "pk",
                distinct=True,
                filter=Q(stays__status__in=later) & ~Q(status__in=later),
            )
        return records.filter(stays__isnull=False).values("owner").annotate(**figures)

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
