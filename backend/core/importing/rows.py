"""What the rows of a file do to the records of an organization."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import orjson
from django.contrib.auth import get_user_model
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, models
from rest_framework.exceptions import APIException

from core import access
from core.field_rights import CUSTOM
from core.fields import ExternalIdsField, LabelledField, TagsField
from core.importing.drafts import Draft, DraftReader, UnfitRow
from core.importing.mapping import ColumnMap
from core.importing.matching import Matcher
from core.importing.memory import Memo, Memory
from core.importing.options import Mode, Options
from core.importing.table import Row
from core.models import Changes, JobError, JobSkip, Record
from core.models.values import from_json, snapshot, validate

MAX_COLUMN = 200
MAX_MESSAGE = 500


class Outcome(models.TextChoices):
    """What became of a row. Each row of a file has exactly one."""

    CREATED = "created"
    UPDATED = "updated"
    SKIPPED = "skipped"
    FAILED = "failed"


class Skip(models.TextChoices):
    """Why a row was skipped."""

    BLANK = "blank", "it says nothing"
    EXISTS = "exists", "its record is there, and only new ones were to be made"
    DUPLICATE = "duplicate_in_file", "a row before it made its record"
    NOT_FOUND = "not_found", "its record is not there, and none was to be made"
    UNCHANGED = "unchanged", "its record is so already"


@dataclass
class Entry:
    """A record that rows of a chunk make or change.

    Attributes:
        before: what the record was, None for a new one.
        base: what the database knows of it, for a new one what any is at first.
        made_in: the line of the file that made it, None where it was there.
    """

    record: Record
    before: dict | None
    base: dict
    version: int
    made_in: int | None = None

    @property
    def changed(self) -> bool:
        return self.before is None or snapshot(self.record) != self.before


@dataclass
class Result:
    """What became of the rows of a chunk."""

    counts: Counter = field(default_factory=Counter)
    errors: list[JobError] = field(default_factory=list)
    skips: list[JobSkip] = field(default_factory=list)
    unknown_owners: Counter = field(default_factory=Counter)
    not_found: Counter = field(default_factory=Counter)

    def skip(self, row: Row, reason: Skip, first_line: int | None = None) -> None:
        self.counts[Outcome.SKIPPED] += 1
        skip = JobSkip(line=row.line, reason=reason, first_line=first_line)
        self.skips.append(skip)

    def refuse(self, row: Row, given: dict[str, str], error: ValidationError) -> None:
        self.counts[Outcome.FAILED] += 1
        if not hasattr(error, "error_dict"):
            error = ValidationError({NON_FIELD_ERRORS: error})
        for name, errors in error.error_dict.items():
            column = given.get(name, "")
            # What has no column is named, or nobody would know what it is about.
            is_unnamed = name != NON_FIELD_ERRORS and not column
            for one in errors:
                message = " ".join(one.messages)
                if is_unnamed:
                    message = f"{name}: {message}"
                self.errors.append(
                    JobError(
                        line=row.line,
                        column=column[:MAX_COLUMN],
                        code=one.code or "invalid",
                        message=message[:MAX_MESSAGE],
                        row=row.cells,
                    )
                )


@dataclass
class Chunk:
    """What rows say, as far as they can be read."""

    drafts: list[Draft] = field(default_factory=list)
    result: Result = field(default_factory=Result)


# What becomes of a draft that is to be written.
Settled = tuple[Draft, Entry, Outcome]


class RowImport:
    """Imports the rows of one file, chunk by chunk, into one record type.

    Rows that mean the same record (core.importing.matching) are taken one after the
    other, wherever they stand in the file.
    """

    def __init__(
        self,
        user,
        model: type[Record],
        column_map: ColumnMap,
        options: Options,
        memory: Memory | None = None,
        trial: bool = False,
    ):
        """
        Args:
            memory: of the rows before; a trial needs it, and so does a count of the
                duplicates in the file.
            trial: each chunk is taken back, so the memory alone knows what it did.
        """
        self.user = user
        self.organization = user.organization
        self.model = model
        self.mode = options.mode
        self.memory = memory
        self.trial = trial
        self.reader = DraftReader(user, model, column_map, options)
        self.matcher = Matcher(user, model, options)
        self.fields = self.reader.fields
        self.position = 0
        self._new = snapshot(model(organization=self.organization))
        self._owners = {}

    def of(self, user) -> bool:
        """Go on with the rights of this user, as they are now.

        Returns:
            Whether chunks that were read before still hold.
        """
        self.user = self.matcher.user = user
        return self.reader.of(user)

    def read(self, rows: Sequence[Row]) -> Chunk:
        """Read rows, and change nothing; those that do not fit are reported."""
        chunk = Chunk()
        self.reader.unknown_owners = chunk.result.unknown_owners
        for row in rows:
            try:
                draft = self.reader.read(row)
            except UnfitRow as unfit:
                chunk.result.refuse(row, unfit.given, unfit.error)
                continue
            if draft is None:
                chunk.result.skip(row, Skip.BLANK)
            else:
                chunk.drafts.append(draft)
        return chunk

    def take(
        self,
        changes: Changes,
        chunk: Chunk,
        position: int = 0,
        before_writing: Callable[[], None] = lambda: None,
    ) -> Result:
        """Import a chunk, the one at this position; rows that do not fit are reported.

        The position grows from chunk to chunk.

        Args:
            before_writing: called when the database gets most of the work.
        """
        self.position = position
        for retry in (True, False):
            settled = deepcopy(chunk.result) if retry else chunk.result
            done = self._settle(changes, chunk.drafts, settled)
            before_writing()
            try:
                self._save(changes, done)
            except IntegrityError:
                # Another request took a unique value just now. Its record is there to
                # be met the second time; if not, find out whose row it hit.
                if retry:
                    continue
                self._save_each(changes, done, settled)
            else:
                self._count(done, settled)
            return settled

    # What becomes of it

    def _settle(
        self, changes: Changes, drafts: list[Draft], result: Result
    ) -> list[Settled]:
        """Decide for each draft; the answer is those to be written."""
        identities = [self.matcher.identity(draft) for draft in drafts]
        existing = self.matcher.existing(drafts)
        memos = self.memory.recall(filter(None, identities)) if self.memory else {}
        if any(draft.extras for draft in drafts):
            pairs = list(zip(drafts, identities, strict=True))
            written = self._to_be_written(changes, pairs, existing, memos)
            self.model.prepare_import(changes, written)
            result.not_found = Counter(name for d in written for name in d.not_found)
        entries: dict[tuple, Entry] = {}
        done = []
        for draft, identity in zip(drafts, identities, strict=True):
            if draft.fault:
                result.refuse(draft.row, draft.columns, draft.fault)
                continue
            if len(existing.get(identity, ())) > 1:
                error = ValidationError(
                    "Several records have this id.", code="several_matches"
                )
                result.refuse(draft.row, draft.given, error)
                continue
            if identity and identity not in entries:
                entry = self._entry(existing.get(identity), memos.get(identity))
                if entry:
                    entries[identity] = entry
            entry = entries.get(identity) if identity else None
            if entry and entry.before and not self._may(access.Verb.VIEW, entry):
                # As the API says it: no word about whose or what it is.
                error = ValidationError("Another record has this.", code="unique")
                result.refuse(draft.row, draft.given, error)
            elif entry is None and draft.wanted:
                error = ValidationError("There is no such record.", "does_not_exist")
                result.refuse(draft.row, draft.given, error)
            elif entry is None and self.mode != Mode.UPDATE:
                error = draft.broken_rule or self._refused(changes, None, draft.record)
                if error:
                    result.refuse(draft.row, draft.columns, error)
                    continue
                record = draft.record
                entry = Entry(record, None, self._new, record.version, draft.row.line)
                if identity:
                    entries[identity] = entry
                done.append((draft, entry, Outcome.CREATED))
            elif entry is None:
                result.skip(draft.row, Skip.NOT_FOUND)
            elif self.mode == Mode.CREATE:
                reason = Skip.DUPLICATE if entry.made_in else Skip.EXISTS
                result.skip(draft.row, reason, entry.made_in)
            else:
                self._apply(changes, draft, entry, done, result)
        return done

    def _to_be_written(self, changes, pairs, existing, memos) -> list[Draft]:
        """The drafts that make or change a record, if nothing is wrong with them.

        What a row says beside its fields makes records too: not for those left out.
        """
        written, made = [], set()
        for draft, identity in pairs:
            found = existing.get(identity, ())
            if found or identity in made or (self.trial and identity in memos):
                is_written = self.mode != Mode.CREATE and all(
                    access.reaches(self.user, record, access.Verb.EDIT)
                    for record in found
                )
            else:
                is_written = self.mode != Mode.UPDATE and not (
                    draft.wanted
                    or draft.broken_rule
                    or self._refused(changes, None, draft.record)
                )
            if is_written:
                written.append(draft)
                if identity:
                    made.add(identity)
        return written

    def _entry(self, found: list[Record] | None, memo: Memo | None) -> Entry | None:
        """The record that is there, or would be had the trial not been taken back."""
        record = found[0] if found else None
        if record is None and not (self.trial and memo):
            return None
        if record is None:
            record = self.model(organization=self.organization)
        base = snapshot(record)
        if self.trial and memo and memo.state:
            for name, value in orjson.loads(memo.state).items():
                model_field = record._meta.get_field(name)
                setattr(record, model_field.attname, from_json(model_field, value))
            self._set_owner(record)
        made_in = memo.line if memo and memo.line else None
        # In a trial that only creates, a record of a row before is nobody's yet.
        is_new = not found and self.mode == Mode.CREATE
        before = None if is_new else snapshot(record)
        return Entry(record, before, base, record.version, made_in)

    def _set_owner(self, record: Record) -> None:
        owner = record.owner_id
        if owner and owner not in self._owners:
            self._owners[owner] = get_user_model().objects.get(pk=owner)
        record.owner = self._owners.get(owner)

    def _apply(
        self, changes: Changes, draft: Draft, entry: Entry, done: list, result: Result
    ) -> None:
        """Change the record of an entry as the draft says."""
        record = entry.record
        if entry.before is not None and not self._may(access.Verb.EDIT, entry):
            error = ValidationError(
                "The record that this row means is not yours to change.",
                code="permission_denied",
            )
            result.refuse(draft.row, draft.given, error)
            return
        before = snapshot(record)
        kept: dict[str, object] = {}
        try:
            values = {
                name: self._merged(name, getattr(record, name), draft)
                for name in draft.given
            }
            values = record.with_consequences(values)
            kept = {name: getattr(record, name) for name in values}
            for name, value in values.items():
                setattr(record, name, value)
            validate(record, exclude=before.keys() - values.keys())
            self._guard(record, before)
            if error := self._refused(changes, before, record):
                raise error
        except ValidationError as error:
            for name, value in kept.items():
                setattr(record, name, value)
            record.clean()
            error = self.reader.rights.told(error)
            result.refuse(draft.row, draft.columns, error)
            return
        if "owner" in draft.given:
            record.auto_assign = False
        if snapshot(record) == before:
            result.skip(draft.row, Skip.UNCHANGED)
        else:
            done.append((draft, entry, Outcome.UPDATED))

    def _guard(self, record: Record, before: dict) -> None:
        """Raise ValidationError where the record itself refuses this change."""
        after = snapshot(record)
        changed = {name for name, value in after.items() if value != before[name]}
        try:
            if changed:
                record.guard(self.user, changed)
        except APIException as refusal:
            code = refusal.detail.code
            raise ValidationError(str(refusal.detail), code=code) from None

    def _refused(
        self, changes: Changes, before: dict | None, record: Record
    ) -> ValidationError | None:
        """The error of new values in fields that the user may not edit, if any."""
        rights = access.field_rights(self.user, self.model.record_type())
        if not rights:
            return None
        if before is None:
            before = changes.untouched(self.model)
        names = rights.refused(before, snapshot(record))
        if not names:
            return None
        error = ValidationError(
            "Your role does not allow to change this.", code="field_read_only"
        )
        return ValidationError(dict.fromkeys(names, error))

    def _may(self, verb: str, entry: Entry) -> bool:
        return access.reaches(self.user, entry.record, verb)

    def _merged(self, name: str, old, draft: Draft):
        """Lists and external ids add to what is there; other values replace it."""
        if name == CUSTOM:
            return self.reader.custom_fields(draft, old)
        new = getattr(draft.record, name)
        field_of_it = self.fields.get(name)
        if isinstance(field_of_it, TagsField | LabelledField):
            return new if name in draft.cleared else [*old, *new]
        if isinstance(field_of_it, ExternalIdsField):
            cleared = {target.partition(".")[2] for target in draft.cleared}
            kept = {source: i for source, i in old.items() if source not in cleared}
            return {**kept, **new}
        return new

    # Writing

    def _save(self, changes: Changes, done: list[Settled]) -> None:
        """Write the records of some settled drafts, all or none."""
        entries = list({id(entry): entry for _, entry, _ in done}.values())
        for entry in entries:
            entry.record.version = entry.version
        with changes.attempt():
            new = [e.record for e in entries if e.before is None]
            changes.bulk_create(self.model, new)
            old = [(e.record, e.before) for e in entries if e.before and e.changed]
            changes.bulk_update(self.model, old)

    def _save_each(self, changes: Changes, done: list[Settled], result: Result) -> None:
        """Write record by record; rows of one that cannot be written are refused."""
        by_record = defaultdict(list)
        for one in done:
            by_record[id(one[1])].append(one)
        for rows in by_record.values():
            try:
                self._save(changes, rows)
            except IntegrityError:
                error = ValidationError("Another record has this.", code="unique")
                for draft, _, _ in rows:
                    result.refuse(draft.row, draft.given, error)
            else:
                self._count(rows, result)

    def _count(self, done: list[Settled], result: Result) -> None:
        for _, _, outcome in done:
            result.counts[outcome] += 1
        if self.memory and done:
            self._remember(done)

    def _remember(self, done: list[Settled]) -> None:
        """Note whose records were made, and in a trial what became of them."""
        needs_state = self.trial and self.mode != Mode.CREATE
        memos = {}
        for draft, entry, _ in done:
            if identity := self.matcher.identity(draft):
                now = snapshot(entry.record) if needs_state else {}
                state = {n: v for n, v in now.items() if v != entry.base[n]}
                memos[identity] = (entry.made_in or 0, state or None)
        self.memory.note(self.position, memos)
