from .idempotency import IdempotencyKey
from .job import Heartbeat, Job, JobError
from .journal import Change, Changes, ChangeSet
from .organization import Organization
from .record import (
    Journaled,
    Record,
    RecordQuerySet,
    ScopedQuerySet,
    unique_among_live,
)

__all__ = [
    "Change",
    "ChangeSet",
    "Changes",
    "Heartbeat",
    "IdempotencyKey",
    "Job",
    "JobError",
    "Journaled",
    "Organization",
    "Record",
    "RecordQuerySet",
    "ScopedQuerySet",
    "unique_among_live",
]
