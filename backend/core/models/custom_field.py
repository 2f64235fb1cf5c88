import re

from django.core.exceptions import ValidationError
from django.db import models

from core import access
from core.custom_fields.kinds import KINDS
from core.field_rights import CUSTOM, keys

from .record import Journaled, JournaledQuerySet

MAX_FIELDS = 200
MAX_CHOICES = 500
# No two underscores in a row: they begin a look-up.
KEY = re.compile(r"[a-z](_?[a-z0-9])*")


class CustomFieldQuerySet(JournaledQuerySet):
    def visible_to(self, user):
        """All of the organization, but for those that the user's role hides."""
        from core.registry import record_types

        record_type = self.model.record_type()
        if not user.is_authenticated or access.is_beyond_key(
            user, record_type, access.Verb.VIEW
        ):
            return self.none()
        rows = self.filter(organization=user.organization_id)
        for record_type in record_types():
            hidden = access.hidden_fields(user, record_type)
            if CUSTOM in hidden:
                rows = rows.exclude(applies_to=record_type)
            elif hidden_keys := keys(hidden):
                rows = rows.exclude(applies_to=record_type, key__in=hidden_keys)
        return rows


class CustomField(Journaled):
    """A field that an organization adds to a record type.

    The values stand in `Record.custom_fields` under its key, which is never given away
    to another field: an archived one keeps it.
    """

    class Kind(models.TextChoices):
        TEXT = "text"
        NUMBER = "number"
        MONEY = "money"
        DATE = "date"
        CHOICE = "choice"
        MULTI_CHOICE = "multi_choice"
        BOOLEAN = "boolean"
        LINK = "link"
        USER = "user"

    class IndexStatus(models.TextChoices):
        NONE = "none"
        READY = "ready"
        FAILED = "failed"

    applies_to = models.CharField(
        max_length=50, help_text="The record type, such as `contact`; never changes."
    )
    key = models.CharField(
        max_length=50,
        help_text="Its name in `custom_fields`: small letters and digits, with single"
        " underscores between them; never changes.",
    )
    label = models.CharField(max_length=100, help_text="What people call it.")
    kind = models.CharField(max_length=20, choices=Kind, help_text="Never changes.")
    choices = models.JSONField(
        default=list,
        blank=True,
        help_text="[{value, label}], for the kinds choice and multi_choice. Records"
        " keep the value, so that a label can be renamed.",
    )
    is_required = models.BooleanField(
        default=False, help_text="New records must have a value, and none loses it."
    )
    is_indexed = models.BooleanField(
        default=False, help_text="An index makes filters by it fast in large lists."
    )
    is_archived = models.BooleanField(
        default=False, help_text="Values stay as they are, and no new ones are taken."
    )
    position = models.PositiveIntegerField(default=0)
    index_status = models.CharField(
        max_length=10,
        choices=IndexStatus,
        default=IndexStatus.NONE,
        editable=False,
        help_text="Whether the index is there; of one that failed the job tells why.",
    )

    objects = CustomFieldQuerySet.as_manager()
    summary_fields = ("id", "applies_to", "key", "label", "kind")
    fixed_fields = ("applies_to", "key", "kind")

    class Meta:
        ordering = ["applies_to", "position", "created_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "applies_to", "key"],
                name="custom_field_key_unique",
                violation_error_code="unique",
                violation_error_message="Another field of this type has this key.",
            )
        ]

    def __str__(self):
        return self.label

    def labels(self) -> dict[str, str]:
        """The labels of the choices, by their value."""
        return {choice["value"]: choice["label"] for choice in self.choices}

    def clean(self):
        super().clean()
        from core.registry import record_types

        errors = {}
        if self.applies_to not in record_types():
            detail = f"There is no record type '{self.applies_to}'."
            errors["applies_to"] = ValidationError(detail, code="unknown_type")
        if not KEY.fullmatch(self.key):
            errors["key"] = ValidationError(
                "A small letter, then small letters and digits, with single underscores"
                " between them.",
                code="invalid",
            )
        has_choices = self.kind in KINDS and KINDS[self.kind].has_choices
        if error := wrong_choices(self.choices, has_choices):
            errors["choices"] = error
        if errors:
            raise ValidationError(errors)
        if self._state.adding:
            others = type(self).objects.filter(
                organization=self.organization_id, applies_to=self.applies_to
            )
            if others.count() >= MAX_FIELDS:
                raise ValidationError(
                    f"A record type has at most {MAX_FIELDS} custom fields.",
                    code="too_many",
                )

    def guard(self, actor, changed):
        """What values were made for stays as it was."""
        if self._state.adding:
            return
        fixed = [name for name in self.fixed_fields if name in changed]
        if fixed:
            error = ValidationError("This never changes.", code="immutable")
            raise ValidationError(dict.fromkeys(fixed, error))


def wrong_choices(choices, wanted: bool) -> ValidationError | None:
    """What is wrong with the choices of a definition.

    Args:
        wanted: whether its kind has choices.
    """

    def is_text(text):
        return isinstance(text, str) and text == text.strip() and 0 < len(text) <= 100

    if not isinstance(choices, list):
        return ValidationError("Give a list.", code="not_a_list")
    if choices and not wanted:
        return ValidationError("This kind has no choices.", code="no_choices")
    if wanted and not choices:
        return ValidationError("Give at least one choice.", code="required")
    if len(choices) > MAX_CHOICES:
        return ValidationError(f"At most {MAX_CHOICES} choices.", code="max_length")
    for choice in choices:
        if not isinstance(choice, dict) or choice.keys() != {"value", "label"}:
            return ValidationError("Give each a value and a label.", code="invalid")
        if not (is_text(choice["value"]) and is_text(choice["label"])):
            return ValidationError(
                "A value and a label have 1 to 100 characters, no spaces around them.",
                code="invalid",
            )
        # Lists of values are separated by them, in addresses and in files.
        if "," in choice["value"] or ";" in choice["value"]:
            return ValidationError(
                "A value has no commas or semicolons.", code="invalid"
            )
    if len({choice["value"] for choice in choices}) < len(choices):
        return ValidationError("A value stands twice.", code="repeated")
    return None
