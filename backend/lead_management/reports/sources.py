from collections import Counter, defaultdict

from django.db.models import Count, Exists, OuterRef, Q, Sum
from rest_framework import serializers

from core import access
from core.serializers import StrictSerializer
from lead_management.models import Deal, Kind, Lead, Pipeline
from lead_management.sums import cents

from .report import Report, ReportSerializer, share
from .table import MONEY, SHARE, TEXT, Column, Table, money_columns


class WonSerializer(StrictSerializer):
    currency = serializers.CharField()
    deals = serializers.IntegerField()
    amount = serializers.DecimalField(max_digits=20, decimal_places=2)


class SourceSerializer(StrictSerializer):
    lead_source = serializers.CharField(help_text="Blank where nobody knows.")
    leads = serializers.IntegerField()
    converted = serializers.IntegerField()
    rate = serializers.FloatField(
        help_text="Which part of the leads was converted, from 0 to 1."
    )
    won = WonSerializer(
        many=True,
        required=False,
        help_text="What the deals that they were converted into brought: those that are"
        " won, and have an amount.",
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
    tells_of = (Deal, Pipeline)
    reads = {Lead: ("lead_source", "status", "converted_deal")}
    serializer = SourcesReportSerializer

    def figures(self):
        leads, converted = Counter(), Counter()
        [rows] = self.counted(self._came)
        for row in rows:
            leads[row["lead_source"]] += row["leads"]
            converted[row["lead_source"]] += row["converted"]
        sources = [
            {
                "lead_source": name,
                "leads": count,
                "converted": converted[name],
                "rate": share(converted[name], count),
            }
            for name, count in sorted(leads.items(), key=lambda one: (-one[1], one[0]))
        ]
        if self._shows_value():
            won = defaultdict(list)
            for row in self.rows("won", self._won):
                currency, amount = row["converted_deal__currency"], cents(row["amount"])
                total = {"currency": currency, "deals": row["deals"], "amount": amount}
                won[row["lead_source"]].append(total)
            for source in sources:
                source["won"] = won[source["lead_source"]]
        return {"sources": sources}

    def _came(self, records):
        return records.values("owner", "lead_source").annotate(
            leads=Count("pk"),
            converted=Count("pk", Q(status=Lead.Status.CONVERTED)),
        )

    def _shows_value(self) -> bool:
        """Whether the reader sees what deals bring, and which lead became which."""
        user, deal = self.asked.user, Deal.record_type()
        return (
            access.scope_of(user, deal, access.Verb.VIEW) != access.Scope.NONE
            and self.asked.hidden(Deal).isdisjoint(("stage", "amount", "currency"))
            and "converted_deal" not in self.hidden
        )

    def _won(self):
        """What came of the leads of each source, by currency.

        A deal that several leads of a source became counts once for it.
        """
        deals = Deal.objects.visible_to(self.asked.user)
        deals = deals.filter(stage__kind=Kind.WON, amount__isnull=False)
        leads = self.records().filter(status=Lead.Status.CONVERTED)
        same = {name: OuterRef(name) for name in ("converted_deal", "lead_source")}
        before = leads.filter(pk__lt=OuterRef("pk"), **same)
        rows = leads.filter(~Exists(before), converted_deal__in=deals)
        rows = rows.values("lead_source", "converted_deal__currency")
        rows = rows.annotate(deals=Count("pk"), amount=Sum("converted_deal__amount"))
        return rows.order_by("converted_deal__currency")

    def table(self, answer):
        sources = answer["sources"]
        titles = {"deals": "Deals won", "amount": "Won"}
        columns, cells = money_columns(sources, "won", titles)
        table = Table(
            [
                *(Column("Source", TEXT), Column("Leads"), Column("Converted")),
                *(Column("Rate", SHARE), *columns),
            ],
            bars=[1, *(4 + n for n, c in enumerate(columns) if c.kind == MONEY)],
        )
        names = dict(Lead._meta.get_field("lead_source").flatchoices)
        for source in sources:
            name = source["lead_source"]
            row = [names.get(name, name) or "Unknown", source["leads"]]
            row += [source["converted"], source["rate"], *cells(source)]
            table.rows.append(row)
        return table
