"""Pages: by number with a count, or by a signed keyset cursor without one.

Rows are counted up to `MAX_COUNT`, so that a page costs the same in a table of any
size; and not at all where the page shows that it is the last.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from django.core import signing
from django.db.models import F, Field, Q, QuerySet
from django.db.models.fields.tuple_lookups import TupleGreaterThan, TupleLessThan
from rest_framework.exceptions import NotFound
from rest_framework.pagination import BasePagination
from rest_framework.utils.urls import remove_query_param, replace_query_param

from core.exceptions import bad_parameter
from core.models.values import to_json

DEFAULT_SIZE = 25
MAX_SIZE = 200
MAX_COUNT = 10_000
NO_ROWS = Q(pk__in=[])
Ordering = list[tuple[str, bool]]
# Without a time: the same page has the same bytes, whenever it is made.
signer = signing.Signer(salt="cursor")


class Pagination(BasePagination):
    """`page` and `page_size`, or `cursor` (empty for the first page)."""

    def paginate(self, request, queryset: QuerySet, ordering: Ordering, select) -> dict:
        """One page of the queryset.

        Args:
            ordering: (field, descending) pairs, of which the last is unique.
            select: turns (queryset, names of further columns) into a list of
                (answer, values of those columns).
        """
        page = cursor_page if goes_by_cursor(request) else number_page
        return page(request, queryset, ordering, select, page_size(request))

    def get_schema_operation_parameters(self, view):
        def parameter(name, schema, description):
            return {
                "name": name,
                "in": "query",
                "required": False,
                "description": description,
                "schema": schema,
            }

        return [
            parameter("page", {"type": "integer", "minimum": 1}, "Number of the page."),
            parameter(
                "page_size",
                {"type": "integer", "minimum": 1, "maximum": MAX_SIZE},
                f"Records on a page; {DEFAULT_SIZE} if not given.",
            ),
            parameter(
                "cursor",
                {"type": "string"},
                "Pages that stay stable while records come and go, and cost the same at"
                " any depth: empty for the first page, then as in `next`. No count.",
            ),
        ]

    def get_paginated_response_schema(self, schema):
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {
                "count": {
                    "type": "integer",
                    "description": "How many there are, or as many as were counted"
                    " where `capped`. Not with a cursor.",
                },
                "capped": {
                    "type": "boolean",
                    "description": f"Whether there are more than {MAX_COUNT:,}, which"
                    " are not counted. Not with a cursor.",
                },
                "next": link,
                "previous": link,
                "results": schema,
            },
        }


def goes_by_cursor(request) -> bool:
    """Whether a page behind a row is asked for, and not one by its number."""
    asked = "cursor" in request.query_params
    if asked and "page" in request.query_params:
        raise bad_parameter("page", "Give a page or a cursor, not both.")
    return asked


def page_size(request) -> int:
    size = whole_number(request, "page_size", DEFAULT_SIZE)
    if size > MAX_SIZE:
        raise bad_parameter("page_size", f"At most {MAX_SIZE}.", "max_value")
    return size


def whole_number(request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise bad_parameter(name, "Give a whole number from 1.")
    return int(text)


def sorted_by(queryset: QuerySet, ordering: Ordering, reverse=False) -> QuerySet:
    """Order the rows; those without a value come last, or first in reverse."""
    terms = []
    for name, descending in ordering:
        nulls = {}
        if column(queryset, name).null:
            nulls = {"nulls_first": True} if reverse else {"nulls_last": True}
        value = F(name)
        terms.append(
            value.desc(**nulls) if descending != reverse else value.asc(**nulls)
        )
    return queryset.order_by(*terms)


def column(queryset: QuerySet, name: str) -> Field:
    """The field of the model, or of an annotation, that has this name."""
    annotation = queryset.query.annotations.get(name)
    return (
        annotation.output_field if annotation else queryset.model._meta.get_field(name)
    )


# By number


def number_page(request, queryset, ordering, select, size) -> dict:
    number = whole_number(request, "page", 1)
    page, counted = number_querysets(queryset, ordering, number, size)
    return numbered_page(request, number, size, select(page, ()), counted.count)


def number_querysets(
    queryset: QuerySet, ordering: Ordering, number: int, size: int
) -> tuple[QuerySet, QuerySet]:
    """The rows of a page and the one after them, and the rows that are counted."""
    first = (number - 1) * size
    page = sorted_by(queryset, ordering)[first : first + size + 1]
    return page, queryset.order_by()[: MAX_COUNT + 1]


def numbered_page(
    request, number: int, size: int, rows: list, count: Callable[[], int]
) -> dict:
    """The answer of the rows that `number_querysets` means.

    Args:
        count: called only where the page does not tell how many there are.
    """
    if number > 1 and not rows:
        raise no_such_page()
    more = len(rows) > size
    total = count() if more else (number - 1) * size + len(rows)
    capped = more and total > MAX_COUNT
    return {
        "count": MAX_COUNT if capped else total,
        "capped": capped,
        **number_links(request, number, more),
        "results": [answer for answer, _ in rows[:size]],
    }


def no_such_page() -> NotFound:
    return NotFound("There is no such page.", code="page_not_found")


def number_links(request, number: int, more: bool) -> dict:
    """The addresses of the pages beside one; `more`: whether another follows."""
    url = request.build_absolute_uri()
    return {
        "next": replace_query_param(url, "page", number + 1) if more else None,
        "previous": None
        if number == 1
        else remove_query_param(url, "page")
        if number == 2
        else replace_query_param(url, "page", number - 1),
    }


# By cursor


@dataclass(frozen=True)
class Cursor:
    """A place between two rows, and the direction to read on in."""

    values: list
    backwards: bool

    def encode(self, url: str, ordering: Ordering = ()) -> str:
        content = [query_digest(url, ordering), int(self.backwards), self.values]
        return signer.sign_object(content)

    @classmethod
    def decode(cls, request, ordering: Ordering = ()) -> "Cursor | None":
        """The request's cursor; None on the first page.

        Signed, so that nothing but what `encode` gave comes in, and bound to the query
        and its ordering, so that it is not used with others.
        """
        text = request.GET["cursor"]
        if not text:
            return None
        try:
            digest, backwards, values = signer.unsign_object(text)
        except signing.BadSignature:
            raise bad_parameter("cursor", "This is not a cursor of ours.") from None
        if digest != query_digest(request.build_absolute_uri(), ordering):
            raise bad_parameter(
                "cursor", "This cursor belongs to another query.", "wrong_query"
            )
        return cls(values, bool(backwards))


def query_digest(url: str, ordering: Ordering) -> str:
    parts = urlsplit(url)
    query = [
        pair
        for pair in sorted(parse_qsl(parts.query, keep_blank_values=True))
        if pair[0] not in ("cursor", "page_size")
    ]
    text = f"{parts.path}{query}{ordering}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def cursor_page(request, queryset, ordering, select, size) -> dict:
    cursor = Cursor.decode(request, ordering)
    rows = rows_from(cursor, queryset, ordering, select, size + 1)
    return page_from(request, cursor, ordering, size, rows)


def page_from(
    request, cursor: Cursor | None, ordering: Ordering, size: int, rows: list
) -> dict:
    """The answer of the rows from a cursor on, with one more if there is one.

    Args:
        rows: (answer, values of what they are ordered by) of each, as they are read.
    """
    more = len(rows) > size
    rows = rows[:size]
    if cursor is not None and cursor.backwards:
        rows.reverse()
    return {
        **cursor_links(request, cursor, [values for _, values in rows], more, ordering),
        "results": [answer for answer, _ in rows],
    }


def cursor_links(
    request, cursor: Cursor | None, places: list, more: bool, ordering: Ordering = ()
) -> dict:
    """What a page says beside its results.

    Args:
        places: of each row, the values that the rows are ordered by.
        more: whether rows follow in the direction of reading.
    """
    backwards = cursor is not None and cursor.backwards

    def link(values, backwards):
        return address_from(request.build_absolute_uri(), ordering, values, backwards)

    has_next = places and (more or backwards)
    has_previous = places and (more if backwards else cursor is not None)
    return {
        "next": link(places[-1], False) if has_next else None,
        "previous": link(places[0], True) if has_previous else None,
    }


def address_from(url: str, ordering: Ordering, values, backwards=False) -> str:
    """The address of the page that goes on from a row of the list at `url`.

    Args:
        values: of the row, in the fields of the ordering.
    """
    place = Cursor([to_json(value) for value in values], backwards)
    return replace_query_param(url, "cursor", place.encode(url, ordering))


def rows_from(
    cursor: Cursor | None, queryset: QuerySet, ordering: Ordering, select, size: int
) -> list:
    """The next rows from a cursor on, or the first ones, as `select` gives them."""
    values = cursor and values_at(cursor, queryset, ordering)
    columns = [name for name, _ in ordering]
    rows: list = []
    for stretch in stretches(cursor, values, queryset, ordering):
        rows += select(stretch[: size - len(rows)], columns)
        if len(rows) == size:
            break
    return rows


def values_at(cursor: Cursor, queryset: QuerySet, ordering: Ordering) -> list:
    """The values that stand in a cursor as JSON has them."""
    names = (name for name, _ in ordering)
    return [
        column(queryset, name).to_python(text)
        for name, text in zip(names, cursor.values, strict=True)
    ]


def stretches(
    cursor: Cursor | None,
    values: Sequence | None,
    queryset: QuerySet,
    ordering: Ordering,
) -> list[QuerySet]:
    """The rows on the far side of a cursor, or all, in the order in which they come.

    Those with a value in the first column, and those without, are stretches of their
    own, each of which an index gives from its beginning; together they would be read
    from the first row of the table on.

    Args:
        values: that the cursor stands at, or `Bound` ones in the place of some.
    """
    backwards = cursor is not None and cursor.backwards
    conditions = _conditions(queryset, ordering, values, backwards) if cursor else [Q()]
    return [sorted_by(queryset.filter(c), ordering, backwards) for c in conditions]


def _conditions(
    queryset: QuerySet, ordering: Ordering, values: Sequence, backwards: bool
) -> list[Q]:
    (name, _), *_ = ordering
    if not column(queryset, name).null:
        return [_beyond(queryset, ordering, values, backwards)]
    without_value = Q((f"{name}__isnull", True))
    if values[0] is not None:
        here = _beyond(queryset, ordering, values, backwards)
        return [here] if backwards else [here, without_value]
    here = without_value & _beyond(queryset, ordering[1:], values[1:], backwards)
    return [here, ~without_value] if backwards else [here]


def _beyond(
    queryset: QuerySet, ordering: Ordering, values: Sequence, backwards: bool
) -> Q:
    """Rows beyond these values, of those that have a value in the first column."""
    fields = [column(queryset, name) for name, _ in ordering]
    downwards = {descending != backwards for _, descending in ordering}
    if len(downwards) == 1 and not any(field.null for field in fields[1:]):
        return behind([name for name, _ in ordering], values, downwards.pop())
    # (a > x) or (a = x and b > y) or ...
    condition = equal = Q()
    for (name, descending), field, value in zip(ordering, fields, values, strict=True):
        after = _after(name, field, value, descending != backwards, backwards)
        condition |= equal & after
        equal &= Q((name, value))
    name, descending = ordering[0]
    # The bound on the first column stands alone as well, for the index to begin at.
    side = "lte" if descending != backwards else "gte"
    return Q((f"{name}__{side}", values[0])) & condition


def behind(names: Sequence[str], values: Sequence, downwards: bool) -> Q:
    """The rows that come after one with these values, in the order of some columns.

    Rows are compared whole, so that an index is entered just there.
    """
    compare = TupleLessThan if downwards else TupleGreaterThan
    return Q(compare([F(name) for name in names], values))


def _after(name: str, field: Field, value, descending: bool, nulls_first: bool) -> Q:
    """Rows whose value comes after this one."""
    if value is None:
        return Q((f"{name}__isnull", False)) if nulls_first else NO_ROWS
    after = Q((f"{name}__{'lt' if descending else 'gt'}", value))
    if field.null and not nulls_first:
        after |= Q((f"{name}__isnull", True))
    return after
