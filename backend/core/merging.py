"""Several tables read as one log, the newest first, page by page.

A page takes its rows from each table by an index of that table, and merges them here: a
UNION in the database would sort all of them whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from core.exceptions import bad_parameter
from core.pagination import (
    MAX_COUNT,
    Cursor,
    behind,
    cursor_links,
    goes_by_cursor,
    no_such_page,
    number_links,
    page_size,
    whole_number,
)


@dataclass(frozen=True)
class Stream:
    """Rows of one table; `moment`: the column that tells when each happened."""

    rows: QuerySet
    moment: str = "created_at"


# The place of a row: its time, the number of its stream, its id. Later is greater.
Place = tuple[datetime, int, object]
# Gives what stands at some places, as far as it is still there.
Show = Callable[[list[Place]], list[dict]]


def page(request, streams: Sequence[Stream], show: Show) -> dict:
    """The page that the request asks for, by number or by cursor."""
    size = page_size(request)
    if goes_by_cursor(request):
        return _cursor_page(request, streams, size, show)
    number = whole_number(request, "page", 1)
    # A numbered page costs as much as all pages before it; a cursor does not.
    if (number - 1) * size >= MAX_COUNT:
        detail = f"Pages end at {MAX_COUNT} entries; use a cursor."
        raise bad_parameter("page", detail, "max_value")
    counted = sum(stream.rows.order_by()[: MAX_COUNT + 1].count() for stream in streams)
    count = min(counted, MAX_COUNT)
    if number > 1 and (number - 1) * size >= count:
        raise no_such_page()
    found = places(streams, number * size)[(number - 1) * size :]
    return {
        "count": count,
        "capped": counted > count,
        **number_links(request, number, number * size < count),
        "results": show(found),
    }


def _cursor_page(request, streams, size, show) -> dict:
    cursor = Cursor.decode(request)
    backwards = cursor is not None and cursor.backwards
    start = None
    if cursor:
        moment, stream, pk = cursor.values
        start = (datetime.fromisoformat(moment), stream, pk)
    found = places(streams, size + 1, start, backwards)
    more = len(found) > size
    found = found[:size]
    if backwards:
        found.reverse()
    return {**cursor_links(request, cursor, found, more), "results": show(found)}


def places(
    streams: Sequence[Stream], size: int, start: Place | None = None, backwards=False
) -> list[Place]:
    """The next `size` places after `start`: the newest first, or backwards."""
    found = []
    sign = "" if backwards else "-"
    for number, stream in enumerate(streams):
        rows = stream.rows
        if start:
            rows = rows.filter(_beyond(number, stream.moment, start, backwards))
        ordered = rows.order_by(f"{sign}{stream.moment}", f"{sign}id")
        keys = ordered.values_list(stream.moment, "id")[:size]
        found += [(moment, number, pk) for moment, pk in keys]
    return sorted(found, reverse=not backwards)[:size]


def _beyond(number: int, column: str, start: Place, backwards: bool) -> Q:
    moment, start_number, pk = start
    side = "gt" if backwards else "lt"
    if number == start_number:
        return behind([column, "id"], [moment, pk], not backwards)
    same_moment_too = number > start_number if backwards else number < start_number
    return Q((f"{column}__{side}{'e' if same_moment_too else ''}", moment))
