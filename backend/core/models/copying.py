"""Many new rows at once: by COPY where the database has it."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

from django.db import connections, models, router, transaction

from core.batches import batched

BATCH_SIZE = 1000
# Of fewer rows an INSERT is as fast.
WORTH_COPYING = 100
# So many lines of a COPY are written while the database reads those before.
LINES_AT_ONCE = 50

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})
_ESCAPED = re.compile(r"[\\\n\r\t]")


def insert(model: type[models.Model], rows: Sequence[models.Model]) -> None:
    """Insert new rows, all or none.

    PostgreSQL takes them by COPY, at half the processor time of INSERT. Rows whose id
    the database gives do not learn it then.

    Raises:
        IntegrityError: one of them breaks a rule of the database.
    """
    using = router.db_for_write(model)
    if not _is_worth_copying(using, len(rows)):
        model._base_manager.bulk_create(rows, batch_size=BATCH_SIZE)
        return
    names = [
        f.attname
        for f in model._meta.concrete_fields
        if not (f.primary_key and f.get_internal_type().endswith("AutoField"))
    ]
    _copy(model, names, map(itemgetter(*names), map(vars, rows)), using)
    for row in rows:
        row._state.adding = False
        row._state.db = using


def insert_values(
    model: type[models.Model], names: Sequence[str], rows: Sequence[tuple]
) -> None:
    """`insert` of rows that are no objects yet, by their columns: that takes long.

    Args:
        names: of all columns but an id that the database gives.
    """
    using = router.db_for_write(model)
    if _is_worth_copying(using, len(rows)):
        _copy(model, names, rows, using)
    else:
        insert(model, [model(**dict(zip(names, row, strict=True))) for row in rows])


def _is_worth_copying(using: str, count: int) -> bool:
    return connections[using].vendor == "postgresql" and count >= WORTH_COPYING


def _copy(
    model: type[models.Model], names: Sequence[str], rows: Iterable[tuple], using: str
) -> None:
    connection = connections[using]
    by_name = {f.attname: f for f in model._meta.concrete_fields}
    fields = [by_name[name] for name in names]
    quote = connection.ops.quote_name
    columns = ", ".join(quote(f.column) for f in fields)
    command = f"COPY {quote(model._meta.db_table)} ({columns}) FROM STDIN"
    with (
        transaction.atomic(using, savepoint=False),
        connection.cursor() as cursor,
        connection.wrap_database_errors,  # Django does it for `execute` alone
    ):
        # However many rows there are, no statement takes longer than it may.
        for batch in batched(rows, BATCH_SIZE):
            blocks = (_lines(fields, some) for some in batched(batch, LINES_AT_ONCE))
            cursor.copy_expert(command, _Blocks(blocks))


class _Blocks:
    """A file of lines that are written while the database takes those before."""

    def __init__(self, blocks: Iterator[str]) -> None:
        self.blocks = blocks

    def read(self, size: int) -> str:
        """Some lines, whole: some of them may be longer than what is asked for."""
        return next(self.blocks, "")


def _lines(fields: Sequence[models.Field], rows: Sequence[tuple]) -> str:
    columns = map(_texts, fields, zip(*rows, strict=True))
    return "".join(f"{line}\n" for line in map("\t".join, zip(*columns, strict=True)))


def _texts(field: models.Field, values: tuple) -> Sequence[str]:
    """What COPY reads as the values of a column.

    Most columns have one value in all rows, or texts of which nothing is escaped: these
    are not gone through one by one.
    """
    first, count = values[0], len(values)
    if isinstance(field, models.JSONField):
        # JSON tells apart what is equal in Python, such as 1 and true.
        is_one = first in (None, [], {}) and values.count(first) == count
        return [_json(first)] * count if is_one else [_json(v) for v in values]
    if values.count(first) == count:
        return [_text(first)] * count
    if set(map(type, values)) == {str} and not _ESCAPED.search("".join(values)):
        return values
    return [_text(value) for value in values]


def _text(value) -> str:
    if value is None:
        return r"\N"
    return str(value).translate(_ESCAPES)


def _json(value) -> str:
    return r"\N" if value is None else json.dumps(value).translate(_ESCAPES)
