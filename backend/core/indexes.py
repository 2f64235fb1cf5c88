"""Indexes that only PostgreSQL has."""

from django.contrib.postgres.indexes import GinIndex


class SearchIndex(GinIndex):
    """The trigrams of a text, organization by organization (core.search).

    Needs the extensions pg_trgm and btree_gin. SQLite looks at each text; there a
    GinIndex would become a plain index that nothing uses.
    """

    def __init__(self, *, name, fields=("organization", "search_text"), **kwargs):
        kwargs["opclasses"] = ("uuid_ops", "gin_trgm_ops")
        super().__init__(name=name, fields=fields, **kwargs)

    def create_sql(self, model, schema_editor, using="", **kwargs):
        if schema_editor.connection.vendor != "postgresql":
            return "SELECT 'no index of trigrams here'"
        return super().create_sql(model, schema_editor, using=using, **kwargs)

    def remove_sql(self, model, schema_editor, **kwargs):
        if schema_editor.connection.vendor != "postgresql":
            return "SELECT 'no index of trigrams here'"
        return super().remove_sql(model, schema_editor, **kwargs)
