"""How leads go through their statuses: one table for each organization."""

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from core.exceptions import Conflict
from core.field_rights import CUSTOM, PREFIX, is_limitable
from core.history import BLANK
from core.models import OrganizationSettings

from .lead import Lead

Status = Lead.Status
KEYS = {"to", "initial", "required_fields", "reason_required"}
# What the program keeps, or the process itself decides.
NEVER_REQUIRED = {"status", "status_reason", "deleted_at", "owner", CUSTOM}
MAX_REQUIRED = 20
MAX_DAYS = 365


def row(*to: str, initial=False, required_fields=(), reason_required=False) -> dict:
    return {
        "to": [str(status) for status in to],
        "initial": initial,
        "required_fields": list(required_fields),
        "reason_required": reason_required,
    }


def default_statuses() -> dict:
    """The process of an organization that has declared none.

    For each status: where leads go from it, whether they may begin in it, and what they
    need to come into it. Where `converted` follows, a lead may be converted: nothing
    else brings it there.
    """
    new, contacted, qualified, unqualified, converted, lost = Status
    ends = (unqualified, lost, converted)
    return {
        new.value: row(contacted, qualified, *ends, initial=True),
        contacted.value: row(qualified, *ends, initial=True),
        qualified.value: row(contacted, *ends, initial=True),
        unqualified.value: row(contacted, reason_required=True),
        converted.value: row(),
        lost.value: row(contacted, reason_required=True),
    }


class LeadProcess(OrganizationSettings):
    """The table of the statuses of an organization's leads."""

    statuses = models.JSONField(
        default=default_statuses,
        help_text="By status: `to`, the statuses that follow it, and `converted` where"
        " leads may be converted from it; `initial`, whether leads may begin in it;"
        " `required_fields` and `reason_required` to come into it.",
    )

    untouched_after_days = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        default=14,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_DAYS)],
        help_text="After so many days without a touch an open lead's owner is told;"
        " empty: never.",
    )

    class Meta:
        verbose_name_plural = "lead processes"

    def __str__(self):
        return "Lead process"

    # The rules

    def allowed_from(self, status: str) -> list[str]:
        """The statuses that a transition leads to."""
        return [to for to in self.statuses[status]["to"] if to != Status.CONVERTED]

    def initial(self) -> list[str]:
        return [status for status, of in self.statuses.items() if of["initial"]]

    def missing(self, lead: Lead, status: str, reason: str) -> dict:
        """What the lead lacks to come into a status, as errors by field."""
        errors = {}
        for name in self.statuses[status]["required_fields"]:
            if name.startswith(PREFIX):
                value = lead.custom_fields.get(name.removeprefix(PREFIX))
            else:
                value = getattr(lead, lead._meta.get_field(name).attname)
            if value in BLANK:
                detail = f"Needed for the status '{status}'."
                errors[name] = ValidationError(detail, code="required")
        if self.statuses[status]["reason_required"] and not reason:
            detail = f"The status '{status}' needs a reason."
            errors["reason"] = ValidationError(detail, code="required")
        return errors

    def require_move(self, lead: Lead, status: str, reason: str) -> None:
        """Raise where the lead may not come into the status.

        Raises:
            Conflict: no way leads there; it says which do.
            ValidationError: something is missing, by field.
        """
        if status not in self.allowed_from(lead.status):
            raise self._no_way(lead)
        self._require(lead, status, reason)

    def require_conversion(self, lead: Lead, reason: str) -> None:
        """Raise where the lead may not be converted, as `require_move` does."""
        if Status.CONVERTED not in self.statuses[lead.status]["to"]:
            raise self._no_way(lead, " It is not converted from there.")
        self._require(lead, Status.CONVERTED, reason)

    def _no_way(self, lead: Lead, more: str = "") -> Conflict:
        allowed = self.allowed_from(lead.status)
        return Conflict(
            f"From '{lead.status}' a lead goes to: {', '.join(allowed) or 'none'}."
            f"{more}",
            "illegal_transition",
            current=lead.status,
            allowed=allowed,
        )

    def _require(self, lead: Lead, status: str, reason: str) -> None:
        if errors := self.missing(lead, status, reason):
            raise ValidationError(errors)

    def first_contact(self, lead: Lead) -> dict:
        """The values that bring a new lead to contacted; none where it may not be."""
        status = Status.CONTACTED
        if status not in self.allowed_from(lead.status) or self.missing(
            lead, status, ""
        ):
            return {}
        return {"status": status.value, **lead.arrival("")}

    # Whether the table is one

    def clean(self):
        super().clean()
        if not isinstance(self.statuses, dict) or set(self.statuses) != set(
            Status.values
        ):
            self._refuse(f"Give an object for each of: {', '.join(Status.values)}.")
        for status, of in self.statuses.items():
            self._check(status, of)
        if not self.initial():
            self._refuse("Leads have to begin somewhere: none is initial.")

    def _check(self, status, of):
        if not isinstance(of, dict) or set(of) != KEYS:
            self._refuse(f"'{status}': give {', '.join(sorted(KEYS))}.")
        if not (
            isinstance(of["initial"], bool) and isinstance(of["reason_required"], bool)
        ):
            self._refuse(f"'{status}': initial and reason_required are true or false.")
        others = set(Status.values) - {status}
        to, required = of["to"], of["required_fields"]
        if not is_set_of(to, others):
            self._refuse(f"'{status}': to is a list of other statuses, each once.")
        if status == Status.CONVERTED and (to or of["initial"]):
            self._refuse(f"'{status}': no lead begins in it or leaves it.")
        known = {f.name for f in Lead.journaled_fields().values() if f.editable}
        known -= NEVER_REQUIRED
        if isinstance(required, list):
            # Any entry of the custom fields may be asked for.
            known |= {
                n for n in required if is_limitable(Lead, n) and n.startswith(PREFIX)
            }
        if not is_set_of(required, known):
            self._refuse(f"'{status}': required_fields is a list of fields of leads.")
        if len(required) > MAX_REQUIRED:
            self._refuse(f"'{status}': at most {MAX_REQUIRED} required fields.")

    @staticmethod
    def _refuse(detail):
        raise ValidationError({"statuses": ValidationError(detail, code="invalid")})


def is_set_of(values, known) -> bool:
    """Whether this is a list of known texts, none of them twice."""
    return (
        isinstance(values, list)
        and all(isinstance(value, str) and value in known for value in values)
        and len(set(values)) == len(values)
    )
