"""From a row of a file to a record that is not written yet."""

from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import models

from core import access
from core.fields import ExternalIdsField, LabelledField, TagsField
from core.importing.cells import value_of
from core.importing.mapping import NAME_FIELDS, ColumnMap, split_tags
from core.importing.options import EXTERNAL_IDS, Blank, Options
from core.importing.table import Row
from core.models import Record
from core.models.values import clean_fields


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
    names = [n for n, f in fields.items() if not isinstance(f, ExternalIdsField)]
    extras = [n for n, f in _extras(model, hidden) if not n.endswith(".")]
    return [*(name for name in names if name not in hidden), *extras]


def allowed_targets(model: type[Record], user=None) -> list[str]:
    """`targets`, and the beginnings of those that name a system."""
    hidden = access.hidden_fields(user, model.record_type())
    with_system = [n for n, _ in _extras(model, hidden) if n.endswith(".")]
    return [*targets(model, user), *with_system]


def _extras(model: type[Record], hidden) -> list[tuple[str, str]]:
    return [(n, f) for n, f in model.import_extras.items() if f not in hidden]


def field_of(model: type[Record], target: str) -> str:
    """The field that a target is about."""
    name, dot, _ = target.partition(".")
    return model.import_extras.get(f"{name}{dot}", name)


def is_extra(model: type[Record], target: str) -> bool:
    return field_of(model, target) != target.partition(".")[0]


def tags_field(model: type[Record]) -> str | None:
    """The name of the field that a record type keeps tags in, if it has any."""
    fields = importable_fields(model).items()
    return next((name for name, f in fields if isinstance(f, TagsField)), None)


def known_headers(model: type[Record], user=None) -> dict[str, str]:
    """Normalised headers that mean a field: the type's own list, and field names."""
    names = {name.replace("_", " "): name for name in targets(model, user)}
    hidden = access.hidden_fields(user, model.record_type())
    headers = {
        header: target
        for header, target in model.import_headers.items()
        if field_of(model, target) not in hidden
    }
    return {**names, **headers}


@dataclass
class Draft:
    """A row read as a record.

    Attributes:
        given: the column that each of the record's fields came from.
        cleared: fields, and external ids by their target, that blank cells empty.
        extras: what the row says beside the fields: `Record.import_extras`.
        extra_columns: the column that each of them came from, by its name.
        wanted: the id of the record that the row names, where rows are matched by it.
        broken_rule: why the record could not be a new one.
        fault: why the row cannot be taken, whatever record it means.
    """

    row: Row
    record: Record
    given: dict[str, str]
    cleared: set[str] = field(default_factory=set)
    extras: dict[str, str] = field(default_factory=dict)
    extra_columns: dict[str, str] = field(default_factory=dict)
    wanted: UUID | None = None
    broken_rule: ValidationError | None = None
    fault: ValidationError | None = None


class DraftReader:
    """Reads rows as records of one type, in the name of one user.

    Attributes:
        unknown_owners: e-mail addresses in the rows that are no user's, counted.
    """

    def __init__(
        self, user, model: type[Record], column_map: ColumnMap, options: Options
    ) -> None:
        self.organization = user.organization
        self.model = model
        self.column_map = column_map
        self.options = options
        self.fields = importable_fields(model)
        self.tags_field = tags_field(model)
        self.choices = {
            name: {
                **model.import_choices.get(name, {}),
                **{
                    str(text).casefold(): value
                    for value, label in f.choices
                    for text in (value, label)
                },
            }
            for name, f in self.fields.items()
            if f.choices
        }
        # Those that take a text as it is; for all others there is `_take`.
        self.texts = {
            name
            for name, f in self.fields.items()
            if type(f) in (models.CharField, models.TextField) and not f.choices
        }
        self.takes_further = model.import_further is not Record.import_further
        self.owner_of_all = None
        if options.owner:
            self.owner_of_all = get_user_model().objects.get(pk=options.owner)
        self.unknown_owners: Counter = Counter()
        self.user = user
        self.owner = self.owner_of_all or user
        self._colleagues = {}

    def of(self, user) -> None:
        """Go on with the rights of this user, as they are now.

        Raises:
            PermissionDenied: the owner of all rows may not be chosen by them any more.
        """
        self.user = user
        self.owner = self.owner_of_all or user
        self._colleagues = {}
        if not may_own(self.owner, user, self.model):
            raise access.RightMissing(
                user, self.model.record_type(), access.Verb.ASSIGN
            )

    @property
    def zone(self) -> ZoneInfo:
        """Of moments that tell none."""
        return ZoneInfo(self.user.timezone)

    def read(self, row: Row) -> Draft | None:
        """The draft of a row; None for one that says nothing.

        Raises:
            UnfitRow: a value in it is wrong, or it is longer than the header.
        """
        width = len(self.column_map.columns)
        if len(row.cells) > width and any(cell.strip() for cell in row.cells[width:]):
            error = ValidationError(
                "The row has more cells than the header has columns.",
                code="too_many_cells",
            )
            raise UnfitRow(error, {})
        values = self.column_map.values(row.cells)
        if not values:
            return None
        draft = Draft(
            row, self.model(organization=self.organization, owner=self.owner), {}
        )
        for target, (text, column) in values.items():
            if target in self.texts:
                setattr(draft.record, target, text)
                draft.given[target] = column
            else:
                self._take(draft, target, text, column)
        if not (draft.given or draft.extras):
            return None
        if self.takes_further:
            for name, value, column in self.column_map.further(row.cells):
                taken_by = draft.record.import_further(name, value, column)
                if taken_by:
                    draft.given.setdefault(taken_by, column)
        if self.options.blank == Blank.CLEAR:
            self._clear(draft, values.keys())
        self._add_what_all_get(draft)
        if draft.extras:
            self._take_extras(draft)
        record = draft.record
        try:
            clean_fields(record, [name for name in draft.given if name != "owner"])
        except ValidationError as error:
            raise UnfitRow(error, draft.given) from None
        try:
            record.clean()
        except ValidationError as error:
            draft.broken_rule = error
        return draft

    def _take(self, draft: Draft, target: str, text: str, column: str) -> None:
        name, _, source = target.partition(".")
        record = draft.record
        if is_extra(self.model, target):
            draft.extras[target] = text
            draft.extra_columns[name] = column
            return
        if target == "id":
            try:
                draft.wanted = UUID(text)
            except ValueError:
                error = ValidationError("This is no id.", code="invalid")
                raise UnfitRow(ValidationError({"id": error}), {"id": column}) from None
            return
        if name == "owner":
            owner = None if self.options.owner else self._colleague(text)
            if owner is None:
                return
            record.owner = owner
        elif name == EXTERNAL_IDS:
            record.external_ids[source] = text
        elif name == self.tags_field:
            setattr(record, name, split_tags(text))
        elif isinstance(self.fields[name], LabelledField):
            setattr(record, name, self.fields[name].from_text(text))
        elif choices := self.choices.get(name):
            setattr(record, name, choices.get(text.casefold(), text))
        else:
            try:
                value = value_of(self.fields[name], text, self.zone)
            except ValidationError as error:
                fault = ValidationError({name: error})
                raise UnfitRow(fault, {name: column}) from None
            setattr(record, name, value)
        draft.given[name] = column

    def _take_extras(self, draft: Draft) -> None:
        try:
            draft.record.take_extras(draft, self.zone)
        except ValidationError as error:
            columns = {**draft.given, **draft.extra_columns}
            raise UnfitRow(error, columns) from None

    def _clear(self, draft: Draft, filled) -> None:
        """Empty the fields whose columns are all blank in this row."""
        columns = zip(self.column_map.columns, self.column_map.targets, strict=True)
        for column, target in columns:
            if target in (None, "owner", "id") or is_extra(self.model, target):
                continue
            names = NAME_FIELDS if target == "full_name" else (target,)
            for name in names:
                if name not in filled:
                    draft.cleared.add(name)
                    draft.given.setdefault(name.partition(".")[0], column)

    def _add_what_all_get(self, draft: Draft) -> None:
        if self.options.owner:
            draft.given.setdefault("owner", "")
        if self.options.tags:
            name = self.tags_field
            tags = getattr(draft.record, name)
            setattr(draft.record, name, [*tags, *self.options.tags])
            draft.given.setdefault(name, "")

    def _colleague(self, text: str):
        """The user with this e-mail, if the importing user may make them an owner."""
        email = text.lower()
        if email not in self._colleagues:
            users = get_user_model().objects.visible_to(self.user)
            user = users.filter(email=email, is_active=True).first()
            if user and not may_own(user, self.user, self.model):
                user = None
            self._colleagues[email] = user
        if self._colleagues[email] is None:
            self.unknown_owners[text] += 1
        return self._colleagues[email]


class UnfitRow(Exception):
    """A row that cannot be read as a record.

    Attributes:
        error: what is wrong, by field if it is a field's value.
        given: the column of each field.
    """

    def __init__(self, error: ValidationError, given: dict[str, str]) -> None:
        super().__init__(error)
        self.error = error
        self.given = given


def may_own(owner, user, model: type[Record]) -> bool:
    """Whether a user may give records of a type to this owner."""
    return owner == user or access.reaches(user, model(owner=owner), access.Verb.ASSIGN)
