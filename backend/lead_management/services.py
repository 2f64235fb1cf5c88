"""What is done with leads, beside what every record has."""

from django.core.exceptions import ValidationError

from core import access
from core.bulk.changes import Alteration
from core.exceptions import Conflict, bad_parameter
from core.models import Changes
from lead_management.models import Lead, LeadProcess
from lead_management.serializers import TransitionSerializer


def move(changes: Changes, lead: Lead, status: str, reason: str) -> None:
    """Bring a locked lead into another status.

    Raises:
        Conflict: the process of the organization does not allow it.
        ValidationError: the status needs a field or a reason; those are named.
    """
    process = LeadProcess.of(changes.change_set.organization)
    changes.save(lead, **moved(changes.actor, process, lead, status, reason))


def moved(actor, process: LeadProcess, lead: Lead, status: str, reason: str) -> dict:
    """The values that bring a lead into another status; raises as `move` does."""
    if lead.status == Lead.Status.CONVERTED:
        raise Conflict("A converted lead is not changed any more.", "converted")
    try:
        process.require_move(lead, status, reason)
    except ValidationError as error:
        rights = access.field_rights(actor, lead.record_type())
        raise rights.told(error) from None
    return {"status": status, **lead.arrival(reason)}


class Transition(Alteration):
    """Brings many leads into another status, as the process allows it each of them."""

    verb = access.Verb.EDIT

    def __init__(self, wish: dict, user):
        if "status" in access.hidden_fields(user, Lead.record_type()):
            raise bad_parameter("transition", "Unknown field.", "unknown_field")
        self.status, self.reason = wish["status"], wish["reason"]
        self.process = LeadProcess.of(user.organization)

    @staticmethod
    def field():
        return TransitionSerializer(required=False)

    def alter(self, changes, lead, before):
        if lead.status == self.status:
            return False
        values = moved(changes.actor, self.process, lead, self.status, self.reason)
        for name, value in values.items():
            setattr(lead, name, value)
        changes.validate(lead, exclude=before.keys() - values.keys())
        changes.require_change(lead, set(values), before)
        return True
