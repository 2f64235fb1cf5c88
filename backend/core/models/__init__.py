from .custom_field import CustomField
from .idempotency import IdempotencyKey
from .job import Heartbeat, Job, JobError
from .journal import Change, Changes, ChangeSet
from .organization import Organization, OrganizationSettings
from .record import (
    Journaled,
    JournaledQuerySet,
    Record,
    RecordQuerySet,
    ScopedQuerySet,
    SharedQuerySet,
    unique_among_live,
)
from .search import SearchWord
from .security import SecurityEvent

__all__ = [
    "Change",
    "ChangeSet",
    "Changes",
    "CustomField",
    "Heartbeat",
    "IdempotencyKey",
    "Job",
    "JobError",
    "Journaled",
    "JournaledQuerySet",
    "Organization",
    "OrganizationSettings",
    "Record",
    "RecordQuerySet",
    "ScopedQuerySet",
    "SearchWord",
    "SecurityEvent",
    "SharedQuerySet",
    "unique_among_live",
]
