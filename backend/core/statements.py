"""Queries that are written once and run again, with other values.

Django writes the SQL of a query anew each time, and PostgreSQL plans it anew, which
takes each of them longer than to answer most.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from uuid import UUID
from weakref import WeakKeyDictionary

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import Field, Func, Lookup, Model, QuerySet, Value
from django.db.models.expressions import Col
from django.db.models.lookups import Exact, In
from django.db.models.sql import Query
from django.db.models.sql.where import WhereNode

NOTHING: Mapping = {}
Conversions = list[tuple[int, Callable]]
# So many statements a connection keeps planned; a large one takes half a megabyte.
PLANNED = 32
# What Django writes for a parameter, and for a percent sign.
PLACE = re.compile(r"%[s%]")


class Bound(Value):
    """A value of a query that is known, by its name, only when the query is run."""

    def __init__(self, name: str, field: Field):
        super().__init__(name, output_field=field)

    def as_sql(self, compiler, connection):
        return "%s", [self]


class Statement:
    """The SELECT of a queryset, whose conditions may be `Bound`.

    Nothing in it belongs to a thread or to a connection.
    """

    def __init__(self, queryset: QuerySet, planned_once: bool = False):
        """`planned_once`: whether one plan is good for all values (`_planned`)."""
        self.database = queryset.db
        self.planned_once = planned_once
        self.names = tuple(queryset.query.selected or ())
        compiler = queryset.query.get_compiler(self.database)
        # What makes a value of what the database gives for it, by its place.
        self.conversions: Conversions = []
        try:
            self.sql, self.parameters = compiler.as_sql()
        except EmptyResultSet:
            self.sql, self.parameters = "", ()
        else:
            columns = [selected[0] for selected in compiler.select]
            self.conversions = [
                (place, partial(through, steps, column, self.database))
                for place, (steps, column) in compiler.get_converters(columns).items()
            ]

    def rows(self, values: Mapping = NOTHING) -> list[Sequence]:
        """All rows, as `values_list` gives them; `values`: of what is bound."""
        rows = self._run(self.sql, values)
        if not (rows and self.conversions):
            return rows
        rows = [list(row) for row in rows]
        for row in rows:
            for place, convert in self.conversions:
                row[place] = convert(row[place])
        return rows

    def dicts(self, values: Mapping = NOTHING) -> list[dict]:
        """All rows, as `values` gives them, if the queryset is of those."""
        return [dict(zip(self.names, row, strict=True)) for row in self.rows(values)]

    def count(self, values: Mapping = NOTHING) -> int:
        """How many rows there are, of which none is read."""
        found = self._run(f"SELECT COUNT(*) FROM ({self.sql}) counted", values)  # noqa: S608
        return found[0][0] if found else 0

    def _run(self, sql: str, values: Mapping) -> list[tuple]:
        if not self.sql:
            return []
        connection = connections[self.database]
        parameters = [
            one.output_field.get_db_prep_value(values[one.value], connection)
            if isinstance(one, Bound)
            else one
            for one in self.parameters
        ]
        with connection.cursor() as cursor:
            if self.planned_once and keeps_plans(connection):
                sql = _planned(connection, sql, len(parameters))
            cursor.execute(sql, parameters)
            return cursor.fetchall()


class ObjectStatement(Statement):
    """The rows of a queryset as objects of its model, with their annotations."""

    def __init__(self, queryset: QuerySet, planned_once: bool = False):
        super().__init__(queryset, planned_once)
        self.model = queryset.model
        self.fields = [field.attname for field in self.model._meta.concrete_fields]
        self.annotations = tuple(queryset.query.annotation_select)

    def objects(self, values: Mapping = NOTHING) -> list[Model]:
        return [self._object(row) for row in self.rows(values)]

    def _object(self, row: Sequence) -> Model:
        width = len(self.fields)
        made = self.model.from_db(self.database, self.fields, row[:width])
        for name, value in zip(self.annotations, row[width:], strict=True):
            setattr(made, name, value)
        return made


def through(steps: Sequence[Callable], column, database: str, value):
    connection = connections[database]
    for step in steps:
        value = step(value, column, connection)
    return value


def columns_asked(queryset: QuerySet) -> dict[Field, set | None] | None:
    """The columns whose values decide which rows there are; None: nobody can tell.

    Each with the values of which it matters alone who has them; None: all may.
    """
    asked = {}
    try:
        for field, values in _columns_of(queryset.query.where):
            known = asked.setdefault(field, set())
            asked[field] = None if None in (known, values) else known | values
    except TypeError:
        return None
    return asked


def _columns_of(part) -> Iterator[tuple[Field, set | None]]:
    """The columns of a condition; TypeError where it asks more than columns."""
    if isinstance(part, WhereNode):
        for child in part.children:
            yield from _columns_of(child)
    elif isinstance(part, Lookup):
        values = _values_of(part)
        for field, _ in _columns_of(part.lhs):
            yield field, values
        if hasattr(part.rhs, "resolve_expression"):
            yield from _columns_of(part.rhs)
        elif part.bilateral_transforms or any(
            hasattr(one, "resolve_expression")
            for one in (part.rhs if isinstance(part.rhs, Collection) else ())
        ):
            raise TypeError
    elif isinstance(part, Query):
        if part.is_sliced or part.combinator or part.group_by:
            raise TypeError
        # Which rows there are, too.
        yield part.model._meta.pk, None
        yield from _columns_of(part.where)
    elif isinstance(part, Col):
        yield part.target, None
    elif isinstance(part, Func):
        for one in part.get_source_expressions():
            yield from _columns_of(one)
    elif not isinstance(part, Value):
        raise TypeError


def _values_of(lookup: Lookup) -> set | None:
    """The values that a row's own is one of, or is none of; None: it asks more."""
    if isinstance(lookup.lhs, Col):
        if isinstance(lookup, Exact) or getattr(lookup, "asks_values", False):
            return _plain([lookup.rhs])
        if isinstance(lookup, In) and isinstance(lookup.rhs, Collection):
            return _plain(lookup.rhs)
    return None


def _plain(values: Collection) -> set[str] | None:
    """These as texts; None if one is neither a text nor an id."""
    if all(isinstance(value, str | UUID) for value in values):
        return {str(value) for value in values}
    return None


def without_bound(queryset: QuerySet) -> tuple[QuerySet, Lookup] | None:
    """The rows without their only bound condition, and that; None if there are more."""
    rest = queryset.all()
    conditions = rest.query.where.children
    bound = [c for c in conditions if isinstance(getattr(c, "rhs", None), Bound)]
    if len(bound) != 1 or not isinstance(bound[0].lhs, Col):
        return None
    conditions.remove(bound[0])
    return rest, bound[0]


class Union(Statement):
    """Several statements of the same columns as one.

    Each row begins with the number of the statement that it is from.
    """

    def __init__(self, statements: Mapping[int, Statement]):
        parts = {n: s for n, s in statements.items() if s.sql}
        self.sql = " UNION ALL ".join(
            f"SELECT {n}, part{n}.* FROM ({s.sql}) part{n}"  # noqa: S608
            for n, s in parts.items()
        )
        self.parameters = [one for s in parts.values() for one in s.parameters]
        self.planned_once = all(s.planned_once for s in parts.values())
        for first in list(parts.values())[:1]:
            self.database = first.database
            self.conversions = [(n + 1, convert) for n, convert in first.conversions]


# Plans of the database

# The names of what a connection has planned, by its SQL, the last used last.
_names: WeakKeyDictionary[object, OrderedDict[str, str]] = WeakKeyDictionary()
_numbers = count(1)


def keeps_plans(connection) -> bool:
    """Whether a connection to the database is ours from one statement to the next."""
    return connection.vendor == "postgresql" and not connection.settings_dict.get(
        "DISABLE_SERVER_SIDE_CURSORS"
    )


def _planned(connection, sql: str, parameters: int) -> str:
    """What runs a statement by the plan that its connection has made of it.

    The plan knows no values, also not for a few runs more that would tell their cost
    (plan_cache_mode in the settings): it must be good for all.
    """
    names = _names.setdefault(connection.connection, OrderedDict())
    if sql not in names:
        with connection.wrap_database_errors, connection.connection.cursor() as cursor:
            if len(names) >= PLANNED:
                cursor.execute(f"DEALLOCATE {names.popitem(last=False)[1]}")
            name = f"planned_{next(_numbers)}"
            cursor.execute(f"PREPARE {name} AS {_with_numbers(sql)}")
        names[sql] = name
    names.move_to_end(sql)
    values = f"({', '.join(['%s'] * parameters)})" if parameters else ""
    return f"EXECUTE {names[sql]}{values}"


def _with_numbers(sql: str) -> str:
    """The SQL with $1, $2, ... in the places of its parameters."""
    numbers = count(1)
    return PLACE.sub(
        lambda found: f"${next(numbers)}" if found[0] == "%s" else "%", sql
    )
