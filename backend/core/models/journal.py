"""The journal: every write of a record, whoever made it, is part of a change set.

    with ChangeSet.open(actor=user, source="api", reason="Typo") as changes:
        changes.save(contact, first_name="Ada")

One such block is one transaction. It checks the actor's rights, saves only what
changed, counts the version, keeps each field before and after, and makes cached reads
of what it touched out of date.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from core import access, cache, search
from core.custom_fields.definitions import forget
from core.exceptions import StaleRecord
from core.ids import new_id
from core.metrics import measures

from .append_only import AppendOnly, AppendOnlyQuerySet
from .copying import BATCH_SIZE, insert, insert_values
from .record import Journaled, Record, ScopedQuerySet
from .values import (
    Update,
    difference,
    fields_written,
    snapshot,
    texts_written,
    to_json,
    validate,
)


class ChangeSetQuerySet(AppendOnlyQuerySet, ScopedQuerySet):
    owner_path = "actor"


class ChangeSet(AppendOnly):
    """Changes made together: who made them, when, from where, and why."""

    class Source(models.TextChoices):
        API = "api", "API"
        ADMIN = "admin"
        IMPORT = "import"
        BULK = "bulk"
        UNDO = "undo"
        COMMAND = "command"
        CONVERSION = "conversion"
        SYSTEM = "system"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(
        "core.Organization", models.PROTECT, related_name="+", editable=False
    )
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", null=True
    )
    api_key = models.ForeignKey(
        settings.KNOX_TOKEN_MODEL,
        models.PROTECT,
        related_name="+",
        null=True,
        help_text="The key that the actor came with.",
    )
    source = models.CharField(max_length=20, choices=Source)
    request_id = models.CharField(max_length=64, blank=True)
    address = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    undoes = models.ForeignKey(
        "self", models.PROTECT, related_name="undone_by", null=True
    )

    objects = ChangeSetQuerySet.as_manager()
    summary_fields = ("id", "source", "reason", "created_at")

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                fields=["organization", "-created_at", "-id"], name="changeset_newest"
            ),
            models.Index(
                fields=["organization", "actor", "-created_at", "-id"],
                name="changeset_actor",
            ),
        ]

    def __str__(self):
        return f"{self.source} by {self.actor or 'the system'} at {self.created_at}"

    def save(self, *args, **kwargs):
        self.api_key = self.actor and self.actor.api_key
        super().save(*args, **kwargs)

    @classmethod
    def record_type(cls) -> str:
        return cls._meta.model_name

    def belongs_to(self):
        return self.actor

    @classmethod
    @contextmanager
    def open(
        cls, *, organization=None, actor=None, trial=False, **attributes
    ) -> "Iterator[Changes]":
        """A new change set and the transaction that writes it.

        Args:
            actor: the user whose rights are checked; None for the system, which may do
                everything in `organization`.
            trial: as of `writing`.
            attributes: `source`, and if known `reason`, `undoes` and what
                core.origin tells of the request.
        """
        if organization is None:
            organization = actor.organization
        # What is kept with the instance is this change set's own.
        organization = copy(organization)
        forget(organization)
        change_set = cls(organization=organization, actor=actor, **attributes)
        with change_set.writing(trial) as changes:
            yield changes

    @contextmanager
    def writing(self, trial: bool = False) -> "Iterator[Changes]":
        """One transaction that writes under this set; a job has one for each chunk.

        A trial does everything for real, and is taken back at its end.
        """
        with transaction.atomic():
            changes = Changes(self)
            yield changes
            changes.news.tell()
            if trial:
                transaction.set_rollback(True)
            elif changes.touched:
                names = [
                    cache.names_of(record_type, **vars(touched))
                    for record_type, touched in changes.touched.items()
                ]
                cache.mark_until_commit(self.organization_id, set().union(*names))
                transaction.on_commit(partial(measures.changed, changes.counts))

    def is_undone(self) -> bool:
        """Whether an undo of this set stands, that is, was not undone itself."""
        return any(not undo.is_undone() for undo in self.undone_by.all())


class Change(AppendOnly):
    """One record's part in a change set. Rows are only ever added.

    `before` and `after` hold the changed fields. A creation holds neither: the row and
    its later changes tell its values (core.history), so that a million imported rows do
    not stand in the database twice.
    """

    class Verb(models.TextChoices):
        CREATE = "create"
        UPDATE = "update"
        DELETE = "delete"
        RESTORE = "restore"

    change_set = models.ForeignKey(
        ChangeSet, models.PROTECT, related_name="changes", db_index=False
    )
    # The change set's, here for the index of the audit log. The database checks the
    # change set alone: an import would pay for a second check of each row.
    organization = models.ForeignKey(
        "core.Organization",
        models.PROTECT,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    record_type = models.CharField(max_length=50)
    record_id = models.UUIDField()
    verb = models.CharField(max_length=10, choices=Verb)
    version = models.PositiveIntegerField(help_text="The record's version it made.")
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["record_id", "version"], name="change_record"),
            models.Index(fields=["change_set", "record_id"], name="change_set_record"),
            # Ascending, and read backwards: rows come in this order, and only at the
            # end of a range of an index does PostgreSQL fill its pages.
            models.Index(
                fields=["organization", "created_at", "id"], name="change_newest"
            ),
        ]

    def __str__(self):
        return f"{self.verb} {self.record_type} {self.record_id}"


@dataclasses.dataclass
class Touched:
    """Which records of a type are written, which of their fields, and whose.

    Attributes:
        parts: the names of the versions of what searches find (core.search).
    """

    ids: set[UUID] = dataclasses.field(default_factory=set)
    fields: set[str] = dataclasses.field(default_factory=set)
    owners: set[str] = dataclasses.field(default_factory=set)
    parts: set[str] = dataclasses.field(default_factory=set)

    def copy(self) -> "Touched":
        return Touched(**{name: some.copy() for name, some in vars(self).items()})


class Changes:
    """Writes records under a change set; made by `ChangeSet.open` and `.writing`."""

    def __init__(self, change_set: ChangeSet):
        self.change_set = change_set
        self.touched: dict[str, Touched] = {}
        self.counts: Counter[tuple[str, str]] = Counter()  # by record type and verb
        self._made: set = set()
        from core.notifications import News

        self.news = News(change_set)

    @property
    def actor(self):
        return self.change_set.actor

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """A part of these changes, taken back alone if it fails.

        Here as in the database: who goes on must not believe that the change set stands
        there, or tell of records that do not.
        """
        adding = self.change_set._state.adding
        touched = {name: some.copy() for name, some in self.touched.items()}
        counts, made, news = self.counts.copy(), self._made.copy(), self.news.copy()
        try:
            with transaction.atomic():
                yield
        except BaseException:
            self.change_set._state.adding = adding
            self.touched, self.counts, self._made = touched, counts, made
            self.news = news
            raise

    # One record

    def save(self, record: Journaled, **values) -> bool:
        """Create the record, or change the fields given, after validating it.

        Returns:
            Whether anything changed: setting what is already so writes nothing.

        Raises:
            ValidationError: with the fields that are wrong.
            PermissionDenied: the actor's role does not cover this.
            StaleRecord: somebody changed the record since it was read.
        """
        values = record.with_consequences(values)
        if record._state.adding:
            return self._create(record, values)
        self.require(access.Verb.EDIT, record)
        before = snapshot(record)
        for name, value in values.items():
            setattr(record, name, value)
        self._share_organization(record)
        self.validate(record, exclude=before.keys() - values.keys())
        after = snapshot(record)
        changed = [name for name, value in after.items() if value != before[name]]
        if not changed:
            return False
        self.require_change(record, set(changed), before)
        self._update(record, changed, before, after)
        if any(record._meta.get_field(name).is_relation for name in changed):
            self._require_live(type(record), [record])
        record.follow_up(self, before)
        return True

    def delete(self, *records: Record):
        """Delete softly, with what hangs on them; what `deletion.delete` says.

        The rows stay, invisible, until they are restored or purged.
        """
        from core import deletion

        return deletion.delete(self, records)

    def restore(self, *records: Record):
        """Bring deleted records back with what was deleted with them, or raise."""
        from core import deletion

        return deletion.restore(self, records)

    def _create(self, record: Journaled, values: dict) -> bool:
        record.organization_id = self.change_set.organization_id
        self._share_organization(record)
        for name, value in values.items():
            setattr(record, name, value)
        if self.actor and isinstance(record, Record) and record.owner_id is None:
            record.owner = self.actor
        if self.actor:
            access.require_some(self.actor, record.record_type(), access.Verb.CREATE)
        self.validate(record)
        self.require_change(record, set(record.journaled_fields()), None)
        self.bulk_create(type(record), [record])
        return True

    def _update(self, record, changed, before, after) -> None:
        expected = record.version
        record.version = expected + 1
        record.updated_at = timezone.now()
        written = (*changed, *record.before_write())
        fields = [record._meta.get_field(name) for name in written]
        # The version in the condition: a change made since the read is never lost.
        updated = type(record)._base_manager.filter(
            (record.organization_path, self.change_set.organization_id),
            pk=record.pk,
            version=expected,
        )
        if not updated.update(
            version=record.version,
            updated_at=record.updated_at,
            **{field.attname: getattr(record, field.attname) for field in fields},
        ):
            raise StaleRecord()
        self._learn([record], changed)
        record.after_write(changed, self)
        sides = difference(before, after, changed)
        row = (record.pk, Change.Verb.UPDATE, record.version, *sides)
        self._journal(type(record), [row])
        self._wrote(type(record), [(record, before)])

    # Many records: validated, and within the actor's rights, by the caller

    def bulk_create(self, model: type[Journaled], records: Sequence[Journaled]) -> None:
        """Insert records that `validate` accepted."""
        if not records:
            return
        for record in records:
            record.organization_id = self.change_set.organization_id
            record.before_write()
        self._require_fields(model, ((record, None) for record in records))
        insert(model, records)
        self._made.update(record.pk for record in records)
        self._require_live(model, records)
        self._learn(records, model.journaled_fields())
        verb = Change.Verb.CREATE
        rows = [(record.pk, verb, record.version, None, None) for record in records]
        self._journal(model, rows)
        self._wrote(model, [(record, None) for record in records])

    def bulk_update(self, model: type[Journaled], updates: "Sequence[Update]") -> None:
        """Write changed records of one model, locked and validated by the caller."""
        if not updates:
            return
        self._require_fields(model, updates)
        now = timezone.now()
        written = {"version", "updated_at"}
        rows = []
        for record, before in updates:
            after = snapshot(record)
            changed = [name for name, value in after.items() if value != before[name]]
            record.version += 1
            record.updated_at = now
            written.update(changed, record.before_write())
            record.after_write(changed, self)
            sides = difference(before, after, changed)
            rows.append((record.pk, _verb_of(before, after), record.version, *sides))
        # One INSERT .. ON CONFLICT (id) DO UPDATE: several times faster than the
        # CASE .. WHEN of Django's bulk_update.
        model._base_manager.bulk_create(
            [record for record, _ in updates],
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=sorted(written),
            batch_size=BATCH_SIZE,
        )
        self._learn([record for record, _ in updates], written)
        self._journal(model, rows)
        self._wrote(model, updates)

    def bulk_set(
        self, model: type[Journaled], records: Sequence[Journaled], **values
    ) -> None:
        """Give records of one model, locked by the caller, the same values.

        For fields that no other is worked out from: one statement for all.
        """
        now = timezone.now()
        fields = {name: model._meta.get_field(name) for name in values}
        rows = []
        for record in records:
            before = {n: to_json(getattr(record, f.attname)) for n, f in fields.items()}
            for name, field in fields.items():
                setattr(record, field.attname, values[name])
            record.version += 1
            record.updated_at = now
            record.after_write(values, self)
            after = {n: to_json(value) for n, value in values.items()}
            verb = _verb_of(before, after)
            rows.append((record.pk, verb, record.version, before, after))
        model._base_manager.filter(pk__in=[record.pk for record in records]).update(
            version=models.F("version") + 1, updated_at=now, **values
        )
        self._journal(model, rows)
        befores = (before for _, _, _, before, _ in rows)
        self._wrote(model, list(zip(records, befores, strict=True)))

    def complete(self, records: Sequence[Journaled], **values) -> None:
        """Give records that were made just here what was found out once they were.

        It belongs to their making: the journal tells of a new record by its values, so
        there is no version more, and no entry.

        Args:
            records: of one model, made under these changes and not changed since.
            values: of fields that no other is worked out from.
        """
        ids = [record.pk for record in records]
        if not self._made.issuperset(ids):
            raise TypeError("Only what these changes have made can be completed.")
        for record in records:
            for name, value in values.items():
                setattr(record, name, value)
        type(records[0])._base_manager.filter(pk__in=ids).update(**values)
        if "owner" in values:
            self._note_owners(type(records[0]), [(record, None) for record in records])

    @staticmethod
    def _require_live(model: type[Journaled], records: Sequence[Journaled]) -> None:
        from core import deletion

        if issubclass(model, Record):
            deletion.require_live(model, records)

    def update_possible(
        self, model: type[Journaled], updates: "Sequence[Update]"
    ) -> "list[tuple[Update, IntegrityError]]":
        """`bulk_update` of what the database takes.

        Returns:
            The updates that it did not take, such as those whose unique value another
            record has, and why.
        """
        versions = [record.version for record, _ in updates]
        try:
            with self.attempt():
                self.bulk_update(model, updates)
            return []
        except IntegrityError as error:
            for (record, _), version in zip(updates, versions, strict=True):
                record.version = version
            if len(updates) == 1:
                return [(updates[0], error)]
        # Halves find the few that are to blame among many with few statements.
        middle = len(updates) // 2
        return [
            *self.update_possible(model, updates[:middle]),
            *self.update_possible(model, updates[middle:]),
        ]

    # What all of them do

    def require(self, verb: str, record: Journaled) -> None:
        """The last line of the rights: whatever the caller checked, this holds."""
        if self.actor:
            access.require(self.actor, record, verb)

    def _share_organization(self, record: Journaled) -> None:
        """Let the record ask the organization that all of the change set ask."""
        if record.organization_id == self.change_set.organization_id and isinstance(
            record, Record
        ):
            record.organization = self.change_set.organization

    def require_change(
        self, record: Journaled, changed: set[str], before: dict | None
    ) -> None:
        """Raise where the actor may edit the record, but not to these new values.

        A new owner, or none, takes the right to assign, and no field is written that
        the actor's role may not edit; more is the model's to say.

        Args:
            before: the `snapshot` that the values are new to; None for a new record.
        """
        if self.actor is None:
            return
        self._require_fields(type(record), [(record, before)])
        if "owner" in changed and record.owner_id != self.actor.pk:
            self.require(access.Verb.ASSIGN, record)
        record.guard(self.actor, changed)

    def _learn(self, records: Sequence[Journaled], changed: Iterable[str]) -> None:
        """Let searches know the words of records whose searched fields are new."""
        model = type(records[0])
        if issubclass(model, Record) and not set(changed).isdisjoint(
            model.searched_fields()
        ):
            words = search.vocabulary(records)
            new = search.learn(self.change_set.organization_id, words)
            parts = self.touch(model.record_type()).parts
            parts.update(*map(search.meanings_made_from, new))

    def _require_fields(
        self,
        model: type[Journaled],
        updates: "Iterable[tuple[Journaled, dict | None]]",
    ) -> None:
        """Raise where records have new values in fields that the actor may not edit.

        Of a new record, whose `before` is None, the default values are none.
        """
        rights = access.field_rights(self.actor, model.record_type())
        if rights:
            for record, before in updates:
                rights.require(
                    self.untouched(model) if before is None else before,
                    snapshot(record),
                )

    def untouched(self, model: type[Journaled]) -> dict:
        """The snapshot of a new record of which the actor filled no field."""
        defaults = {
            name: to_json(field.get_default())
            for name, field in model.journaled_fields().items()
        }
        return {**defaults, "owner": to_json(self.actor.pk)}

    def validate(self, record: Journaled, exclude: Iterable[str] = ()) -> None:
        """`validate`, in words that name no field that the actor does not see."""
        try:
            validate(record, exclude)
        except ValidationError as error:
            rights = access.field_rights(self.actor, record.record_type())
            raise rights.told(error) from None

    def _wrote(self, model: type[Journaled], updates: "Sequence[Update]") -> None:
        """Do what follows once rows are written."""
        if issubclass(model, Record):
            self._note_owners(model, updates)
            self._note_parts(model, updates)
        model.after_writes(updates, self)

    def _note_owners(self, model: type[Record], updates: "Sequence[Update]") -> None:
        """Note whose records these are and were, for their lists and to tell them."""
        owners = self.touch(model.record_type()).owners
        for record, before in updates:
            owners.update((str(record.owner_id), (before or {}).get("owner")))
        self.news.note(model, updates)

    def _note_parts(self, model: type[Record], updates: "Sequence[Update]") -> None:
        """Note by what words these records were found, and are."""
        touched = self.touch(model.record_type())
        if len(touched.ids) > search.FEW_TEXTS:
            touched.parts = {search.ANY_PART}
        else:
            texts = (t for update in updates for t in texts_written(*update))
            touched.parts.update(*map(search.parts_of, texts))

    def touch(self, record_type: str) -> Touched:
        """Note that answers about the type will be others; and in which parts."""
        return self.touched.setdefault(record_type, Touched())

    def _journal(self, model: type[Journaled], rows: Sequence[tuple]) -> None:
        """Note changes of records of one model: id, verb, version, before, after."""
        if self.change_set._state.adding:
            self.change_set.save(force_insert=True)
        touched = self.touch(model.record_type())
        # Of more records none of their values is named.
        written = fields_written if len(rows) <= cache.FEW_RECORDS else _union
        for pk, verb, _, before, after in rows:
            touched.ids.add(pk)
            is_new = verb == Change.Verb.CREATE
            touched.fields.update(["id"] if is_new else written(before, after))
        names = (
            *("change_set_id", "organization_id", "created_at", "record_type"),
            *("record_id", "verb", "version", "before", "after"),
        )
        change_set = self.change_set
        common = (change_set.pk, change_set.organization_id, timezone.now())
        common = (*common, model.record_type())
        rows = [(*common, *row) for row in rows]
        insert_values(Change, names, rows)
        self.counts.update((row[3], str(row[5])) for row in rows)


def _union(before: dict, after: dict) -> set[str]:
    return before.keys() | after.keys()


def _verb_of(before: dict, after: dict) -> str:
    deleted, was_deleted = after.get("deleted_at"), before.get("deleted_at")
    if deleted and not was_deleted:
        return Change.Verb.DELETE
    if was_deleted and not deleted:
        return Change.Verb.RESTORE
    return Change.Verb.UPDATE
