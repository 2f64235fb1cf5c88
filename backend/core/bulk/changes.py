"""What a bulk change does with records, a chunk of them at a time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError
from django.db import IntegrityError
from rest_framework.exceptions import APIException, PermissionDenied

from core import access, deletion
from core.access import Verb
from core.custom_fields.definitions import merged
from core.field_rights import CUSTOM
from core.models import Changes, Record
from core.models.values import Update, snapshot
from core.problems import violated_constraint


@dataclass(frozen=True)
class Fault:
    """Why a record could not be changed."""

    record_id: str
    field: str
    code: str
    detail: str


@dataclass
class Tally:
    """What became of the records of a chunk; each is counted once."""

    changed: int = 0
    unchanged: int = 0
    # By reason: how many records the actor may not change in this way.
    refused: Counter = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    failed: int = 0

    def refuse(self, refusal: APIException) -> None:
        if isinstance(refusal, access.RightMissing):
            self.refused[f"no_right_to_{refusal.verb}"] += 1
        else:
            self.refused[refusal.detail.code] += 1

    def fail(self, record: Record, error: ValidationError) -> None:
        self.failed += 1
        if not hasattr(error, "error_dict"):
            error = ValidationError({"__all__": error})
        for name, errors in error.error_dict.items():
            name = "" if name == "__all__" else name
            for one in errors:
                text = " ".join(one.messages)
                code = one.code or "invalid"
                self.faults.append(Fault(str(record.pk), name, code, text))

    def fail_by_database(self, record: Record, error: IntegrityError) -> None:
        constraint = violated_constraint(error, type(record))
        if constraint is None:
            detail = "The database does not allow it."
            self.fail(record, ValidationError(detail, code="conflict"))
            return
        names = [n for n in constraint.fields if n != "organization"]
        detail = f"Another record has this {' and '.join(names)}."
        self.fail(
            record, ValidationError({names[0]: ValidationError(detail, "unique")})
        )


class BulkChange:
    """One change, made anew for each chunk with the rights of then."""

    def take(self, changes: Changes, records: list[Record]) -> Tally:
        """Change records that are locked and that the actor sees."""
        raise NotImplementedError


class Alteration(BulkChange):
    """A change of the records' own values."""

    # The right that it takes.
    verb: Verb

    def alter(self, changes: Changes, record: Record, before: dict) -> bool:
        """Change a record in memory, as far as its rules and the actor's rights let.

        Args:
            before: its `snapshot`.

        Returns:
            Whether anything is new.
        """
        raise NotImplementedError

    def take(self, changes, records):
        tally = Tally()
        updates = []
        for record in records:
            before = snapshot(record)
            try:
                if changes.actor:
                    access.require(changes.actor, record, self.verb)
                is_new = self.alter(changes, record, before)
            except APIException as refusal:
                tally.refuse(refusal)
            except ValidationError as error:
                tally.fail(record, error)
            else:
                if is_new:
                    updates.append((record, before))
                else:
                    tally.unchanged += 1
        if updates:
            self._write(changes, updates, tally)
        return tally

    @staticmethod
    def _write(changes: Changes, updates: list[Update], tally: Tally) -> None:
        refused = changes.update_possible(type(updates[0][0]), updates)
        for (record, _), error in refused:
            tally.fail_by_database(record, error)
        failed = {record.pk for (record, _), _ in refused}
        for record, before in updates:
            if record.pk not in failed:
                tally.changed += 1
                record.follow_up(changes, before)


class Deletion(BulkChange):
    """Deletes softly, with what hangs on the records."""

    def take(self, changes, records):
        tally = Tally()
        allowed = []
        for record in records:
            try:
                deletion.require_deletable(changes, record)
                allowed.append(record)
            except APIException as refusal:
                tally.refuse(refusal)
        self._delete(changes, allowed, tally)
        return tally

    def _delete(self, changes: Changes, records: list[Record], tally: Tally) -> None:
        """Delete them all, or those on which nothing hangs that must stay."""
        try:
            changes.delete(*records)
            tally.changed += len(records)
            return
        except PermissionDenied as refusal:
            if len(records) == 1:
                tally.refuse(refusal)
                return
        # Halves find the few that are to blame among many with few statements.
        middle = len(records) // 2
        self._delete(changes, records[:middle], tally)
        # What went with the first half is gone, or refers to it no more.
        rest = type(records[0]).objects.live().select_related("owner")
        rest = rest.filter(pk__in=[record.pk for record in records[middle:]])
        left = list(rest.order_by("pk").select_for_update(of=("self",)))
        tally.changed += len(records) - middle - len(left)
        if left:
            self._delete(changes, left, tally)


class Edit(Alteration):
    """Gives fields these values; adds and removes tags, whatever their case."""

    verb = Verb.EDIT

    def __init__(
        self,
        values: dict,
        tags_field: str | None = None,
        add_tags: Sequence[str] = (),
        remove_tags: Sequence[str] = (),
    ):
        self.values = values
        self.tags_field = tags_field
        self.added = list(add_tags)
        self.removed = {name.strip().casefold() for name in remove_tags}

    def alter(self, changes, record, before):
        values = record.with_consequences(self.values)
        for name, value in values.items():
            if name == CUSTOM:
                value = merged(record.custom_fields, value)
            setattr(record, name, value)
        touched = set(values)
        if self.added or self.removed:
            touched.add(self.tags_field)
            field = record._meta.get_field(self.tags_field)
            # As the field has it: of "VIP" and "vip" the first stands.
            tags = field.to_python([*getattr(record, field.name), *self.added])
            kept = [name for name in tags if name.casefold() not in self.removed]
            setattr(record, field.name, kept)
        changes.validate(record, exclude=before.keys() - touched)
        after = snapshot(record)
        changed = {name for name, value in after.items() if value != before[name]}
        if changed:
            changes.require_change(record, changed, before)
        return bool(changed)
