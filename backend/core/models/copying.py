"""Many new rows at once: by COPY where the database has it."""

import io
import json
from collections.abc import Sequence

from django.db import connections, models, router, transaction

BATCH_SIZE = 1000
# Of fewer rows an INSERT is as fast.
WORTH_COPYING = 100

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


def insert(model: type[models.Model], rows: Sequence[models.Model]) -> None:
    """Insert new rows, all or none.

    PostgreSQL takes them by COPY, at half the processor time of INSERT. Rows whose id
    the database gives do not learn it then.

    Raises:
        IntegrityError: one of them breaks a rule of the database.
    """
    using = router.db_for_write(model)
    if connections[using].vendor != "postgresql" or len(rows) < WORTH_COPYING:
        model._base_manager.bulk_create(rows, batch_size=BATCH_SIZE)
        return
    _copy(model, rows, using)
    for row in rows:
        row._state.adding = False
        row._state.db = using


def _copy(model: type[models.Model], rows: Sequence[models.Model], using: str) -> None:
    connection = connections[using]
    fields = [
        f
        for f in model._meta.concrete_fields
        if not (f.primary_key and f.get_internal_type().endswith("AutoField"))
    ]
    names = [(f.attname, isinstance(f, models.JSONField)) for f in fields]
    file = io.StringIO()
    for row in rows:
        values = row.__dict__
        cells = [_text(values[name], is_json) for name, is_json in names]
        file.write("\t".join(cells) + "\n")
    file.seek(0)
    quote = connection.ops.quote_name
    columns = ", ".join(quote(f.column) for f in fields)
    with (
        transaction.atomic(using, savepoint=False),
        connection.cursor() as cursor,
        connection.wrap_database_errors,  # Django does it for `execute` alone
    ):
        cursor.copy_expert(
            f"COPY {quote(model._meta.db_table)} ({columns}) FROM STDIN", file
        )


def _text(value, is_json: bool) -> str:
    if value is None:
        return r"\N"
    if is_json:
        value = json.dumps(value)
    elif type(value) is not str:
        value = str(value)
    return value.translate(_ESCAPES) if not value.isalnum() else value
