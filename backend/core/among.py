"""Membership in a long list of ids, as one parameter of the statement.

Django's `__in` has a parameter for each id: of a thousand of them most of the time goes
into making the statement and reading it.
"""

import json
from collections.abc import Iterable
from uuid import UUID

from django.db.models import BooleanField, Field, Func

from core.statements import Bound


class Ids(Field):
    """Ids as that one parameter."""

    def get_db_prep_value(self, value, connection, prepared=False):
        if connection.vendor == "sqlite":
            return json.dumps([pk.hex for pk in value])
        return [str(pk) for pk in value]


class Among(Func):
    """A condition: `Lead.objects.filter(Among("pk", ids))`."""

    arity = 1
    output_field = BooleanField()

    def __init__(self, column, ids: Iterable[UUID] | str = (), **extra):
        """`ids`: a text is the name that they are bound by (core.statements)."""
        super().__init__(column, **extra)
        self.ids = Bound(ids, Ids()) if isinstance(ids, str) else list(ids)

    def as_sqlite(self, compiler, connection, **context):
        template = "%(expressions)s IN (SELECT value FROM json_each(%%s))"
        return self._sql(compiler, connection, template)

    def as_postgresql(self, compiler, connection, **context):
        template = "%(expressions)s = ANY(%%s::uuid[])"
        return self._sql(compiler, connection, template)

    def _sql(self, compiler, connection, template: str):
        sql, params = self.as_sql(compiler, connection, template=template)
        ids = self.ids
        if not isinstance(ids, Bound):
            ids = Ids().get_db_prep_value(ids, connection)
        return sql, [*params, ids]
