"""What imports keep: files that wait for a decision, and mappings to use again."""

from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from core import access
from core.field_rights import PREFIX
from core.ids import new_id

from .record import Record, unique_among_live

MAX_COLUMNS = 512


class Upload(models.Model):
    """A file that its owner looks at, and may import or not, within a day."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(
        "core.Organization", models.PROTECT, related_name="+"
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+"
    )
    file_name = models.CharField(max_length=255)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self):
        return self.file_name

    @property
    def path(self) -> Path:
        return Path(settings.MEDIA_ROOT) / "uploads" / str(self.pk)


class ImportMapping(Record):
    """Where the columns of files with one header line go. A file like it uses it."""

    name = models.CharField(max_length=100)
    description = models.CharField(max_length=200, blank=True)
    applies_to = models.CharField(
        max_length=50, help_text="The record type that such files are imported as."
    )
    columns = models.JSONField(help_text="The names of the columns, in their order.")
    mapping = models.JSONField(help_text="Column to field; null leaves it out.")
    header_key = models.CharField(max_length=64, editable=False)

    summary_fields = ("id", "name")
    is_importable = False

    class Meta(Record.Meta):
        constraints = [
            unique_among_live("applies_to", "name", name="importmapping_name_unique")
        ]
        indexes = [
            *Record.Meta.indexes,
            models.Index(
                fields=["organization", "applies_to", "header_key"],
                name="importmapping_header",
                condition=models.Q(deleted_at=None),
            ),
        ]

    def __str__(self):
        return self.name

    def clean(self):
        super().clean()
        from core.importing.drafts import allowed_targets, known_headers
        from core.importing.mapping import BadMapping, ColumnMap, header_key
        from core.registry import importable_types

        model = importable_types().get(self.applies_to)
        if model is None:
            names = ", ".join(importable_types())
            raise _invalid("applies_to", f"One of: {names}.", "invalid_choice")
        columns, mapping = self.columns, self.mapping
        if not (
            isinstance(columns, list)
            and 0 < len(columns) <= MAX_COLUMNS
            and all(isinstance(name, str) and name.strip() for name in columns)
            and len(set(columns)) == len(columns)
        ):
            detail = f"Give up to {MAX_COLUMNS} different names of columns."
            raise _invalid("columns", detail, "not_a_list")
        if not isinstance(mapping, dict) or not all(
            isinstance(target, str | None) for target in mapping.values()
        ):
            raise _invalid("mapping", "Give an object of texts.", "not_an_object")
        allowed = [*allowed_targets(model, self.organization), "id"]
        headers = known_headers(model, self.organization)
        try:
            ColumnMap.given(columns, mapping, allowed, headers)
        except BadMapping as fault:
            raise _invalid("mapping", fault.detail, fault.code) from None
        self.header_key = header_key(columns)

    def guard(self, actor, changed):
        """Custom fields that the actor does not see are as if they were not there."""
        super().guard(actor, changed)
        from core.importing.mapping import unknown_target

        rights = access.field_rights(actor, self.applies_to)
        for column, target in self.mapping.items() if "mapping" in changed else ():
            if target and target.startswith(PREFIX) and rights.hides(target):
                detail = unknown_target(column, target).detail
                raise _invalid("mapping", detail, "unknown_target")


def _invalid(field: str, detail: str, code: str) -> ValidationError:
    return ValidationError({field: ValidationError(detail, code=code)})
