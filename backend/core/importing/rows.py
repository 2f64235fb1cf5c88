"""What the rows of a file mean for the records of an organization."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from rest_framework.exceptions import APIException

from core import access
from core.fields import ExternalIdsField, LabelledField, TagsField
from core.importing.mapping import ColumnMap, split_tags
from core.importing.reading import Row
from core.models import Changes, JobError, Record
from core.models.journal import snapshot, validate

MAX_COLUMN = 200
MAX_MESSAGE = 500


class Mode(models.TextChoices):
    """What a row may do: make a record, change the one it means, or either."""

    CREATE = "create"
    UPDATE = "update"
    UPSERT = "upsert"


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
    NOT_FOUND = "not_found", "its record is not there, and none was to be made"
    UNCHANGED = "unchanged", "its record is so already"


def importable_fields(model: type[Record]) -> dict[str, models.Field]:
    """The fields of a record type that an import can fill, by name."""
    collections = (TagsField, ExternalIdsField, LabelledField)
    return {
        f.name: f
        for f in model._meta.concrete_fields
        if f.editable
        and (f.name == "owner" or not f.is_relation)
        and (isinstance(f, collections) or not isinstance(f, models.JSONField))
    }


def targets(model: type[Record], user=None) -> list[str]:
    """Where a column can go by a field's name; an external id names its system too.

    If the `user` is given, only what they see.
    """
    fields = importable_fields(model)
    hidden = access.hidden_fields(user, model.record_type())
    return [
        name
        for name, field in fields.items()
        if not isinstance(field, ExternalIdsField) and name not in hidden
    ]


def known_headers(model: type[Record], user=None) -> dict[str, str]:
    """Normalised headers that mean a field: the type's own list, and field names."""
    names = {name.replace("_", " "): name for name in targets(model, user)}
    hidden = access.hidden_fields(user, model.record_type())
    headers = {
        header: target
        for header, target in model.import_headers.items()
        if target.partition(".")[0] not in hidden
    }
    return {**names, **headers}


@dataclass
class Entry:
    """A record that rows of a chunk make or change.

    `before` is what the record was, None for a new one.
    """

    record: Record
    before: dict | None
    version: int

    @property
    def changed(self) -> bool:
        return self.before is None or snapshot(self.record) != self.before


@dataclass
class Draft:
    """A row read as a record; `given`: the column that each of its fields came from."""

    row: Row
    record: Record
    given: dict[str, str]
    broken_rule: ValidationError | None = None


@dataclass
class Result:
    """What became of the rows of a chunk."""

    counts: Counter = field(default_factory=Counter)
    errors: list[JobError] = field(default_factory=list)
    skips: Counter = field(default_factory=Counter)
    unknown_owners: Counter = field(default_factory=Counter)

    def skip(self, reason: Skip) -> None:
        self.counts[Outcome.SKIPPED] += 1
        self.skips[reason] += 1

    def refuse(self, row: Row, given: dict[str, str], error: ValidationError) -> None:
        self.counts[Outcome.FAILED] += 1
        if not hasattr(error, "error_dict"):
            error = ValidationError({"__all__": error})
        for name, errors in error.error_dict.items():
            for one in errors:
                self.errors.append(
                    JobError(
                        line=row.line,
                        column=given.get(name, "")[:MAX_COLUMN],
                        code=one.code or "invalid",
                        message=" ".join(one.messages)[:MAX_MESSAGE],
                        row=row.cells,
                    )
                )


class RowImport:
    """Imports the rows of one file, chunk by chunk, into one record type.

    A row means the live record of the organization that agrees with it on the first
    group of the type's `import_match` that the row fills. Rows that mean the same
    record are taken one after the other, wherever they stand in the file.
    """

    def __init__(
        self,
        user,
        model: type[Record],
        column_map: ColumnMap,
        mode: str,
        remember: bool = False,
    ):
        """`remember` the rows taken, for a trial whose chunks are taken back."""
        self.tried: set[int] | None = set() if remember else None
        self.of(user)
        self.organization = user.organization
        self.model = model
        self.column_map = column_map
        self.mode = mode
        self.fields = importable_fields(model)
        self.choices = {
            name: {
                str(text).casefold(): value
                for value, label in f.choices
                for text in (value, label)
            }
            for name, f in self.fields.items()
            if f.choices
        }
        self.all_names = {f.name for f in model._meta.concrete_fields}

    def of(self, user) -> None:
        """Go on with the rights of this user, as they are now."""
        self.user = user
        self._colleagues = {}

    def take(self, changes: Changes, rows: Iterable[Row]) -> Result:
        """Import a chunk; rows that cannot be imported are reported."""
        result = Result()
        drafts = []
        for row in rows:
            if len(row.cells) > len(self.column_map.columns) and any(
                cell.strip() for cell in row.cells[len(self.column_map.columns) :]
            ):
                error = ValidationError(
                    "The row has more cells than the header has columns.",
                    code="too_many_cells",
                )
                result.refuse(row, {}, error)
            elif draft := self._draft(row, result):
                drafts.append(draft)
        for retry in (True, False):
            settled = deepcopy(result)
            done = self._settle(changes, drafts, settled)
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

    # From a row to a record

    def _draft(self, row: Row, result: Result) -> Draft | None:
        record = self.model(organization=self.organization, owner=self.user)
        given = {}
        for target, (text, column) in self.column_map.values(row.cells).items():
            name, _, source = target.partition(".")
            if name == "owner":
                owner = self._colleague(text)
                if owner is None:
                    result.unknown_owners[text] += 1
                    continue
                record.owner = owner
            elif name == "external_ids":
                record.external_ids[source] = text
            elif isinstance(self.fields[name], TagsField):
                setattr(record, name, split_tags(text))
            elif isinstance(self.fields[name], LabelledField):
                setattr(record, name, self.fields[name].from_text(text))
            else:
                choices = self.choices.get(name, {})
                setattr(record, name, choices.get(text.casefold(), text))
            given[name] = column
        if not given:
            result.skip(Skip.BLANK)
            return None
        draft = Draft(row, record, given)
        try:
            record.clean_fields(exclude=self.all_names - given.keys() | {"owner"})
        except ValidationError as error:
            result.refuse(row, given, error)
            return None
        try:
            record.clean()
        except ValidationError as error:
            draft.broken_rule = error
        return draft

    def _colleague(self, text: str):
        """The user with this e-mail, if the importing user may make them an owner."""
        email = text.lower()
        if email not in self._colleagues:
            users = get_user_model().objects.visible_to(self.user)
            user = users.filter(email=email, is_active=True).first()
            if user and user != self.user:
                probe = self.model(owner=user)
                if not access.reaches(self.user, probe, access.Verb.ASSIGN):
                    user = None
            self._colleagues[email] = user
        return self._colleagues[email]

    # Which record a row means

    def _identity(self, record: Record) -> tuple | None:
        for number, names in enumerate(self.model.import_match):
            values = tuple(getattr(record, name) for name in names)
            if any(values):
                return (number, values)
        return None

    def _existing(self, drafts: list[Draft]) -> dict[tuple, Record]:
        """The records that the drafts mean, by identity; one query for each kind."""
        wanted = defaultdict(set)
        for draft in drafts:
            for number, names in enumerate(self.model.import_match):
                lead = next((n for n in names if getattr(draft.record, n)), None)
                if lead:
                    wanted[number, lead].add(getattr(draft.record, lead))
                    break
        found = {}
        for (number, lead), values in wanted.items():
            names = self.model.import_match[number]
            before = [n for names in self.model.import_match[:number] for n in names]
            before += names[: names.index(lead)]
            blank = dict.fromkeys(before, "")
            records = self._candidates(names).filter(**{f"{lead}__in": values}, **blank)
            for record in records:
                record.organization = self.organization
                found.setdefault(self._identity(record), record)
        return found

    def _candidates(self, names: tuple[str, ...]) -> models.QuerySet:
        """Records that a row can mean: those seen; for unique values, all there are."""
        unique = any(
            set(names) == set(getattr(c, "fields", ())) - {"organization"}
            for c in self.model._meta.constraints
        )
        if unique:
            records = self.model.objects.filter(organization=self.organization).live()
        else:
            records = self.model.objects.visible_to(self.user)
        if self.mode != Mode.CREATE:
            records = records.select_for_update(of=("self",))
        return records.select_related("owner")

    # What becomes of it

    def _settle(self, changes: Changes, drafts: list[Draft], result: Result) -> list:
        """Decide for each draft; (draft, entry, outcome) of those to be written."""
        existing = self._existing(drafts)
        entries: dict[tuple, Entry] = {}
        done = []
        for draft in drafts:
            identity = self._identity(draft.record)
            if identity in existing and identity not in entries:
                record = existing[identity]
                entries[identity] = Entry(record, snapshot(record), record.version)
            entry = entries.get(identity) if identity else None
            if entry and entry.before and not self._may(access.Verb.VIEW, entry):
                # As the API says it: no word about whose or what it is.
                error = ValidationError("Another record has this.", code="unique")
                result.refuse(draft.row, draft.given, error)
            elif entry is None and self._was_tried(identity):
                if self.mode == Mode.CREATE:
                    result.skip(Skip.EXISTS)
                else:
                    result.counts[Outcome.UPDATED] += 1
            elif entry is None and self.mode != Mode.UPDATE:
                error = draft.broken_rule or self._refused(changes, None, draft.record)
                if error:
                    result.refuse(draft.row, draft.given, error)
                    continue
                entry = Entry(draft.record, None, draft.record.version)
                if identity:
                    entries[identity] = entry
                done.append((draft, entry, Outcome.CREATED))
            elif entry is None or self.mode == Mode.CREATE:
                result.skip(Skip.EXISTS if entry else Skip.NOT_FOUND)
            else:
                self._apply(changes, draft, entry, done, result)
        return done

    def _was_tried(self, identity: tuple | None) -> bool:
        """Whether a chunk before this one would have made the record."""
        return bool(self.tried and identity and hash(identity) in self.tried)

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
        kept = {name: getattr(record, name) for name in draft.given}
        for name in draft.given:
            setattr(record, name, self._merged(name, kept[name], draft.record))
        try:
            validate(record, exclude=self.fields.keys() - draft.given.keys())
            self._guard(record, before)
            if error := self._refused(changes, before, record):
                raise error
        except ValidationError as error:
            for name, value in kept.items():
                setattr(record, name, value)
            record.clean()
            result.refuse(draft.row, draft.given, error)
            return
        if snapshot(record) == before:
            result.skip(Skip.UNCHANGED)
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

    def _merged(self, name: str, old, new_record: Record):
        """Lists and external ids add to what is there; other values replace it."""
        new = getattr(new_record, name)
        if isinstance(self.fields[name], TagsField | LabelledField):
            return [*old, *new]
        if isinstance(self.fields[name], ExternalIdsField):
            return {**old, **new}
        return new

    # Writing

    def _save(self, changes: Changes, done: list) -> None:
        """Write the records of some settled drafts, all or none."""
        entries = list({id(entry): entry for _, entry, _ in done}.values())
        for entry in entries:
            entry.record.version = entry.version
        with transaction.atomic():
            new = [e.record for e in entries if e.before is None]
            changes.bulk_create(self.model, new)
            old = [(e.record, e.before) for e in entries if e.before and e.changed]
            changes.bulk_update(self.model, old)

    def _save_each(self, changes: Changes, done: list, result: Result) -> None:
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

    def _count(self, done: list, result: Result) -> None:
        for draft, _, outcome in done:
            result.counts[outcome] += 1
            if self.tried is not None and outcome == Outcome.CREATED:
                self.tried.add(hash(self._identity(draft.record)))
