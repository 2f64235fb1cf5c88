"""Tables whose rows are only ever added: the database itself refuses everything else.

A trigger refuses UPDATE, DELETE and TRUNCATE, with an IntegrityError, to whoever
connects as the application does. It guards against our own mistakes, not against the
owner of the tables, who can drop it.
"""

from contextlib import contextmanager

from django.db import connection, transaction
from django.db.migrations.operations.base import Operation

# Of PostgreSQL; lasts for a transaction at most.
SWITCH = "mycrm.erasure"

POSTGRESQL = """
CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('{switch}', true), '') <> 'on' THEN
        RAISE EXCEPTION 'Rows of {table} are only ever added.'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only();
"""
# INSERT as well: REPLACE deletes the old row without asking the trigger of DELETE.
SQLITE = {
    "update": "BEFORE UPDATE ON {table}",
    "delete": "BEFORE DELETE ON {table}",
    "replace": "BEFORE INSERT ON {table}"
    " WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id)",
}


class AppendOnly(Operation):
    """The migration that guards the table of a model of the same app.

    On SQLite a later migration that alters the table makes it anew, without its
    triggers, and must guard it again; a test notices.
    """

    reversible = True

    def __init__(self, model_name: str):
        self.model_name = model_name

    def state_forwards(self, app_label, state):
        pass

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        table = to_state.apps.get_model(app_label, self.model_name)._meta.db_table
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(POSTGRESQL.format(table=table, switch=SWITCH))
            return
        for name, event in SQLITE.items():
            schema_editor.execute(
                f"CREATE TRIGGER {table}_append_only_{name} {event.format(table=table)}"
                f" BEGIN SELECT RAISE(ABORT, 'Rows of {table} are only ever added.');"
                " END"
            )

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        table = from_state.apps.get_model(app_label, self.model_name)._meta.db_table
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP FUNCTION {table}_append_only() CASCADE")
            return
        for name in SQLITE:
            schema_editor.execute(f"DROP TRIGGER {table}_append_only_{name}")

    def describe(self):
        return f"Refuse all but INSERT on the table of {self.model_name}"


@contextmanager
def erasing():
    """A transaction that may erase what is append-only.

    For the tests' tear-down, and for the one function that erases what the law or the
    organization no longer wants kept; nothing else may use it.
    """
    switch = _postgresql_off if connection.vendor == "postgresql" else _sqlite_off
    with transaction.atomic(), connection.cursor() as cursor, switch(cursor):
        yield


@contextmanager
def _postgresql_off(cursor):
    cursor.execute(f"SET LOCAL {SWITCH} = 'on'")
    yield
    # An outer transaction may go on. After an error the savepoint takes it back.
    cursor.execute(f"SET LOCAL {SWITCH} = 'off'")


@contextmanager
def _sqlite_off(cursor):
    """SQLite has no settings to ask, but takes back a dropped trigger like a row."""
    cursor.execute(
        "SELECT name, sql FROM sqlite_master"
        " WHERE type = 'trigger' AND instr(name, '_append_only_')"
    )
    triggers = cursor.fetchall()
    for name, _ in triggers:
        cursor.execute(f"DROP TRIGGER {name}")
    yield
    for _, sql in triggers:
        cursor.execute(sql)
