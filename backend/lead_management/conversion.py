"""A lead becomes a contact and, if wanted, a company and a deal, in one change set.

What it becomes is new, or was there before: then the lead fills what is empty. The
activities of the lead are seen on all of it from then on, and stay on the lead, whose
past they are. The journal has each of these writes, so that undo takes all of it back.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError as InvalidRecord
from django.db import IntegrityError
from rest_framework.exceptions import ErrorDetail, ValidationError

from contact_management.models import ADDRESS, Company, Contact
from core import access, locks
from core.batches import batched
from core.custom_fields.definitions import definitions_of, is_blank, merged
from core.custom_fields.kinds import KINDS
from core.exceptions import Conflict, StaleRecord
from core.field_rights import CUSTOM, PREFIX
from core.fields import ExternalIdsField, TagsField
from core.history import BLANK
from core.models import Changes, Record
from core.models.values import difference, snapshot
from core.problems import from_django, violated_constraint
from core.routers import view_for
from lead_management.models import (
    CONVERTED_INTO,
    Activity,
    Deal,
    DealContact,
    Lead,
    LeadProcess,
    Pipeline,
    Stage,
)
from lead_management.models.pipeline import Kind

CHUNK = 1000
# What comes before what it refers to, as in other writers: so they lock in this order.
TYPES = {"deal": Deal, "contact": Contact, "company": Company}

_SAME = (*ADDRESS, "website")
# For each target, which field of the lead tells each of its fields.
FROM_LEAD = {
    "contact": {
        **{name: name for name in _SAME},
        **{n: n for n in ("first_name", "last_name", "email", "job_title")},
        **{n: n for n in ("phone", "phone_label", "other_phones", "company_name")},
        **{n: n for n in ("notes", "tags", "external_ids")},
        "source": "lead_source",
    },
    "company": {
        **{name: name for name in _SAME},
        "name": "company_name",
        "domain": "website",
    },
    "deal": {
        "name": "company_name",
        "company_name": "company_name",
        "amount": "estimated_value",
        "currency": "currency",
        "tags": "tags",
    },
}
# What tells two records of a type to be the same, beside an id in another system.
UNIQUE = {"contact": "email", "company": "domain"}
# What a deal is called after, where the lead has no company.
NAMING = ("first_name", "last_name", "email")
# Fields that mean nothing without another one, and go where that goes.
COMES_WITH = {"phone_label": "phone", "currency": "amount"}


@dataclass
class Wish:
    """What a lead is to become: the record of an `id`, or a new one.

    Attributes:
        match: take the record that has the same unique value or external id, if any.
        values: of fields, in the place of what the lead tells.
        overwrite: fields of a record that was there before, to be given the new value
            even where they have one.
        pipeline: in whose first open stage a new deal begins.
    """

    id: Record | None = None
    match: bool = False
    values: dict = field(default_factory=dict)
    overwrite: tuple[str, ...] = ()
    pipeline: Pipeline | None = None


@dataclass
class Outcome:
    """What became of a wish: the record, and its changed fields before and after."""

    record: Record
    is_new: bool
    before: dict
    after: dict


@dataclass
class Conversion:
    """What a lead was converted into.

    Attributes:
        outcomes: by the names of TYPES; without those that were not wanted.
        activities: how many of those that the actor sees came along, by their kind.
    """

    outcomes: dict[str, Outcome]
    activities: dict[str, int]


def convert(
    changes: Changes, lead: Lead, wishes: dict[str, Wish], owner=None, reason: str = ""
) -> Conversion:
    """Convert a locked lead.

    Args:
        wishes: by the names of TYPES; a contact is among them.
        owner: of what is new; that of the lead if not given.

    Raises:
        Conflict: the lead is converted already (`converted`), may not be from its
            status (`illegal_transition`), or what is to be new is there (`exists`).
        ValidationError: a value is not valid, or one is missing; by field.
        PermissionDenied: the actor may not do all of it.
    """
    if lead.status == Lead.Status.CONVERTED:
        raise lead.converted_conflict(changes.actor)
    try:
        process = LeadProcess.of(changes.change_set.organization)
        process.require_conversion(lead, reason)
    except InvalidRecord as error:
        rights = access.field_rights(changes.actor, lead.record_type())
        raise rights.told(error) from None
    outcomes = _Converter(changes, lead, wishes, owner or lead.owner).outcomes()
    activities = _link_activities(changes, lead, outcomes)
    became = {CONVERTED_INTO[name]: found.record for name, found in outcomes.items()}
    changes.save(lead, status=Lead.Status.CONVERTED, **lead.arrival(reason), **became)
    return Conversion(outcomes, activities)


def told(lead: dict, conversion: Conversion, changes: Changes) -> dict:
    """A conversion as the API answers it, as far as the actor sees it."""
    answer: dict = {"lead": lead}
    for name, model in TYPES.items():
        outcome = conversion.outcomes.get(name)
        answer[name] = None
        if outcome:
            rights = access.field_rights(changes.actor, model.record_type())
            before, after = rights.shown_change(outcome.before, outcome.after)
            answer[name] = {
                "id": outcome.record.pk,
                "is_new": outcome.is_new,
                "before": before,
                "after": after,
            }
    return {**answer, "activities": conversion.activities}


class _Converter:
    """Makes or fills what one lead becomes."""

    def __init__(self, changes: Changes, lead: Lead, wishes: dict[str, Wish], owner):
        self.changes = changes
        self.actor = changes.actor
        self.organization = changes.change_set.organization
        self.lead = lead
        self.wishes = wishes
        self.owner = owner or changes.actor

    def outcomes(self) -> dict[str, Outcome]:
        there = {name: self._there(name) for name in TYPES if name in self.wishes}
        found = {}
        # What others refer to first.
        for name in reversed(TYPES):
            if name in there:
                found[name] = self._outcome(name, there[name], found)
        if "deal" in found:
            self._join(found["deal"].record, found["contact"].record)
        return found

    def _there(self, name: str) -> Record | None:
        """The record of a wish that names one, locked."""
        wish = self.wishes[name]
        if wish.id is None:
            return None
        rows = TYPES[name].objects.visible_to(self.actor).select_related("owner")
        record = rows.select_for_update(of=("self",)).filter(pk=wish.id.pk).first()
        if record is None:
            gone = ErrorDetail("It was deleted in the meantime.", "does_not_exist")
            raise ValidationError({name: {"id": gone}})
        return record

    def _outcome(self, name: str, there: Record | None, found: dict) -> Outcome:
        wish = self.wishes[name]
        values = self._told(name)
        if CUSTOM in wish.values:
            custom = merged(values.get(CUSTOM, {}), wish.values[CUSTOM])
            values = {**values, **wish.values, CUSTOM: custom}
        else:
            values.update(wish.values)
        rights = access.field_rights(self.actor, TYPES[name].record_type())
        if name != "company" and "company" in found and "company" not in rights.locked:
            values["company"] = found["company"].record
        record = there or self._twin(name, values)
        if record is None:
            made = self._made(name, values)
            if made:
                return made
            # Somebody made one just now: it is found the second time.
            record = self._twin(name, values)
            if record is None:
                raise StaleRecord()
        return self._filled(name, record, values)

    # What the lead tells

    def _told(self, name: str) -> dict:
        """What the lead has for the fields of a target that the actor may write.

        What the actor does not see of the lead stays where it is.
        """
        lead, record_type = self.lead, TYPES[name].record_type()
        hidden = access.hidden_fields(self.actor, lead.record_type())
        locked = access.field_rights(self.actor, record_type).locked
        shown = {
            field: getattr(lead, source)
            for field, source in FROM_LEAD[name].items()
            if source not in hidden and getattr(lead, source) not in BLANK
        }
        if "domain" in shown:
            shown["domain"] = _domain_of(shown["domain"])
        if name == "deal" and "name" not in shown:
            known = {n: getattr(lead, n) for n in NAMING if n not in hidden}
            email = known.pop("email", "")
            shown["name"] = " ".join(filter(None, known.values())) or email
        if CUSTOM not in hidden:
            shown[CUSTOM] = self._custom_fields(record_type)
        return {
            field: value
            for field, value in shown.items()
            if field not in locked and value not in BLANK
        }

    def _custom_fields(self, record_type: str) -> dict:
        """Those of the lead that the target has too: the same key, of the same kind."""
        lead_type = self.lead.record_type()
        mine = definitions_of(self.organization, lead_type).current
        others = definitions_of(self.organization, record_type)
        left_out = access.field_rights(self.actor, lead_type).hidden_keys
        left_out |= access.field_rights(self.actor, record_type).locked_keys
        taken = {}
        for key, value in self.lead.custom_fields.items():
            theirs = others.current.get(key)
            if key not in mine or key in left_out or theirs is None or is_blank(value):
                continue
            if theirs.kind == mine[key].kind:
                try:
                    kind = KINDS[theirs.kind]
                    taken[key] = kind.checked(value, theirs, others.people)
                except InvalidRecord:
                    # Such as a choice that the target does not have.
                    continue
        return taken

    # What is there already

    def _twin(self, name: str, values: dict) -> Record | None:
        """The record that is what the values tell, locked, if it is wanted.

        Raises:
            Conflict: there is one, and it is not.
        """
        model, twin, shared = TYPES[name], None, None
        rows = model.objects.live().filter(organization=self.organization)
        rows = rows.select_related("owner").select_for_update(of=("self",))
        if ids := values.get("external_ids"):
            locks.making_by_external_id(self.organization.pk, model.record_type())
            shared = "external_ids"
            some = list(rows.filter(external_ids__has=list(ids.items()))[:2])
            if len(some) > 1:
                raise self._conflict(name, shared, "ambiguous", "Several")
            twin = some[0] if some else None
        unique = UNIQUE.get(name)
        value = values.get(unique) or ""
        value = _domain_of(value) if unique == "domain" else value.strip().lower()
        if twin is None and value:
            shared = unique
            twin = rows.filter(**{unique: value}).first()
        if twin is None:
            return self._known_by(rows, value) if name == "contact" else None
        if self.actor and not access.reaches(self.actor, twin, access.Verb.VIEW):
            raise self._conflict(name, shared, "unique", "Another")
        if not self.wishes[name].match:
            raise self._conflict(name, shared, "exists", "A", twin)
        return twin

    def _known_by(self, rows, email: str) -> Contact | None:
        """The one contact that the actor sees with this further e-mail address.

        Several may have it: it keeps nobody from making another one.
        """
        if not (email and self.wishes["contact"].match):
            return None
        seen = Contact.objects.visible_to(self.actor).filter(other_emails__has=email)
        if "other_emails" in access.hidden_fields(self.actor, Contact.record_type()):
            return None
        some = list(rows.filter(pk__in=seen.values("pk"))[:2])
        return some[0] if len(some) == 1 else None

    @staticmethod
    def _conflict(name, shared, code, how_many, twin=None) -> Conflict:
        detail = f"{how_many} {name} with this {shared.replace('_', ' ')} is there."
        if code == "exists":
            detail += " Give its id, or `match`."
        error = {"field": f"{name}.{shared}", "code": code, "detail": detail}
        named = {name: twin.pk} if twin else {}
        return Conflict(detail, code, errors=[error], **named)

    # Writing

    def _made(self, name: str, values: dict) -> Outcome | None:
        """A new record; None where somebody made one just now with a unique value."""
        wish, record = self.wishes[name], TYPES[name]()
        access.require_some(self.actor, record.record_type(), access.Verb.CREATE)
        if wish.pipeline and "stage" not in values:
            values = {**values, "stage": _first_stage(wish.pipeline)}
        try:
            self._write(name, record, {**values, "owner": self.owner})
        except IntegrityError as error:
            if violated_constraint(error, TYPES[name]) is None:
                raise
            return None
        after = {n: v for n, v in snapshot(record).items() if v not in BLANK}
        return Outcome(record, True, {}, after)

    def _filled(self, name: str, record: Record, values: dict) -> Outcome:
        """A record that was there before, with what it lacked."""
        record.organization = self.organization
        before = snapshot(record)
        overwrite = self.wishes[name].overwrite
        try:
            self._write(name, record, _new_values(record, values, overwrite))
        except IntegrityError as error:
            constraint = violated_constraint(error, TYPES[name])
            if constraint is None:
                raise
            [shared] = set(constraint.fields) - {"organization"}
            others = TYPES[name].objects.visible_to(self.actor)
            other = others.filter(**{shared: getattr(record, shared)}).first()
            refusal = self._conflict(name, shared, "unique", "Another", other)
            raise refusal from None
        after = snapshot(record)
        changed = [n for n, value in after.items() if value != before[n]]
        return Outcome(record, False, *difference(before, after, changed))

    def _write(self, name: str, record: Record, values: dict) -> None:
        """Save as the type's own address does, in a transaction of its own."""
        view = view_for(TYPES[name], self.actor)
        with self.changes.attempt(), _told_as_values_of(name):
            view.write(self.changes, record, values)

    def _join(self, deal: Deal, contact: Contact) -> None:
        """Give the contact a part in the deal."""
        parts = DealContact.objects.live().filter(deal=deal, contact=contact)
        if not parts.exists():
            part = {"deal": deal, "contact": contact, "owner": self.owner}
            self.changes.save(DealContact(), **part)


def _new_values(record: Record, values: dict, overwrite) -> dict:
    """Those of the values that a record takes that was there before.

    An address is one thing: the lead's does not fill the gaps of another one.
    """

    def is_empty(name):
        column = record._meta.get_field(name).attname
        return getattr(record, column) in BLANK

    def is_taken(name):
        name = COMES_WITH.get(name, name)
        together = ADDRESS if name in ADDRESS else (name,)
        return name in values and (name in overwrite or all(map(is_empty, together)))

    new = {}
    for name, value in values.items():
        kind, old = record._meta.get_field(name), getattr(record, name)
        if isinstance(kind, TagsField):
            new[name] = kind.to_python([*old, *value])
        elif isinstance(kind, ExternalIdsField) and name not in overwrite:
            new[name] = {**value, **old}
        elif name == CUSTOM:
            kept = {
                key: entry
                for key, entry in old.items()
                if not is_blank(entry) and f"{PREFIX}{key}" not in overwrite
            }
            new[name] = {**old, **value, **kept}
        elif is_taken(name):
            new[name] = value
    return new


def _link_activities(changes: Changes, lead: Lead, outcomes) -> dict[str, int]:
    """Show the activities of the lead on all that it becomes.

    They stay on the lead. Whoever converts it does this without a right to edit them:
    the program keeps what is about whom.
    """
    links = {name: found.record.pk for name, found in outcomes.items()}
    activities = Activity.objects.live().filter(lead=lead).order_by("pk")
    by_names = defaultdict(list)
    for activity in activities.select_for_update(of=("self",)):
        empty = tuple(n for n in links if getattr(activity, f"{n}_id") is None)
        by_names[empty].append(activity)
    by_names.pop((), None)
    for names, some in by_names.items():
        values = {name: links[name] for name in names}
        for chunk in batched(some, CHUNK):
            changes.bulk_set(Activity, chunk, **values)
    return _seen(changes.actor, [a for some in by_names.values() for a in some])


def _seen(actor, activities: list[Activity]) -> dict[str, int]:
    """How many of these the actor sees, by their kind."""
    if "kind" in access.hidden_fields(actor, Activity.record_type()):
        return {}
    seen = Activity.objects.visible_to(actor)
    counts: Counter = Counter()
    for chunk in batched(activities, CHUNK):
        ids = [activity.pk for activity in chunk]
        counts.update(seen.filter(pk__in=ids).values_list("kind", flat=True))
    return dict(sorted(counts.items()))


def _domain_of(website: str) -> str:
    """The name of a web site's host; blank where that is none."""
    try:
        return Company._meta.get_field("domain").clean(website, None)
    except InvalidRecord:
        return ""


def _first_stage(pipeline: Pipeline) -> Stage:
    """The first open stage, which every pipeline has."""
    stages = pipeline.stage_rows.filter(kind=Kind.OPEN, is_removed=False)
    return stages.order_by("position").first()


@contextmanager
def _told_as_values_of(name: str) -> Iterator[None]:
    """Name what is not valid by its place in the request."""
    try:
        yield
    except InvalidRecord as error:
        raise ValidationError({name: {"values": from_django(error).detail}}) from None
    except ValidationError as error:
        raise ValidationError({name: {"values": error.detail}}) from None
