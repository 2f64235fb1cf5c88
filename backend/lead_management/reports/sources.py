from django.db.models import Count, Q
from rest_framework import serializers

from core.serializers import StrictSerializer
from lead_management.models import Lead

from .report import Report, ReportSerializer, share


class SourceSerializer(StrictSerializer):
    lead_source = serializers.CharField(help_text="Blank where nobody knows.")
    leads = serializers.IntegerField()
    converted = serializers.IntegerField()
    rate = serializers.FloatField(
        help_text="Which part of the leads was converted, from 0 to 1."
    )


class SourcesReportSerializer(ReportSerializer):
    sources = SourceSerializer(many=True, help_text="The one with most leads first.")


class Sources(Report):
    """What the leads created in a period came to, by where they came from."""

    name = "sources"
    title = "Sources by yield"
    model = Lead
    moment = "created_at"
    needs = {Lead: ("lead_source", "status")}
    serializer = SourcesReportSerializer

    def figures(self):
        rows = self.records().values("lead_source")
        rows = rows.annotate(
            leads=Count("pk"),
            converted=Count("pk", Q(status=Lead.Status.CONVERTED)),
        )
        return {
            "sources": [
                {**row, "rate": share(row["converted"], row["leads"])}
                for row in rows.order_by("-leads", "lead_source")
            ]
        }
