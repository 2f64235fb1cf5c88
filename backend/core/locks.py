"""Locks on names, for what no unique constraint can hold."""

from django.db import connection


def one_at_a_time(name: str) -> None:
    """Wait until no other transaction has locked this name, until the end of this one.

    On SQLite a transaction that writes is alone anyway.
    """
    _lock("pg_advisory_xact_lock", name)


def together(name: str) -> None:
    """Keep out whoever wants this name `one_at_a_time`, but nobody else."""
    _lock("pg_advisory_xact_lock_shared", name)


def _lock(function: str, name: str) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {function}(hashtextextended(%s, 0))",
                [name],
            )


def making_by_external_id(organization_id, record_type: str) -> None:
    """Only one transaction at a time makes records that it did not find by such an id.

    Whoever holds it looks again before making one: another may have been first.
    """
    one_at_a_time(f"external ids: {organization_id} {record_type}")
