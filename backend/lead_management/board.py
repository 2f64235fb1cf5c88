"""The board of deals: a column for each stage of a pipeline."""

from collections import defaultdict

from django.db.models import QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils.http import urlencode

from core.pagination import Ordering, address_from, sorted_by
from lead_management.models import Pipeline
from lead_management.sums import nothing, sums, totals


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
        found = totals(sums(self.deals, "stage"), "stage", self.hidden)
        totals_by_stage = {str(stage): total for stage, total in found.items()}
        rows = self._first(size)
        return {
            "pipeline": {"id": self.pipeline.pk, "name": self.pipeline.name},
            "columns": [
                self._column(
                    stage,
                    totals_by_stage.get(stage["id"], nothing(self.hidden)),
                    rows[stage["id"]],
                )
                for stage in self.pipeline.stages
            ],
        }

    def _column(self, stage: dict, total: dict, rows: list) -> dict:
        count = total["deals"]
        column = {"stage": stage, "count": count}
        if "sums" in total:
            column["sums"] = total["sums"]
        column["results"] = [answer for answer, _ in rows]
        column["next"] = None
        if count > len(rows):
            column["next"] = self._next(stage, rows[-1][1])
        return column

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
