"""The custom fields that an organization has defined, and what they mean to records.

As long as a record type has no definition, its custom fields are any JSON. From the
first one on, only defined keys are written. What stands in a record already may stay,
whatever became of its definition.
"""

from dataclasses import dataclass
from functools import cached_property

import orjson
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from core import access
from core.custom_fields.kinds import KINDS, People, wrong
from core.field_rights import CUSTOM, PREFIX, without_keys
from core.memory import Memory

MISSING = object()

recalled = Memory(1000)


class Definitions:
    """The definitions of one record type, read once for all records of a request.

    Attributes:
        fields: the definitions by their key, archived ones too, in their order.
    """

    def __init__(self, organization, record_type: str):
        from core.models import CustomField

        self.organization = organization
        rows = CustomField.objects.filter(
            organization=organization, applies_to=record_type
        )
        self.fields = {field.key: field for field in rows}
        for field in self.fields.values():
            field.organization = organization

    def __bool__(self):
        return bool(self.fields)

    @cached_property
    def current(self) -> dict:
        """Those that are not archived."""
        return {k: field for k, field in self.fields.items() if not field.is_archived}

    @cached_property
    def archived(self) -> frozenset[str]:
        return frozenset(self.fields.keys() - self.current.keys())

    @cached_property
    def people(self) -> People:
        """The organization's users."""
        users = get_user_model().objects.filter(organization=self.organization)
        ids = users.values_list("email", "pk")
        return People((email, str(pk)) for email, pk in ids)

    def checked(self, values: dict, known: dict, is_new: bool) -> dict:
        """The custom fields of a record as they are stored.

        Args:
            known: those that it has; what is the same there needs no check.
            is_new: whether the record is.

        Raises:
            ValidationError: with what is wrong, by `custom_fields.<key>`.
        """
        checked, errors = {}, {}
        for key, value in values.items():
            if key in known and is_same(value, known[key]):
                checked[key] = value
            elif not is_blank(value) or key not in self.fields:
                try:
                    checked[key] = self._checked(key, value, known.get(key))
                except ValidationError as error:
                    errors[f"{PREFIX}{key}"] = error
        for key, field in self.current.items():
            lost = is_new or key in known
            if field.is_required and lost and key not in checked:
                missing = wrong("This field is required.", "required")
                errors.setdefault(f"{PREFIX}{key}", missing)
        if errors:
            raise ValidationError(errors)
        return checked

    def _checked(self, key, value, before):
        field = self.fields.get(key)
        if field is None:
            raise wrong("Unknown field.", "unknown_field")
        if field.is_archived:
            raise wrong("This field is archived.", "archived")
        return KINDS[field.kind].checked(value, field, self.people, before)


def definitions_of(organization, record_type: str) -> Definitions:
    """The definitions of a record type, kept with this instance of the organization.

    Writers have an instance for each change set, so that none is older than that. A
    request whose proof stands takes those that were read since it was made.
    """
    kept = organization.__dict__.setdefault("custom_fields", {})
    if record_type not in kept:
        kept[record_type] = _recalled(organization, record_type)
    return kept[record_type]


def _recalled(organization, record_type: str) -> Definitions:
    if not organization.proof:
        return Definitions(organization, record_type)
    key = (organization.pk, record_type, organization.proof.shared)
    return recalled.kept(key, lambda: Definitions(organization, record_type))


def forget(organization) -> None:
    """Let the definitions be read anew: a chunk of a job begins."""
    organization.__dict__.pop("custom_fields", None)


def shown_to(user, record_type: str) -> dict:
    """The current definitions that the user sees, by key: one query."""
    rights = access.field_rights(user, record_type)
    if CUSTOM in rights.hidden:
        return {}
    fields = Definitions(user.organization, record_type).current
    return without_keys(fields, rights.hidden_keys)


def is_blank(value) -> bool:
    return value is None or value == "" or value == []


def is_same(value, other) -> bool:
    """Whether two JSON values are equal, true and 1 being different."""
    return value == other and orjson.dumps(value) == orjson.dumps(other)


def merged(current: dict, sent: dict) -> dict:
    """The custom fields after a PATCH: by key, null takes one away."""
    return {k: v for k, v in {**current, **sent}.items() if v is not None}


# Files


@dataclass(frozen=True)
class Column:
    """A column of a file, for one custom field.

    Attributes:
        name: `custom_fields.<key>`, where an import takes it to.
        label: what people call it.
    """

    name: str
    label: str
    definitions: Definitions

    @property
    def field(self):
        return self.definitions.fields[self.name.removeprefix(PREFIX)]

    def text(self, custom_fields: dict) -> str:
        """The cell of a record with these custom fields."""
        value = custom_fields.get(self.field.key)
        if is_blank(value):
            return ""
        kind = KINDS[self.field.kind]
        return kind.shown(value, self.field, self.definitions.people)

    def value(self, text: str):
        """What a cell means; ValidationError where it means nothing."""
        kind = KINDS[self.field.kind]
        return kind.read(text.strip(), self.field, self.definitions.people)


def columns(organization, record_type: str, user=None) -> dict[str, Column]:
    """One column for each current custom field, by its name.

    Args:
        user: who must see the field, if it is about somebody.
    """
    definitions = definitions_of(organization, record_type)
    rights = access.field_rights(user, record_type)
    if CUSTOM in rights.hidden:
        return {}
    shown = without_keys(definitions.current, rights.hidden_keys)
    return {
        f"{PREFIX}{key}": Column(f"{PREFIX}{key}", field.label, definitions)
        for key, field in shown.items()
    }


# The journal keeps the entries that changed, and undo takes back one by one


def narrowed(before: dict, after: dict) -> tuple[dict, dict]:
    """Both sides of a change, of custom fields the entries that changed alone."""
    if CUSTOM not in before or CUSTOM not in after:
        return before, after
    old, new = before[CUSTOM], after[CUSTOM]
    names = [
        name
        for name in {**old, **new}
        if not is_same(old.get(name), new.get(name)) or (name in old) != (name in new)
    ]
    return (
        {**before, CUSTOM: {name: old[name] for name in names if name in old}},
        {**after, CUSTOM: {name: new[name] for name in names if name in new}},
    )


def spread(values: dict | None, other: dict | None = None) -> dict:
    """The values with an entry for each custom field, by `custom_fields.<key>`.

    Args:
        other: the other side of a change; what stands there alone is MISSING here.
    """
    values = dict(values or {})
    mine, theirs = values.pop(CUSTOM, None), (other or {}).get(CUSTOM) or {}
    for key in {**(mine or {}), **theirs}:
        values[f"{PREFIX}{key}"] = (mine or {}).get(key, MISSING)
    return values


def gathered(values: dict, current: dict) -> dict:
    """What `spread` took apart, put together again.

    Args:
        current: the values of now, whose other custom fields stay.
    """
    whole = {n: v for n, v in values.items() if not n.startswith(PREFIX)}
    entries = {n.removeprefix(PREFIX): v for n, v in values.items() if n not in whole}
    if entries:
        new = {**current.get(CUSTOM, {}), **entries}
        whole[CUSTOM] = {key: v for key, v in new.items() if v is not MISSING}
    return whole
