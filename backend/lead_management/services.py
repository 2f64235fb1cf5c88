"""What is done with leads, beside what every record has."""

from django.core.exceptions import ValidationError
from rest_framework.exceptions import APIException

from core import access
from core.bulk.changes import Alteration, BulkChange, Tally
from core.exceptions import Conflict, bad_parameter
from core.models import Changes
from core.models.values import snapshot
from core.problems import from_django
from core.serializers import AutoAssignField
from lead_management.assignment.decisions import decide, note
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
        raise lead.converted_conflict(actor)
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


class AssignByRules(BulkChange):
    """Gives open leads to whom the rules choose now, one after the other.

    It takes the right to edit a lead, and to assign it to who is chosen.
    """

    def __init__(self, wish: bool | str, user):
        if wish is False:
            raise bad_parameter("assign", "Give true, or the id of a rule.")
        try:
            Lead.check_auto_assign(wish, user)
        except ValidationError as error:
            raise from_django(ValidationError({"assign": error})) from None
        self.wish = wish

    @staticmethod
    def field():
        return AutoAssignField(
            required=False,
            help_text="True, or the id of the rule that is to be taken.",
        )

    def take(self, changes, leads):
        tally = Tally()
        wanting = []
        for lead in leads:
            try:
                changes.require(access.Verb.EDIT, lead)
                if not lead.is_open:
                    raise Conflict("Only an open lead is assigned.", "not_open")
            except APIException as refusal:
                tally.refuse(refusal)
            else:
                wanting.append(lead)
        decisions = decide(wanting, changes.change_set.organization, self.wish)
        tally.unchanged += len(wanting) - len(decisions)
        updates, noted = [], []
        for decision in decisions:
            lead, before = decision.lead, snapshot(decision.lead)
            if not decision.leaves_owner:
                lead.owner = decision.assignee
            try:
                if snapshot(lead) == before:
                    tally.unchanged += 1
                else:
                    changes.require_change(lead, {"owner"}, before)
                    updates.append((lead, before))
            except APIException as refusal:
                tally.refuse(refusal)
            else:
                noted.append(decision)
        changes.bulk_update(Lead, updates)
        tally.changed += len(updates)
        note(noted, changes)
        return tally
