"""Queries that are written once and run again, with other values.

Django writes the SQL of a query anew each time, which takes it longer than the database
takes to answer most of them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import Field, Func, Lookup, QuerySet, Value
from django.db.models.expressions import Col
from django.db.models.sql.where import WhereNode

NOTHING: Mapping = {}


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

    def __init__(self, queryset: QuerySet):
        self.database = queryset.db
        compiler = queryset.query.get_compiler(self.database)
        try:
            self.sql, self.parameters = compiler.as_sql()
        except EmptyResultSet:
            self.sql, self.parameters = "", ()
        else:
            columns = [selected[0] for selected in compiler.select]
            self.converters = compiler.get_converters(columns)

    def rows(self, values: Mapping = NOTHING) -> list[Sequence]:
        """All rows, as `values_list` gives them; `values`: of what is bound."""
        rows = self._run(self.sql, values)
        if rows and self.converters:
            return [self._converted(row) for row in rows]
        return rows

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
            cursor.execute(sql, parameters)
            return cursor.fetchall()

    def _converted(self, row: Sequence) -> list:
        connection = connections[self.database]
        row = list(row)
        for place, (steps, column) in self.converters.items():
            for step in steps:
                row[place] = step(row[place], column, connection)
        return row


def columns_asked(queryset: QuerySet) -> set[Field] | None:
    """The columns whose values decide which rows there are; None: nobody can tell."""
    try:
        return set(_columns_of(queryset.query.where))
    except TypeError:
        return None


def _columns_of(part) -> Iterator[Field]:
    """The columns of a condition; TypeError where it asks more than columns."""
    if isinstance(part, WhereNode):
        for child in part.children:
            yield from _columns_of(child)
    elif isinstance(part, Lookup):
        yield from _columns_of(part.lhs)
        if hasattr(part.rhs, "resolve_expression"):
            yield from _columns_of(part.rhs)
        elif part.bilateral_transforms or any(
            hasattr(one, "resolve_expression")
            for one in (part.rhs if isinstance(part.rhs, Collection) else ())
        ):
            raise TypeError
    elif isinstance(part, Col):
        yield part.target
    elif isinstance(part, Func):
        for one in part.get_source_expressions():
            yield from _columns_of(one)
    elif not isinstance(part, Value):
        raise TypeError


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
        for first in list(parts.values())[:1]:
            self.database = first.database
            self.converters = {n + 1: c for n, c in first.converters.items()}
