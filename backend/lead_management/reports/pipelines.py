from collections import Counter

from django.db.models import Count, Sum
from rest_framework import serializers

from core.serializers import StrictSerializer
from lead_management.models import Deal, Kind, Pipeline, Stage
from lead_management.serializers import NamedPipelineSerializer, SumSerializer
from lead_management.sums import nothing, sums, totals

from .report import Report, ReportSerializer, average_seconds
from .table import DAYS, TEXT, Column, Table, days, money_columns


class TotalSerializer(StrictSerializer):
    deals = serializers.IntegerField()
    sums = SumSerializer(
        many=True, required=False, help_text="Of the deals with an amount."
    )


class StageValueSerializer(TotalSerializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    average_seconds = serializers.FloatField(
        allow_null=True, help_text="How long deals were in it, of the stays that ended."
    )


class PipelineValueSerializer(NamedPipelineSerializer):
    stages = StageValueSerializer(many=True, help_text="Those that are open.")


class PipelinesReportSerializer(ReportSerializer):
    pipelines = PipelineValueSerializer(many=True)


class Pipelines(Report):
    """What the open deals that are expected to close in a period are worth, by stage.

    Weighted by the probability of each deal, or that of its stage.
    """

    name = "pipelines"
    title = "Pipeline value"
    model = Deal
    moment = "expected_close_on"
    needs = {Deal: ("stage", "expected_close_on"), Pipeline: ()}
    serializer = PipelinesReportSerializer

    def figures(self):
        stages = Stage.objects.visible_to(self.asked.user).filter(kind=Kind.OPEN)
        stages = stages.select_related("pipeline").order_by(*Stage._meta.ordering)
        names = {Pipeline.record_type()}
        worth, stays = self.counted(self._worth, self._stays, names=names)
        values = totals(worth, "stage", self.hidden)
        count, length = Counter(), Counter()
        for row in stays:
            count[row["stays__stage"]] += row["count"]
            length[row["stays__stage"]] += row["length"]
        pipelines = {}
        for stage in stages:
            pipeline, key = stage.pipeline, str(stage.pk)
            shown = pipelines.setdefault(
                pipeline.pk, {"id": pipeline.pk, "name": pipeline.name, "stages": []}
            )
            shown["stages"].append(
                {
                    "id": stage.pk,
                    "name": stage.name,
                    **values.get(key, nothing(self.hidden)),
                    "average_seconds": average_seconds(length[key], count[key]),
                }
            )
        return {"pipelines": list(pipelines.values())}

    def _worth(self, records):
        return sums(records.filter(stage__kind=Kind.OPEN), "owner", "stage")

    def _stays(self, records):
        """How long deals were in each stage, those that are over too."""
        stays = records.filter(stays__isnull=False).values("owner", "stays__stage")
        return stays.annotate(count=Count("stays"), length=Sum("stays__duration"))

    def table(self, answer):
        stages = [
            {"pipeline": pipeline["name"], **stage}
            for pipeline in answer["pipelines"]
            for stage in pipeline["stages"]
        ]
        titles = {"amount": "Amount", "weighted": "Weighted"}
        columns, cells = money_columns(stages, "sums", titles)
        table = Table(
            [
                *(Column("Pipeline", TEXT), Column("Stage", TEXT), Column("Deals")),
                *columns,
                Column("Days in it", DAYS),
            ]
        )
        table.bars = [2, *(3 + n for n, _ in enumerate(columns))]
        for stage in stages:
            names = [stage["pipeline"], stage["name"], stage["deals"]]
            table.rows.append([*names, *cells(stage), days(stage["average_seconds"])])
        return table
