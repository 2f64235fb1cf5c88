from .custom_field import CustomField
from .idempotency import IdempotencyKey
from .importing import ImportMapping, Upload
from .job import Figure, Heartbeat, Job, JobError, JobSkip
from .journal import Change, Changes, ChangeSet
from .notification import Notification
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
    "Figure",
    "Heartbeat",
    "IdempotencyKey",
    "ImportMapping",
    "Job",
    "JobError",
    "JobSkip",
    "Journaled",
    "JournaledQuerySet",
    "Notification",
    "Organization",
    "OrganizationSettings",
    "Record",
    "RecordQuerySet",
    "ScopedQuerySet",
    "SearchWord",
    "SecurityEvent",
    "SharedQuerySet",
    "Upload",
    "unique_among_live",
]
