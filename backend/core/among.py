"""Membership in a long list of ids, as one parameter of the statement.

Django's `__in` has a parameter for each id: of a thousand of them most of the time goes
into making the statement and reading it.
"""

import json
from collections.abc import Iterable
from uuid import UUID

from django.db.models import BooleanField, Func


class Among(Func):
    """A condition: `Lead.objects.filter(Among("pk", ids))`."""

    arity = 1
    output_field = BooleanField()

    def __init__(self, column, ids: Iterable[UUID] = (), **extra):
        super().__init__(column, **extra)
        self.ids = list(ids)

    def as_sqlite(self, compiler, connection, **context):
        template = "%(expressions)s IN (SELECT value FROM json_each(%%s))"
        sql, params = self.as_sql(compiler, connection, template=template)
        return sql, [*params, json.dumps([pk.hex for pk in self.ids])]

    def as_postgresql(self, compiler, connection, **context):
        template = "%(expressions)s = ANY(%%s::uuid[])"
        sql, params = self.as_sql(compiler, connection, template=template)
        return sql, [*params, [str(pk) for pk in self.ids]]
