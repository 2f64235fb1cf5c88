"""Ids of rows: UUIDv7 (RFC 9562), which sort by the time they were made."""

import uuid

import uuid_utils.compat


def new_id() -> uuid.UUID:
    """A new time-ordered id: new rows go to the end of an index, not all over it."""
    return uuid_utils.compat.uuid7()
