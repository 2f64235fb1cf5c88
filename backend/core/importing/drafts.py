"""From a row of a file to a record that is not written yet."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import models

from core import access
from core.custom_fields.definitions import (
    Column,
    columns,
    definitions_of,
    forget,
    merged,
)
from core.field_rights import CUSTOM, PREFIX
from core.fields import ExternalIdsField, LabelledField, TagsField
from core.importing.cells import value_of
from core.importing.mapping import (
    FULL_NAME_HEADERS,
    NAME_FIELDS,
    ColumnMap,
    normalise,
    split_tags,
)
from core.importing.options import EXTERNAL_IDS, Blank, Options
from core.importing.table import Row
from core.models import Record
from core.models.template import Template
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


def choices_of(model: type[Record]) -> dict[str, dict[str, str]]:
    """Of each field that is a choice, what may be written for its values."""
    return {
        name: {
            **model.import_choices.get(name, {}),
            **{
                str(text).casefold(): value
                for value, label in f.choices
                for text in (value, label)
            },
        }
        for name, f in importable_fields(model).items()
        if f.choices
    }


def targets(model: type[Record], organization, user=None) -> list[str]:
    """Where a column can go by a field's name; an external id names its system too.

    If the `user` is given, only what they see.
    """
    hidden = access.hidden_fields(user, model.record_type())
    extras = [n for n, _ in _extras(model, hidden) if not n.endswith(".")]
    custom = columns(organization, model.record_type(), user)
    return [*_own_targets(model, hidden), *extras, *custom]


def _own_targets(model: type[Record], hidden) -> list[str]:
    return [
        name
        for name, f in importable_fields(model).items()
        if not isinstance(f, ExternalIdsField) and name not in hidden
    ]


def allowed_targets(model: type[Record], organization, user=None) -> list[str]:
    """`targets`, and the beginnings of those that name a system."""
    hidden = access.hidden_fields(user, model.record_type())
    with_system = [n for n, _ in _extras(model, hidden) if n.endswith(".")]
    return [*targets(model, organization, user), *with_system]


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


def known_headers(model: type[Record], organization, user=None) -> dict[str, str]:
    """Normalised headers that mean a field: the type's own list, and field names.

    What none of them is may be the name, key or label of a custom field.
    """
    hidden = access.hidden_fields(user, model.record_type())
    extras = [name for name, _ in _extras(model, hidden) if not name.endswith(".")]
    names = [*_own_targets(model, hidden), *extras]
    headers = {name.replace("_", " "): name for name in names}
    headers.update(
        (header, target)
        for header, target in model.import_headers.items()
        if field_of(model, target) not in hidden
    )
    custom = columns(organization, model.record_type(), user).values()
    for texts in (
        [(column.name, column) for column in custom],
        [(column.field.key, column) for column in custom],
        [(column.label, column) for column in custom],
    ):
        for text, column in texts:
            header = normalise(text)
            if header and header not in FULL_NAME_HEADERS:
                headers.setdefault(header, column.name)
    return headers


@dataclass
class Draft:
    """A row read as a record.

    Attributes:
        given: the column that each of the record's fields came from.
        cleared: fields, and external ids by their target, that blank cells empty.
        extras: what the row says beside the fields: `Record.import_extras`.
        extra_columns: the column that each of them came from, by its name.
        cells: the texts of custom fields, by `custom_fields.<key>`.
        cell_columns: the column that each of them came from.
        wanted: the id of the record that the row names, where rows are matched by it.
        broken_rule: why the record could not be a new one.
        fault: why the row cannot be taken, whatever record it means.
        not_found: columns that name a record which is not there.
    """

    row: Row
    record: Record
    given: dict[str, str]
    cleared: set[str] = field(default_factory=set)
    extras: dict[str, str] = field(default_factory=dict)
    extra_columns: dict[str, str] = field(default_factory=dict)
    cells: dict[str, str] = field(default_factory=dict)
    cell_columns: dict[str, str] = field(default_factory=dict)
    wanted: UUID | None = None
    broken_rule: ValidationError | None = None
    fault: ValidationError | None = None
    not_found: set[str] = field(default_factory=set)

    @property
    def columns(self) -> dict[str, str]:
        """The column of whatever an error can be about, by its name."""
        return {**self.given, **self.extra_columns, **self.cell_columns}


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
        self.choices = choices_of(model)
        # Those that take a text as it is; for all others there is `_take`.
        self.texts = {
            name
            for name, f in self.fields.items()
            if type(f) in (models.CharField, models.TextField) and not f.choices
        }
        self.required = [
            name
            for name, f in self.fields.items()
            if not (f.blank or f.has_default() or f.is_relation)
        ]
        self.takes_further = model.import_further is not Record.import_further
        self.owner_of_all = None
        if options.owner:
            self.owner_of_all = get_user_model().objects.get(pk=options.owner)
        self.unknown_owners: Counter = Counter()
        self._colleagues = {}
        self._begin(user)

    def of(self, user) -> bool:
        """Go on with the rights of this user and the definitions as they are now.

        Returns:
            Whether rows are read as before.

        Raises:
            PermissionDenied: the owner of all rows may not be chosen by them any more.
        """
        before = self._basis()
        self._begin(user)
        if not may_own(self.owner, user, self.model):
            raise access.RightMissing(
                user, self.model.record_type(), access.Verb.ASSIGN
            )
        is_as_before = self._basis() == before
        # A file can name any number of people who are none.
        self._colleagues = {e: user for e, user in self._colleagues.items() if user}
        return is_as_before

    def _basis(self) -> tuple:
        """What rows are read by: rights, definitions, colleagues that were named."""
        definitions = definitions_of(self.organization, self.model.record_type())
        versions = [(field.pk, field.version) for field in definitions.fields.values()]
        return self.zone, self.rights, versions, self._colleagues

    @property
    def zone(self) -> ZoneInfo:
        """Of moments that tell none."""
        return ZoneInfo(self.user.timezone)

    def _begin(self, user) -> None:
        self.user = user
        self.owner = self.owner_of_all or user
        self.template = Template(
            self.model, organization=self.organization, owner=self.owner
        )
        self._colleagues = self._find(self._colleagues)
        self.rights = access.field_rights(user, self.model.record_type())
        forget(self.organization)
        self.custom: dict[str, Column] = columns(
            self.organization, self.model.record_type(), user
        )

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
        draft = Draft(row, self.template.new(), {})
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
        if not self.options.match:
            record.settle_import(draft.given)
        try:
            clean_fields(record, [n for n in draft.given if n not in ("owner", CUSTOM)])
        except ValidationError as error:
            raise UnfitRow(error, draft.columns) from None
        errors = {}
        missing = [name for name in self.required if name not in draft.given]
        for rule in (
            partial(clean_fields, record, missing),
            record.clean,
            partial(self._set_custom_fields, draft),
        ):
            try:
                rule()
            except ValidationError as error:
                errors = error.update_error_dict(errors)
        if errors:
            draft.broken_rule = self.rights.told(ValidationError(errors))
        return draft

    def _set_custom_fields(self, draft: Draft) -> None:
        draft.record.custom_fields = self.custom_fields(draft, {})
        draft.record.clean_custom_fields()

    def custom_fields(self, draft: Draft, current: dict) -> dict:
        """The custom fields of a record after what the row says of them.

        A cell that tells what stands there lets it stand, whatever is defined by now.

        Args:
            current: those that the record has.

        Raises:
            ValidationError: by `custom_fields.<key>`.
        """
        said: dict[str, object] = {
            name.removeprefix(PREFIX): None
            for name in draft.cleared
            if name.startswith(PREFIX)
        }
        errors = {}
        for name, text in draft.cells.items():
            column = self.custom.get(name)
            if column is None:
                errors[name] = ValidationError("Unknown field.", "unknown_field")
            elif text != column.text(current).strip():
                try:
                    said[name.removeprefix(PREFIX)] = column.value(text)
                except ValidationError as error:
                    errors[name] = error
        if errors:
            raise ValidationError(errors)
        return merged(current, said)

    def _take(self, draft: Draft, target: str, text: str, column: str) -> None:
        name, _, source = target.partition(".")
        record = draft.record
        if is_extra(self.model, target):
            draft.extras[target] = text
            draft.extra_columns[name] = column
            return
        if name == CUSTOM:
            draft.cells[target] = text
            draft.cell_columns[target] = draft.given[CUSTOM] = column
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
                    if name.startswith(PREFIX):
                        draft.cell_columns[name] = column
                    draft.given.setdefault(name.partition(".")[0], column)

    def _add_what_all_get(self, draft: Draft) -> None:
        if self.options.owner:
            draft.given.setdefault("owner", "")
        if self.options.tags:
            name = self.tags_field
            tags = getattr(draft.record, name)
            setattr(draft.record, name, [*tags, *self.options.tags])
            draft.given.setdefault(name, "")
        if "owner" not in draft.given:
            draft.record.auto_assign = self.options.auto_assign

    def _colleague(self, text: str):
        """The user with this e-mail, if the importing user may make them an owner."""
        email = text.lower()
        if email not in self._colleagues:
            self._colleagues |= self._find([email])
        if self._colleagues[email] is None:
            self.unknown_owners[text] += 1
        return self._colleagues[email]

    def _find(self, emails: Iterable[str]) -> dict:
        """Whom of them the importing user may make an owner, by e-mail; or None."""
        found = dict.fromkeys(emails)
        if found:
            users = get_user_model().objects.visible_to(self.user)
            for user in users.filter(email__in=found, is_active=True):
                if may_own(user, self.user, self.model):
                    found[user.email] = user
        return found


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
