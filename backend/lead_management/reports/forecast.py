from datetime import date

from django.db.models.functions import TruncMonth
from rest_framework import serializers

from lead_management.models import Deal, Kind, Pipeline
from lead_management.sums import sums, totals

from .pipelines import TotalSerializer
from .report import Report, ReportSerializer
from .table import TEXT, Column, Table, money_columns


class MonthSerializer(TotalSerializer):
    month = serializers.DateField(
        allow_null=True, help_text="Its first day; null of deals that say no day."
    )


class ForecastReportSerializer(ReportSerializer):
    months = MonthSerializer(many=True, help_text="Those with deals, in their order.")


class Forecast(Report):
    """What the open deals bring, by the month in which each is expected to close.

    Months that are over hold deals that are late.
    """

    name = "forecast"
    title = "Forecast per month"
    model = Deal
    moment = "expected_close_on"
    needs = {Deal: ("stage", "expected_close_on")}
    tells_of = (Pipeline,)
    serializer = ForecastReportSerializer

    def figures(self):
        [rows] = self.counted(self._worth, names={Pipeline.record_type()})
        months = totals(rows, "month", self.hidden)
        named = sorted(months.keys() - {None})
        named += [None] if None in months else []
        return {
            "months": [
                {"month": month and date.fromisoformat(month), **months[month]}
                for month in named
            ]
        }

    def _worth(self, records):
        deals = records.filter(stage__kind=Kind.OPEN)
        deals = deals.annotate(month=TruncMonth("expected_close_on"))
        return sums(deals, "owner", "month")

    def table(self, answer):
        months = answer["months"]
        titles = {"amount": "Amount", "weighted": "Weighted"}
        columns, cells = money_columns(months, "sums", titles)
        table = Table([Column("Month", TEXT), Column("Deals"), *columns])
        table.bars = [1, *(2 + n for n, _ in enumerate(columns))]
        for one in months:
            month = one["month"]
            name = f"{month:%Y-%m}" if month else "No day"
            table.rows.append([name, one["deals"], *cells(one)])
        return table
