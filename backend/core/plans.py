"""How a view answers a kind of request: what it asks of the database, written once.

Requests of a kind differ in the ids of their paths, in the words that they look for and
in the bounds of ranges that they ask for, such as a moment that goes on with the clock.
Whoever has the plan for one can answer any other for the same reader (core.recall).
"""

import re
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import NamedTuple

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404, QueryDict
from rest_framework.exceptions import APIException

from core import access, pagination
from core.counting import Counting, deciding
from core.memory import Memory
from core.pagination import Ordering
from core.representation import Reading
from core.statements import Bound, ObjectStatement

ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RANGES = ("gt", "gte", "lt", "lte")
# Longer queries, in characters, are seldom asked twice.
LONGEST_QUERY = 900
# Parameters that have seldom the same value twice.
OPEN = ("cursor", "q")
# Why a plan has no answer the view tells better: it is asked then.
REFUSALS = (Http404, APIException, ValidationError)


def is_range(name: str) -> bool:
    """Whether a query parameter asks for what lies on one side of its value."""
    return name.rpartition("__")[2] in RANGES


class Address(NamedTuple):
    """What a request asks for.

    Attributes:
        kind: what requests of a kind have in common: path and query without their
            values.
        query: with its values, whatever their order was.
    """

    kind: str
    query: str


def address_of(request) -> Address:
    text = request.META.get("QUERY_STRING", "")
    read = _address if len(text) <= LONGEST_QUERY else _address.__wrapped__
    return read(request.path_info, text)


@lru_cache(maxsize=4096)
def _address(path: str, text: str) -> Address:
    """Of a path and the query behind it, as WSGI has that; most are asked again."""
    query = sorted(QueryDict(text.encode("iso-8859-1")).lists())
    open_query = [
        (name, ["*"] * len(values) if is_range(name) or name in OPEN else values)
        for name, values in query
    ]
    return Address(f"{ID.sub('*', path)} {open_query}", str(query))


# Those of users who see the same are the same.
plans = Memory(1000)


def plan_key(kind: str, organization_id, visibility: str, proof) -> tuple:
    """Where the plan stands for requests of a kind from those who see the same.

    Args:
        proof: made before the plan is.
    """
    return organization_id, kind, visibility, proof.shared


def find(user, model: type[Model], what: str, rows: Callable[[], QuerySet], pk):
    """The row with this id, or None, by a statement kept for all who see the same.

    Args:
        what: tells the rows from others of the model.
        rows: gives them, where there is no statement yet.
    """

    def make():
        row = rows().filter(pk=Bound("pk", model._meta.pk))
        return ObjectStatement(row, planned_once=True)

    if user.proof:
        record_type = model.record_type()
        visibility = access.visibility_key(user, record_type)
        kind = f"{record_type}, {what}"
        key = plan_key(kind, user.organization_id, visibility, user.proof)
        statement = plans.kept(key, make)
    else:
        statement = make()
    return next(iter(statement.objects({"pk": pk})), None)


def named(names: frozenset[str], request, reader) -> Collection[str]:
    """Names of versions, with the ids that stand in none of them yet.

    Args:
        names: with `*` for the id in the request's path, and `me` for the reader's
            (core.cache.names_of_one, names_of_own, names_of_whose).
    """
    if not are_open(names):
        return names
    found = ID.search(request.path_info)
    pk = found[0] if found else ""
    return [name.replace("*", pk).replace("@me", f"@{reader.pk}") for name in names]


@lru_cache(maxsize=1024)
def are_open(names: frozenset[str]) -> bool:
    """Whether an id is to be put into one of the names."""
    return any("*" in name or "@me" in name for name in names)


class Made(NamedTuple):
    """An answer.

    Attributes:
        version: of the record, if it is one.
        shown: the ids of the records whose versions it is made from
            (core.cache.names_of_shown).
        names: of further versions that it is made from (core.cache.store).
    """

    content: object
    version: int | None = None
    shown: Collection = ()
    names: Collection[str] = ()


class Plan:
    """How all requests of a kind are answered."""

    def answer(self, request) -> Made:
        """Raises REFUSALS."""
        raise NotImplementedError


class DetailPlan(Plan):
    """One record, by the id in the path."""

    def __init__(self, reading: Reading):
        """`reading`: of the row whose bound `pk` this is, with its version beside."""
        self.reading = reading

    def answer(self, request) -> Made:
        """Raises Http404 where there is no such record."""
        [pk] = ID.findall(request.path_info)
        rows = self.reading.rows({"pk": pk})
        if not rows:
            raise Http404
        [(answer, (version,))] = rows
        return Made(answer, version)


class ListPlan(Plan):
    """A page of a list.

    Attributes:
        decided_by: the names of the versions that decide which rows the list has, in
            which order; None: nobody can tell.
    """

    def __init__(
        self,
        rows: QuerySet,
        ordering: Ordering,
        size: int,
        fields: Mapping[str, forms.Field],
        names: Collection[str],
    ):
        """
        Args:
            fields: what makes a value of each parameter that is bound in the rows.
            names: of the versions that the page is made from (core.cache).
        """
        self.ordering, self.size, self.fields = ordering, size, fields
        self.decided_by = deciding(rows, names, [name for name, _ in ordering])

    def values_of(self, request) -> dict:
        """Of what is bound in the rows; raises ValidationError where one is none."""
        values = {name: f.clean(request.GET[name]) for name, f in self.fields.items()}
        if None in values.values():
            raise ValidationError("Blank.")
        return values

    def made(self, page: dict, rows: list) -> Made:
        """The page of these rows, whose ids stand at the end of what is beside them."""
        return Made(page, shown=[beside[-1] for _, beside in rows[: self.size]])


class NumberPlan(ListPlan):
    """A page by its number."""

    def __init__(self, reading: Reading, rows, number: int, organization_id, **more):
        """
        Args:
            reading: of the rows of the page, and of one more if there is one, with
                their ids beside.
            rows: those that are counted.
        """
        super().__init__(rows, **more)
        self.reading, self.number = reading, number
        self.counting = Counting(rows, organization_id, frozenset(more["names"]))

    def answer(self, request) -> Made:
        """Raises ValidationError where a value is none, and NotFound."""
        values = self.values_of(request)
        rows = self.reading.rows(values)
        page = pagination.numbered_page(
            request,
            self.number,
            self.size,
            rows,
            lambda: self.counting.of(values),
        )
        return self.made(page, rows)


class CursorPlan(ListPlan):
    """A page that begins behind any row."""

    def __init__(self, reading: Reading, rows, **more):
        """
        Args:
            reading: of the first page and one more row, with the columns of the
                ordering and then their ids beside.
            rows: all of them.
        """
        super().__init__(rows, **more)
        self.rows, self.reading = rows, reading
        # By what the places behind which they begin have in common.
        self.readings: dict[tuple | None, list[Reading]] = {None: [reading]}

    def answer(self, request) -> Made:
        """Raises ValidationError where a value is none, and a refusal of the cursor."""
        values = self.values_of(request)
        cursor = pagination.Cursor.decode(request, self.ordering)
        if cursor:
            place = pagination.values_at(cursor, self.rows, self.ordering)
            values |= {_bound_name(number): one for number, one in enumerate(place)}
        rows: list = []
        for reading in self._readings(cursor):
            rows += reading.rows(values)
            if len(rows) > self.size:
                break
        places = [(answer, beside[:-1]) for answer, beside in rows]
        page = pagination.page_from(request, cursor, self.ordering, self.size, places)
        return self.made(page, rows)

    def _readings(self, cursor: pagination.Cursor | None) -> list[Reading]:
        """Of each stretch of the rows behind a cursor."""
        kind = cursor and (cursor.backwards, *(one is None for one in cursor.values))
        if kind not in self.readings:
            columns = (pagination.column(self.rows, name) for name, _ in self.ordering)
            place = [
                None if text is None else Bound(_bound_name(number), field)
                for number, (text, field) in enumerate(
                    zip(cursor.values, columns, strict=True)
                )
            ]
            self.readings[kind] = [
                self.reading.of(stretch[: self.size + 1])
                for stretch in pagination.stretches(
                    cursor, place, self.rows, self.ordering
                )
            ]
        return self.readings[kind]


def _bound_name(number: int) -> str:
    """Of a value that a cursor stands at; no parameter has such a name."""
    return f"cursor {number}"
