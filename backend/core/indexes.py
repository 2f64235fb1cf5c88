"""Indexes that only PostgreSQL has."""

from django.contrib.postgres.indexes import GinIndex


class PostgreSQLIndex(GinIndex):
    """Not made on SQLite: there a GinIndex would be a plain one that nothing uses."""

    def create_sql(self, model, schema_editor, using="", **kwargs):
        if schema_editor.connection.vendor != "postgresql":
            return "SELECT 'no such index here'"
        return super().create_sql(model, schema_editor, using=using, **kwargs)

    def remove_sql(self, model, schema_editor, **kwargs):
        if schema_editor.connection.vendor != "postgresql":
            return "SELECT 'no such index here'"
        return super().remove_sql(model, schema_editor, **kwargs)


class SearchIndex(PostgreSQLIndex):
    """The trigrams of a text, organization by organization (core.search).

    Needs the extensions pg_trgm and btree_gin.
    """

    def __init__(self, *, name, fields=("organization", "search_text"), **kwargs):
        kwargs["opclasses"] = ("uuid_ops", "gin_trgm_ops")
        super().__init__(name=name, fields=fields, **kwargs)


class CollectionsIndex(PostgreSQLIndex):
    """What stands in the lists and objects of JSON fields, for their look-up `has`.

    Without `fastupdate`: each look-up would read through what was written lately.
    """

    def __init__(self, *, name, fields, **kwargs):
        kwargs["opclasses"] = ["jsonb_path_ops"] * len(fields)
        kwargs["fastupdate"] = False
        super().__init__(name=name, fields=fields, **kwargs)
