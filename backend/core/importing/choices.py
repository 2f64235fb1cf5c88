"""What is chosen for an import: by the file itself, by a saved mapping, by its user."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.core.exceptions import ValidationError as ModelError
from django.db import IntegrityError
from rest_framework.exceptions import ErrorDetail, ValidationError

from core import access
from core.csvfile import without_guard
from core.importing.drafts import (
    allowed_targets,
    choices_of,
    field_of,
    known_headers,
    tags_field,
)
from core.importing.mapping import (
    BadMapping,
    ColumnMap,
    header_key,
    named_with_system,
    normalise,
    unknown_target,
)
from core.importing.options import EXTERNAL_IDS, Mode, Options
from core.importing.reading import detect
from core.importing.table import Layout, Row, UnreadableFile
from core.job_errors import leads_to_hidden
from core.models import ChangeSet, ImportMapping, Record

_MATCH = re.compile(rf"|id|{EXTERNAL_IDS}\.(?=[0-9_]*[a-z])[a-z0-9_]{{1,50}}")
# Headers under which a file names the records that it was exported from.
_ID_HEADERS = ("id", "mycrm id")


@dataclass(frozen=True)
class Choices:
    """Where the columns of a file go, and who said so.

    Attributes:
        saved: the saved mapping that says so, if one does.
        unfit: columns that were left out for their values.
    """

    model: type[Record]
    column_map: ColumnMap
    saved: ImportMapping | None = None
    unfit: tuple[str, ...] = ()

    def save_as(self, name: str, user, **origin) -> ImportMapping:
        """Keep them under a name; one's own mapping of that name is replaced.

        Raises:
            ValidationError: of `save_mapping_as`.
        """
        record_type = self.model.record_type()
        mapping = ImportMapping.objects.editable_by(user).filter(
            applies_to=record_type, name=name
        )
        mapping = mapping.select_for_update(of=("self",)).first() or ImportMapping()
        try:
            with ChangeSet.open(
                actor=user, source=ChangeSet.Source.API, **origin
            ) as changes:
                changes.save(
                    mapping,
                    name=name,
                    applies_to=record_type,
                    columns=list(self.column_map.columns),
                    mapping=self.column_map.as_dict(),
                )
        except IntegrityError:
            raise _invalid(
                "save_mapping_as", "Another mapping has this name.", "unique"
            ) from None
        except ModelError as error:
            detail = " ".join(error.messages)
            raise _invalid("save_mapping_as", detail, "invalid") from None
        return mapping


def layout_of(path, user, model: type[Record], encoding="", sheet="") -> Layout:
    """How a file is written.

    Raises:
        ValidationError: of `file`, `encoding` or `sheet`.
    """
    headers = known_headers(model, user.organization)
    try:
        return detect(path, lambda name: normalise(name) in headers, encoding, sheet)
    except UnreadableFile as fault:
        field = {"unknown_encoding": "encoding", "unknown_sheet": "sheet"}
        name = field.get(fault.code, "file")
        raise _invalid(name, fault.detail, fault.code) from None


def choose(
    user,
    layout: Layout,
    model: type[Record],
    mapping: dict | None,
    match: str = "",
    rows: Sequence[Row] = (),
) -> Choices:
    """Where the columns go: as given, as saved for this header line, or as suggested.

    Args:
        rows: some of the file: a column whose values are mostly none of a choice is not
            suggested for it.

    Raises:
        ValidationError: of `mapping`.
    """
    organization = user.organization
    headers = known_headers(model, organization, user)
    rights = access.field_rights(user, model.record_type())
    allowed = allowed_targets(model, organization, user)
    if match == "id":
        allowed.append("id")
    if mapping is not None:
        column_map = _given(layout, mapping, allowed, headers)
        for column, target in column_map.as_dict().items():
            if target and leads_to_hidden(model, target, rights):
                detail = unknown_target(column, target).detail
                raise _invalid("mapping", detail, "unknown_target")
        return Choices(model, column_map)
    saved = (
        ImportMapping.objects.visible_to(user)
        .filter(applies_to=model.record_type(), header_key=header_key(layout.columns))
        .order_by("-updated_at")
        .first()
    )
    if saved:
        by_name = {
            normalise(name): target
            for name, target in saved.mapping.items()
            if target and not leads_to_hidden(model, target, rights)
        }
        known = {name: by_name.get(normalise(name)) for name in layout.columns}
        try:
            column_map = ColumnMap.given(layout.columns, known, allowed, headers)
            return Choices(model, column_map, saved)
        except BadMapping:
            pass  # a field is gone since
    if match == "id":
        headers = {**headers, **dict.fromkeys(_ID_HEADERS, "id")}
    elif match:
        source = normalise(match.partition(".")[2])
        headers = {**headers, f"{source} id": match, "record id": match}
    headers.update(
        (normalise(column), column)
        for column in named_with_system(layout.columns, allowed)
        if hasattr(model, field_of(model, column))
        and not leads_to_hidden(model, column, rights)
    )
    column_map = ColumnMap.suggest(layout.columns, headers)
    for column, target in column_map.as_dict().items():
        if target and leads_to_hidden(model, target, rights):
            raise _invalid(
                "mapping", unknown_target(column, target).detail, "unknown_target"
            )
    unfit = _unfit(column_map, model, rows)
    targets = zip(column_map.columns, column_map.targets, strict=True)
    kept = tuple(None if column in unfit else target for column, target in targets)
    return Choices(model, replace(column_map, targets=kept), unfit=unfit)


def _unfit(
    column_map: ColumnMap, model: type[Record], rows: Sequence[Row]
) -> tuple[str, ...]:
    """The columns for a choice of which most values are none."""
    choices = choices_of(model)
    unfit = []
    for place, column in enumerate(column_map.columns):
        known = choices.get(column_map.targets[place])
        if known:
            cells = [row.cells[place].strip() for row in rows if place < len(row.cells)]
            values = [without_guard(cell).casefold() for cell in cells if cell]
            if 2 * sum(value in known for value in values) < len(values):
                unfit.append(column)
    return tuple(unfit)


def read_choices(
    user,
    layout: Layout,
    model: type[Record],
    mapping,
    options: Options,
    rows: Sequence[Row] = (),
) -> Choices:
    """As `choose`, for an import that begins: something must come of it.

    Raises:
        ValidationError: of `mapping`, or of the options.
    """
    check_options(user, model, options)
    choices = choose(user, layout, model, mapping, options.match, rows)
    mapped = choices.column_map.targets
    if not any(mapped):
        names = ", ".join(layout.columns[:20])
        detail = f"No column is known: say where they go. The file has: {names}."
        raise _invalid("mapping", detail, "nothing_mapped")
    if options.match and options.match not in mapped:
        detail = f"No column goes to “{options.match}”, by which rows are matched."
        raise _invalid("mapping", detail, "match_not_mapped")
    return choices


def check_options(user, model: type[Record], options: Options) -> None:
    """Raise ValidationError where the options do not fit the type or one another."""
    source_of_ids = options.source and EXTERNAL_IDS not in {
        f.name for f in model._meta.concrete_fields
    }
    if not _MATCH.fullmatch(options.match) or source_of_ids:
        detail = f"Blank, `id`, or `{EXTERNAL_IDS}.` and the name of a system."
        raise _invalid("match", detail, "invalid_choice")
    if options.match == "id" and options.mode == Mode.CREATE:
        detail = "New records have no id yet: choose another mode."
        raise _invalid("match", detail, "invalid_choice")
    if options.tags and tags_field(model) is None:
        raise _invalid("tags", "This record type has no tags.", "no_tags")


def _given(layout: Layout, mapping, allowed, headers) -> ColumnMap:
    if not isinstance(mapping, dict) or not all(
        isinstance(target, str | None) for target in mapping.values()
    ):
        raise _invalid("mapping", "Give an object of texts.", "not_an_object")
    try:
        return ColumnMap.given(layout.columns, mapping, allowed, headers)
    except BadMapping as fault:
        raise _invalid("mapping", fault.detail, fault.code) from None


def _invalid(field: str, detail: str, code: str) -> ValidationError:
    return ValidationError({field: ErrorDetail(detail, code)})
