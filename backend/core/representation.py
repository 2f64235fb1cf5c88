"""How records become JSON: from plain rows, without a serializer object for each."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from functools import lru_cache, partial
from uuid import UUID

import orjson
from django.db import connections
from django.db.models import (
    Expression,
    Field,
    ForeignKey,
    JSONField,
    Model,
    QuerySet,
    TextField,
    UUIDField,
)

from core import access
from core.field_rights import CUSTOM, without_keys
from core.statements import NOTHING, Bound, Conversions, Statement, through

# More ids than a page has are not asked for again and again.
MANY = 256


def field_of(model: type[Model], name: str) -> Field:
    """The field of a name, which need not be a column."""
    computed = getattr(model, "computed_fields", {})
    return computed.get(name) or model._meta.get_field(name)


class Representation:
    """The fields of a model that the API shows, as columns to select.

    A relation shows as the id of the other record, or, expanded, as its summary.
    """

    def __init__(
        self,
        model: type[Model],
        names: Iterable[str],
        hidden_keys: frozenset[str] = frozenset(),
    ):
        """`hidden_keys`: entries of the custom fields that are left out."""
        self.hidden_keys = hidden_keys
        self.fields = {name: field_of(model, name) for name in names}
        self.relations = {
            name: field.related_model
            for name, field in self.fields.items()
            if isinstance(field, ForeignKey)
        }

    def rows(
        self, queryset: QuerySet, names: Sequence[str], extra: Sequence[str] = ()
    ) -> list[tuple[dict, tuple]]:
        """One (answer, values of the extra columns) for each row of the queryset."""
        return Reading(self, queryset, names, extra).rows()

    def of(self, record: Model, names: Sequence[str]) -> dict:
        answer = {name: getattr(record, self.fields[name].attname) for name in names}
        if self.hidden_keys and CUSTOM in names:
            answer[CUSTOM] = without_keys(answer[CUSTOM], self.hidden_keys)
        return answer

    def expand(self, answers: list[dict], relations: Iterable[str], user) -> None:
        """Put summaries in the place of ids; null where the user may not see it.

        One query for each relation, however many rows there are.
        """
        for name in relations:
            put_summaries(answers, name, summaries_for(self.relations[name], user))


class Reading:
    """Rows of a queryset as answers, to be read again and again."""

    def __init__(
        self,
        shape: Representation,
        queryset: QuerySet,
        names: Sequence[str],
        extra: Sequence[str] = (),
        relations: Iterable[str] = (),
        user=None,
        planned_once: bool = False,
    ):
        """
        Args:
            extra: further columns.
            relations: those to expand, to what the user sees of them.
            planned_once: as of a Statement.
        """
        self.names = names
        self.hidden_keys = shape.hidden_keys if CUSTOM in names else frozenset()
        self.summaries = {n: summaries_for(shape.relations[n], user) for n in relations}
        self.columns = (*(shape.fields[name].attname for name in names), *extra)
        self.statement = ColumnsStatement(queryset, self.columns, planned_once)

    def of(self, queryset: QuerySet) -> "Reading":
        """The same of other rows of the model."""
        other = copy(self)
        other.statement = ColumnsStatement(queryset, self.columns)
        return other

    def rows(self, values: Mapping = NOTHING) -> list[tuple[dict, tuple]]:
        """One (answer, values of the extra columns) for each row.

        Args:
            values: of what is bound in the queryset.
        """
        rows = self.statement.rows(values)
        width = len(self.names)
        rows = [
            (dict(zip(self.names, row, strict=False)), tuple(row[width:]))
            for row in rows
        ]
        answers = [answer for answer, _ in rows]
        if self.hidden_keys:
            for answer in answers:
                answer[CUSTOM] = without_keys(answer[CUSTOM], self.hidden_keys)
        for name, summaries in self.summaries.items():
            put_summaries(answers, name, summaries)
        return rows


class ById:
    """Some of the rows of a queryset, by their ids, to be read again and again."""

    def __init__(self, rows: QuerySet, names: Iterable[str]):
        """`names`: of what is read of them; with `id`."""
        self.rows, self.names = rows, tuple(names)
        key = rows.model._meta.pk
        # PostgreSQL takes an id as text, as it gives it (ColumnsStatement).
        self.key = TextField() if gives_text(rows.db) and is_id(key) else key
        self.statements: dict[int, Statement] = {}

    def of(self, ids: Iterable) -> dict[str, dict]:
        """What is read of each row, by its id as text."""
        ids = list(ids)
        if not ids:
            return {}
        if len(ids) > MANY:
            rows = self._chosen(ids).rows()
        else:
            # Few statements do for any number: the last one is asked for repeatedly.
            size = 1 << (len(ids) - 1).bit_length()
            if size not in self.statements:
                bound = [Bound(str(place), self.key) for place in range(size)]
                self.statements[size] = self._chosen(bound)
            asked = ids + ids[-1:] * (size - len(ids))
            values = {str(place): pk for place, pk in enumerate(asked)}
            rows = self.statements[size].rows(values)
        found = (dict(zip(self.names, row, strict=True)) for row in rows)
        return {str(row["id"]): row for row in found}

    def _chosen(self, ids: list) -> Statement:
        rows = self.rows.filter(pk__in=ids)
        return ColumnsStatement(rows, self.names, planned_once=len(ids) <= MANY)


def summaries_for(model: type[Model], user) -> ById:
    """What a user sees of the summaries of a model's rows."""
    hidden = access.hidden_fields(user, model.record_type())
    shown = (name for name in model.summary_fields if name not in hidden)
    return ById(model.objects.visible_to(user), shown)


def put_summaries(answers: list[dict], name: str, summaries: ById) -> None:
    """Put them in the place of the ids that the answers have by this name."""
    found = summaries.of({answer[name] for answer in answers} - {None})
    for answer in answers:
        answer[name] = found.get(str(answer[name]))


@lru_cache(maxsize=128)
def columns_of(model: type[Model]) -> dict[str, Field]:
    """The fields of the model's own table, by both names of a relation."""
    own = model._meta.concrete_fields
    return {f.name: f for f in own} | {f.attname: f for f in own}


class Columns(Expression):
    """Many columns of the query's own table, as one expression of its SELECT.

    Django works out each column that is asked for, for each query anew; which are
    asked of a record type seldom changes. The values come as the database gives them.
    """

    output_field = TextField()

    def __init__(self, fields: tuple[Field, ...]):
        super().__init__()
        self.fields = fields
        self.table = ""

    def resolve_expression(self, query, *args, **kwargs):
        resolved = self.copy()
        resolved.table = query.get_initial_alias()
        return resolved

    def as_sql(self, compiler, connection):
        return _columns_sql(self.fields, self.table, connection.alias), ()

    def get_db_converters(self, connection):
        return []

    def get_group_by_cols(self):
        return [field.get_col(self.table) for field in self.fields]


class ColumnsStatement(Statement):
    """The rows of a queryset: a list of values for each, as Django would give them.

    Ids of the query's own table are texts: to make objects of them takes a tenth of the
    time of a list, and most become texts again.
    """

    def __init__(
        self, queryset: QuerySet, names: Sequence[str], planned_once: bool = False
    ):
        """`names`: of the columns."""
        by_name = columns_of(queryset.model)
        fields = tuple(by_name[name] for name in names if name in by_name)
        if len(fields) < len(names):
            super().__init__(queryset.values_list(*names), planned_once)
            return
        super().__init__(queryset.values_list(Columns(fields)), planned_once)
        self.conversions = conversions_of(fields, queryset.db)


@lru_cache(maxsize=512)
def _columns_sql(fields: tuple[Field, ...], table: str, database: str) -> str:
    quoted = connections[database].ops.quote_name
    columns = (
        f"{quoted(table)}.{quoted(field.column)}"
        f"{'::text' if is_id(field) and gives_text(database) else ''}"
        for field in fields
    )
    return ", ".join(columns)


def gives_text(database: str) -> bool:
    """Whether the database writes ids as everybody does."""
    return connections[database].vendor == "postgresql"


def is_id(field: Field) -> bool:
    """Whether its values are ids of rows, its own or others."""
    return isinstance(getattr(field, "target_field", field), UUIDField)


@lru_cache(maxsize=512)
def conversions_of(fields: tuple[Field, ...], database: str) -> Conversions:
    """What makes a value of what the database gives for a field, by its place."""
    connection = connections[database]
    conversions = []
    for place, field in enumerate(fields):
        column = field.get_col(field.model._meta.db_table)
        steps = [
            *connection.ops.get_db_converters(column),
            *column.get_db_converters(connection),
        ]
        if isinstance(field, JSONField) and len(steps) == 1:
            conversions.append((place, _parsed))
        elif is_id(field):
            if not gives_text(database):
                conversions.append((place, _with_dashes))
        elif steps:
            conversions.append((place, partial(through, steps, column, database)))
    return conversions


def _with_dashes(value: str | None):
    """An id as SQLite keeps it, as it is written elsewhere."""
    return None if value is None else str(UUID(value))


def _parsed(value: str | None):
    """A column of JSON, as fast as it goes."""
    return None if value is None else orjson.loads(value)


def summaries(model: type[Model], ids: Iterable, user) -> dict:
    """What the user sees of the summaries of these rows, by id."""
    found = summaries_for(model, user).of(ids)
    return {pk: found[str(pk)] for pk in ids if str(pk) in found}
