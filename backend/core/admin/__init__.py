"""The admin of records, for every app; each record type registers a RecordAdmin."""

from .forms import JournaledForm
from .jobs import JobAdmin
from .letters import LetterAdmin
from .logs import ChangeSetAdmin, SecurityEventAdmin
from .notifications import NotificationAdmin
from .organization import CustomFieldAdmin, ImportMappingAdmin, OrganizationAdmin
from .records import JournaledAdmin, RecordAdmin
from .schedule import PeriodicTaskAdmin
from .scoped import ReadOnlyAdmin, ScopedAdmin
from .timeline import TimelineAdmin

__all__ = [
    "ChangeSetAdmin",
    "CustomFieldAdmin",
    "ImportMappingAdmin",
    "JobAdmin",
    "JournaledAdmin",
    "JournaledForm",
    "LetterAdmin",
    "NotificationAdmin",
    "OrganizationAdmin",
    "PeriodicTaskAdmin",
    "ReadOnlyAdmin",
    "RecordAdmin",
    "ScopedAdmin",
    "SecurityEventAdmin",
    "TimelineAdmin",
]
