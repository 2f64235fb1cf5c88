"""What is done with leads, beside what every record has."""

from django.core.exceptions import ValidationError

from core import access
from core.models import Changes
from lead_management.models import Lead, LeadProcess


def move(changes: Changes, lead: Lead, status: str, reason: str) -> None:
    """Bring a locked lead into another status.

    Raises:
        Conflict: the process of the organization does not allow it.
        ValidationError: the status needs a field or a reason; those are named.
    """
    if lead.status == Lead.Status.CONVERTED:
        raise lead.converted_conflict(changes.actor)
    try:
        process = LeadProcess.of(changes.change_set.organization)
        process.require_move(lead, status, reason)
    except ValidationError as error:
        rights = access.field_rights(changes.actor, lead.record_type())
        raise rights.told(error) from None
    changes.save(lead, status=status, **lead.arrival(reason))
