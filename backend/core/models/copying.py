"""Many new rows at once: by COPY where the database has it."""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from uuid import UUID

from django.db import connections, models, router, transaction

BATCH_SIZE = 1000
# Of fewer rows an INSERT is as fast.
WORTH_COPYING = 100
# So many lines of a COPY are written while the database reads those before.
LINES_AT_ONCE = 50

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


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
    values = (map(vars(row).__getitem__, names) for row in rows)
    _copy(model, names, values, using)
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


def _copy(model: type[models.Model], names: Sequence[str], rows, using: str) -> None:
    connection = connections[using]
    by_name = {f.attname: f for f in model._meta.concrete_fields}
    fields = [by_name[name] for name in names]
    texts = [_json if isinstance(f, models.JSONField) else _text for f in fields]
    lines = (
        "\t".join([text(value) for text, value in zip(texts, row, strict=True)])
        for row in rows
    )
    quote = connection.ops.quote_name
    columns = ", ".join(quote(f.column) for f in fields)
    with (
        transaction.atomic(using, savepoint=False),
        connection.cursor() as cursor,
        connection.wrap_database_errors,  # Django does it for `execute` alone
    ):
        cursor.copy_expert(
            f"COPY {quote(model._meta.db_table)} ({columns}) FROM STDIN",
            _Lines(lines),
        )


class _Lines:
    """A file of lines that are written while the database takes those before."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines = lines

    def read(self, size: int) -> str:
        """Some lines, whole: some of them may be longer than what is asked for."""
        some = list(islice(self.lines, LINES_AT_ONCE))
        return "".join(f"{line}\n" for line in some)


def _text(value) -> str:
    if type(value) is str:
        return value.translate(_ESCAPES) if value and not value.isalnum() else value
    if value is None:
        return r"\N"
    if type(value) is UUID:
        return _uuid(value)
    return str(value).translate(_ESCAPES)


def _json(value) -> str:
    if value is None:
        return r"\N"
    # Most are empty.
    return json.dumps(value).translate(_ESCAPES) if value else _empty(value)


def _empty(value) -> str:
    return "[]" if value == [] else "{}" if value == {} else json.dumps(value)


@lru_cache(maxsize=1024)
def _uuid(value: UUID) -> str:
    return str(value)
