"""The indexes of custom fields that ask for one, made and dropped by a job.

Each is of one organization's live records alone, and holds what its lists are filtered
by, then what they are ordered by if nothing else is said.
"""

from django.db import DatabaseError, connection, transaction

from core.custom_fields.columns import column_sql
from core.custom_fields.kinds import KINDS
from core.jobs import JobHandler, handles, submit
from core.models import ChangeSet, CustomField, Job
from core.registry import record_types

KIND = "custom_field_index"
# Writers of the table wait while an index is made; it is not made while they write.
LOCK_TIMEOUT = "5s"
INSUFFICIENT_PRIVILEGE = "42501"


def is_wanted(field: CustomField) -> bool:
    return field.is_indexed and not field.is_archived


def keep_up(field: CustomField, actor) -> Job | None:
    """Submit the job that makes or drops the index, where it is not as it should be."""
    is_there = field.index_status == CustomField.IndexStatus.READY
    if is_there == is_wanted(field):
        return None
    return submit(
        Job(
            organization=actor.organization,
            owner=actor,
            kind=KIND,
            params={"custom_field": str(field.pk)},
        )
    )


def index_name(field: CustomField) -> str:
    return f"custom_{field.pk.hex}"


def drop_sql(field: CustomField) -> list[str]:
    statements = [f"DROP INDEX IF EXISTS {index_name(field)}"]
    if connection.vendor == "postgresql":
        statements.append(f"DROP INDEX IF EXISTS {index_name(field)}_down")
        statements.append(f"DROP STATISTICS IF EXISTS {index_name(field)}_values")
    return statements


def create_sql(field: CustomField) -> list[str]:
    """The statements that make the index, and let the planner know what it holds.

    Nothing in them comes from a client but the key: letters, digits and underscores.
    """
    quote = connection.ops.quote_name
    table = quote(record_types()[field.applies_to]._meta.db_table)
    expression = column_sql(connection.vendor, field.kind, field.key)
    organization = field.organization_id
    if connection.vendor != "postgresql":
        organization = organization.hex
    is_list = field.kind == CustomField.Kind.MULTI_CHOICE
    indexes = {
        index_name(field): f"USING gin (({expression}) jsonb_path_ops)"
        if is_list
        else f"(({expression}), created_at, id)"
    }
    if connection.vendor == "postgresql" and KINDS[field.kind].is_sortable:
        # Records without a value come last in either order, and so an index that is
        # read backwards is in neither.
        down = f"(({expression}) DESC NULLS LAST, created_at DESC, id DESC)"
        indexes[f"{index_name(field)}_down"] = down
    statements = [
        f"CREATE INDEX IF NOT EXISTS {name} ON {table} {columns}"
        f" WHERE organization_id = '{organization}' AND deleted_at IS NULL"
        for name, columns in indexes.items()
    ]
    if connection.vendor == "postgresql":
        # PostgreSQL does not learn from a partial index how many rows a range has.
        statements.append(
            f"CREATE STATISTICS IF NOT EXISTS {index_name(field)}_values"
            f" ON ({expression}) FROM {table}"
        )
    return [*statements, f"ANALYZE {table}"]


def is_possible(field: CustomField) -> bool:
    """SQLite has no index of what a list holds."""
    return (
        connection.vendor == "postgresql" or field.kind != CustomField.Kind.MULTI_CHOICE
    )


@handles(KIND)
class IndexHandler(JobHandler):
    """Makes the index as the definition says now, and notes there what became of it."""

    def step(self, job):
        field = CustomField.objects.select_for_update().get(
            pk=job.params["custom_field"]
        )
        wanted = is_wanted(field) and is_possible(field)
        status = field.IndexStatus.READY if wanted else field.IndexStatus.NONE
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                if connection.vendor == "postgresql":
                    cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                for statement in create_sql(field) if wanted else drop_sql(field):
                    cursor.execute(statement)
        except DatabaseError as error:
            code = getattr(error.__cause__, "pgcode", None)
            if code != INSUFFICIENT_PRIVILEGE:
                raise
            status = field.IndexStatus.FAILED
        if status != field.index_status:
            with ChangeSet.open(
                organization=field.organization,
                source=ChangeSet.Source.SYSTEM,
                reason="The index of a custom field.",
            ) as changes:
                changes.save(field, index_status=status)
        if status == field.IndexStatus.FAILED:
            job.status = Job.Status.FAILED
            job.error = {
                "code": "index_not_allowed",
                "detail": "The program's database role may not make indexes.",
                "line": None,
            }
            return False
        return True
