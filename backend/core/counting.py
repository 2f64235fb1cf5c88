"""How many rows a list has: counted once, as long as no write changes it."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from itertools import chain, starmap
from operator import ge, gt, le, lt

import orjson
from django.db.models import Count, Lookup, Max, Min, QuerySet

from core import cache
from core.indexes import orders_of
from core.models.values import to_json
from core.representation import Columns
from core.statements import Statement, columns_asked, without_bound

NEVER_CHANGED = ("organization", "created_at")
# How a value that is asked for lies beyond the last of the rows.
BEYOND: dict[str, Callable] = {"lt": gt, "lte": ge, "gt": lt, "gte": le}


def deciding(
    queryset: QuerySet, names: Collection[str], ordering: Iterable[str] = ()
) -> set[str] | None:
    """The names of the versions that decide which rows there are, in which order.

    Few writes change that. None: nobody can tell.

    Args:
        names: of the versions that the rows are made from (core.cache).
        ordering: columns.
    """
    model = queryset.model
    asked = columns_asked(queryset)
    if asked is None:
        return None
    own = {f.name: values for f, values in asked.items() if f.model is model}
    own |= dict.fromkeys(ordering)
    # Which records there are, and whose, decides always.
    for name in (*NEVER_CHANGED, *cache.EXISTENCE):
        own.pop(name, None)
    if "search_text" in own:
        del own["search_text"]
        own |= dict.fromkeys(model.searched_fields())
    others = {f.model.record_type() for f in asked if f.model is not model}
    if not (own.keys() <= model.journaled_fields().keys() and others <= set(names)):
        return None
    fields = chain.from_iterable(starmap(_named, own.items()))
    return cache.names_of_fields(model.record_type(), fields) | others


def _named(field: str, values: Collection | None) -> set[str]:
    """A field as versions name it: with its values, where only these matter."""
    named = {cache.with_value(field, value) for value in values or ()}
    return named if named and None not in named else {field}


class Counting:
    """Counts the rows of a list, again and again.

    Without a bound, the count is kept. Up to a bound that lies beyond the last of all
    rows, or beyond the last of as many as are counted, it is that of all: where that
    row is, is kept, so no row is counted for another moment that lies beyond it.
    """

    def __init__(self, rows: QuerySet, organization_id, names: Collection[str]):
        """
        Args:
            rows: sliced to as many as are counted; conditions of theirs may be bound.
            names: of the versions that they are made from (core.cache).
        """
        self.rows, self.organization_id = rows, organization_id
        decided_by = deciding(rows, names)
        self.names = names if decided_by is None else decided_by

    @cached_property
    def _statement(self) -> Statement:
        return Statement(self.rows.values_list(Columns((self.rows.model._meta.pk,))))

    @cached_property
    def _without_bound(self) -> tuple[QuerySet, Lookup] | None:
        """The rows without the only bound, and that, if they have an order by it."""
        found = without_bound(self.rows)
        if not found:
            return None
        _, bound = found
        ordered = {"created_at", *orders_of(self.rows.model)}
        return found if bound.lhs.target.name in ordered else None

    def of(self, values: Mapping) -> int:
        """How many there are.

        Args:
            values: of what is bound.
        """
        if not values:
            return self._kept("count", self._statement.count)
        if self._without_bound:
            _, bound = self._without_bound
            [value] = values.values()
            count, last = self._kept("end", self._end)
            last = bound.lhs.target.to_python(last)
            if last is None or BEYOND[bound.lookup_name](value, last):
                return count
        return self._statement.count(values)

    def _end(self) -> list:
        """How many rows there are, and the last value as it stands in JSON."""
        rows, bound = self._without_bound
        name, up = bound.lhs.target.name, bound.lookup_name in ("lt", "lte")
        rows = rows.all()
        most = rows.query.high_mark
        rows.query.clear_limits()
        rows = rows.filter((f"{name}__isnull", False)).order_by(
            name if up else f"-{name}"
        )[:most]
        last = Max(name) if up else Min(name)
        found = rows.aggregate(count=Count("*"), last=last)
        return [found["count"], to_json(found["last"])]

    def _kept(self, what: str, make: Callable):
        statement = self._statement
        found = cache.kept_part(
            self.organization_id,
            self.names,
            f"{what} {statement.sql} {statement.parameters}",
            lambda: orjson.dumps(make()),
        )
        return orjson.loads(found)
