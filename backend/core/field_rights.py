"""Fields that a role may not see, or may see but not edit.

A name is a field's, or `custom_fields.<key>` for one entry of that object. A hidden
field is as if the record type had none of that name; a read-only one may be sent with
the value that it has.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from rest_framework.exceptions import PermissionDenied

CUSTOM = "custom_fields"
PREFIX = f"{CUSTOM}."
MISSING = object()


class FieldReadOnly(PermissionDenied):
    """A new value for fields that the role may see but not edit (403)."""

    default_code = "field_read_only"

    def __init__(self, names: Iterable[str]):
        names = sorted(names)
        super().__init__(f"Your role does not allow to change: {', '.join(names)}.")
        detail = "Your role does not allow to change this."
        self.extra = {
            "errors": [
                {"field": name, "code": self.default_code, "detail": detail}
                for name in names
            ]
        }


@dataclass(frozen=True)
class FieldRights:
    """What somebody may not do with the fields of one record type.

    Attributes:
        hidden: names that they do not see, and so neither edit.
        read_only: names that they see and do not edit.
        derived: fields that the program writes, whoever edits what they come from.
    """

    hidden: frozenset[str] = frozenset()
    read_only: frozenset[str] = frozenset()
    derived: frozenset[str] = frozenset()

    def __bool__(self):
        return bool(self.hidden or self.read_only)

    @cached_property
    def locked(self) -> frozenset[str]:
        """The names that they do not edit."""
        return self.hidden | self.read_only

    @cached_property
    def hidden_keys(self) -> frozenset[str]:
        return keys(self.hidden)

    @cached_property
    def locked_keys(self) -> frozenset[str]:
        return keys(self.locked)

    def within(self, other: "FieldRights") -> bool:
        """Whether these rights allow nothing that the others do not."""
        return covers(self.hidden, other.hidden) and covers(self.locked, other.locked)

    # Reading

    def hides(self, name: str) -> bool:
        return name in self.hidden or (
            name.startswith(PREFIX) and CUSTOM in self.hidden
        )

    def hides_path(self, path: str) -> bool:
        """Whether a look-up such as `notes__icontains` asks a hidden field."""
        return path.lstrip("^=@$-").partition("__")[0] in self.hidden

    def shown(self, values: dict) -> dict:
        """The values without what is hidden."""
        if not self.hidden:
            return values
        return {
            name: without_keys(value, self.hidden_keys) if name == CUSTOM else value
            for name, value in values.items()
            if name not in self.hidden
        }

    def shown_change(self, before: dict, after: dict) -> tuple[dict, dict]:
        """Both sides of a change, without what is hidden."""
        if not self.hidden:
            return before, after
        before, after = self.shown(before), self.shown(after)
        if CUSTOM in before and before[CUSTOM] == after.get(CUSTOM):
            # Nothing but hidden entries changed.
            del before[CUSTOM], after[CUSTOM]
        return before, after

    def told(self, error: ValidationError) -> ValidationError:
        """A model's error without the names of hidden fields."""
        if not self.hidden or not hasattr(error, "error_dict"):
            return error
        errors = {n: e for n, e in error.error_dict.items() if not self.hides(n)}
        if len(errors) < len(error.error_dict):
            refusal = ValidationError(
                "A field that your role may not see does not allow this.",
                code="hidden_field",
            )
            errors.setdefault(NON_FIELD_ERRORS, []).append(refusal)
        return ValidationError(errors)

    # Writing

    def kept(self, current: dict, sent: dict) -> dict:
        """Custom fields as sent, and those that may not be edited where not sent."""
        mine = {n: v for n, v in (current or {}).items() if n in self.locked_keys}
        return {**mine, **sent}

    def refused(self, before: dict, after: dict) -> set[str]:
        """The names whose new values may not be written."""
        if not self:
            return set()
        names = {
            name
            for name in (self.locked & after.keys()) - self.derived
            if before.get(name, MISSING) != after[name]
        }
        old, new = before.get(CUSTOM) or {}, after.get(CUSTOM) or {}
        if CUSTOM in after and isinstance(new, dict):
            names |= {
                f"{PREFIX}{key}"
                for key in self.locked_keys
                if old.get(key, MISSING) != new.get(key, MISSING)
            }
        return names

    def require(self, before: dict, after: dict) -> None:
        """Raise PermissionDenied where new values may not be written.

        What is hidden is not named.
        """
        refused = self.refused(before, after)
        if refused - self.hidden:
            raise FieldReadOnly(refused - self.hidden)
        if refused:
            raise PermissionDenied("Your role does not see all that this would change.")


NO_LIMITS = FieldRights()


@lru_cache(maxsize=1024)
def field_rights(model, hidden: tuple, read_only: tuple) -> FieldRights:
    """The rights on a model's fields that a role spells out.

    What is worked out from a hidden field is hidden too.
    """
    derived = {f.name for f in model._meta.concrete_fields if not f.editable}
    told = {name for name, source in model.derived_from.items() if source in hidden}
    return FieldRights(
        frozenset(hidden) | told, frozenset(read_only) - set(hidden), frozenset(derived)
    )


def limitable(model) -> set[str]:
    """The names of a record type's fields that can be hidden or made read-only.

    Not what identifies a row or counts its versions.
    """
    names = model.journaled_fields().keys() | model.computed_fields.keys()
    return names - {"deleted_at"}


def is_limitable(model, name) -> bool:
    if not isinstance(name, str):
        return False
    return name in limitable(model) or (
        name.startswith(PREFIX) and 0 < len(name) - len(PREFIX) <= 100
    )


def keys(names: Iterable[str]) -> frozenset[str]:
    """The keys of custom fields among the names."""
    return frozenset(n.removeprefix(PREFIX) for n in names if n.startswith(PREFIX))


def covers(names: frozenset[str], others: frozenset[str]) -> bool:
    """Whether each of the others, or the object that it is an entry of, is named."""
    return all(
        name in names or (name.startswith(PREFIX) and CUSTOM in names)
        for name in others
    )


def without_keys(value, names: frozenset[str]):
    if not (names and isinstance(value, dict)):
        return value
    return {key: entry for key, entry in value.items() if key not in names}
