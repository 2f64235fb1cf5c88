"""The board of deals: a column for each stage of a pipeline."""

from collections import defaultdict
from decimal import Decimal

from django.db.models import (
    Count,
    DecimalField,
    ExpressionWrapper,
    F,
    QuerySet,
    Sum,
    Window,
)
from django.db.models.functions import Coalesce, RowNumber
from django.utils.http import urlencode

from core.fields import CENT
from core.pagination import Ordering, address_from, sorted_by
from lead_management.models import Pipeline

MONEY = DecimalField(max_digits=30, decimal_places=2)


class Board:
    """The deals of a pipeline as its columns: three queries, however many there are."""

    def __init__(self, view, pipeline: Pipeline, deals: QuerySet, ordering: Ordering):
        """
        Args:
            view: of deals, which knows what is asked and what the user may see of them.
            deals: that the user may see, and that the filters leave.
        """
        self.view = view
        self.pipeline = pipeline
        self.deals = deals.filter(pipeline=pipeline)
        self.ordering = ordering
        self.hidden = view.field_rights.hidden

    def answer(self, size: int) -> dict:
        """The board with the first `size` deals of each column."""
        counts, sums = self._totals()
        rows = self._first(size)
        return {
            "pipeline": {"id": self.pipeline.pk, "name": self.pipeline.name},
            "columns": [
                self._column(
                    stage, counts[stage["id"]], sums[stage["id"]], rows[stage["id"]]
                )
                for stage in self.pipeline.stages
            ],
        }

    def _column(self, stage: dict, count: int, sums: list, rows: list) -> dict:
        column = {"stage": stage, "count": count}
        if self.hidden.isdisjoint(("amount", "currency")):
            column["sums"] = sums
        column["results"] = [answer for answer, _ in rows]
        column["next"] = None
        if count > len(rows):
            column["next"] = self._next(stage, rows[-1][1])
        return column

    def _totals(self) -> tuple[dict, dict]:
        """How many deals stand in each stage, and what they are worth, by its id."""
        probability = Coalesce("probability", "stage__probability")
        weighted = ExpressionWrapper(F("amount") * probability, output_field=MONEY)
        totals = self.deals.order_by().values("stage", "currency")
        totals = totals.annotate(
            deals=Count("pk"), amounts=Sum("amount"), weighted=Sum(weighted)
        )
        counts, sums = defaultdict(int), defaultdict(list)
        for total in totals.order_by("currency"):
            stage = str(total["stage"])
            counts[stage] += total["deals"]
            if total["amounts"] is not None:
                amounts = {
                    "currency": total["currency"],
                    "amount": Decimal(total["amounts"]).quantize(CENT),
                }
                if "probability" not in self.hidden:
                    percent = Decimal(total["weighted"])
                    amounts["weighted"] = (percent / 100).quantize(CENT)
                sums[stage].append(amounts)
        return counts, sums

    def _first(self, size: int) -> dict[str, list]:
        """The first deals of each stage, with their places in its order, by its id."""
        place = Window(
            RowNumber(),
            partition_by="stage",
            order_by=sorted_by(self.deals, self.ordering).query.order_by,
        )
        first = self.deals.annotate(place=place).filter(place__lte=size)
        deals = self.deals.filter(pk__in=first.order_by().values("pk"))
        names = [name for name, _ in self.ordering]
        rows = defaultdict(list)
        for answer, (stage, *values) in self.view.select(
            sorted_by(deals, self.ordering), ("stage_id", *names)
        ):
            rows[str(stage)].append((answer, values))
        return rows

    def _next(self, stage: dict, values) -> str:
        """The address of the rest of a column: a page of the list."""
        request = self.view.request
        asked = {
            name: value
            for name, value in request.query_params.items()
            if name not in ("pipeline", "stage")
        }
        address = request.build_absolute_uri(request.path.removesuffix("board/"))
        query = urlencode({**asked, "stage": stage["id"]})
        return address_from(f"{address}?{query}", self.ordering, values)
