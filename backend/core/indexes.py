"""Indexes that only PostgreSQL has, made by migrations of their own.

As `Meta.indexes` they would become useless plain indexes on SQLite, or fail there.
"""

from django.db.migrations.operations.base import Operation


class SearchIndex(Operation):
    """The trigrams of `search_text`, organization by organization (core.search)."""

    reversible = True

    def __init__(self, model_name: str):
        self.model_name = model_name

    def state_forwards(self, app_label, state):
        pass

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor == "postgresql":
            table = to_state.apps.get_model(app_label, self.model_name)._meta.db_table
            schema_editor.execute(
                f"CREATE INDEX {table}_search ON {table} USING gin"
                " (organization_id, search_text gin_trgm_ops) WHERE deleted_at IS NULL"
            )

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor == "postgresql":
            table = from_state.apps.get_model(app_label, self.model_name)._meta.db_table
            schema_editor.execute(f"DROP INDEX {table}_search")

    def describe(self):
        return f"Index the words of {self.model_name}"
