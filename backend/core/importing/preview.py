"""What an import would be, to look at before it is run."""

from itertools import islice

from django.db import models

from core.custom_fields.definitions import Column, columns
from core.fields import TagsField
from core.importing.choices import Choices, check_options, choose, layout_of
from core.importing.drafts import importable_fields, targets
from core.importing.mapping import NAME_FIELDS
from core.importing.options import Mode, Options
from core.importing.reading import sampled_rows
from core.importing.table import Layout, Row, UnreadableFile
from core.models import Record, Upload

SAMPLES = 3
SAMPLE_LENGTH = 100


def preview(
    user,
    upload: Upload,
    model: type[Record],
    mapping: dict | None = None,
    *,
    encoding: str = "",
    sheet: str = "",
    match: str = "",
) -> dict:
    """How an uploaded file is written, and where its columns would go.

    Raises:
        ValidationError: of `file`, `mapping`, `encoding` or `sheet`.
    """
    check_options(user, model, Options(Mode.UPDATE, match))
    layout = layout_of(upload.path, user, model, encoding, sheet)
    rows, fault = sampled_rows(upload.path, layout)
    choices = choose(user, layout, model, mapping, match, rows)
    column_map = choices.column_map
    return {
        "upload": upload.pk,
        "file_name": upload.file_name,
        "record_type": model.record_type(),
        "format": layout.format,
        "encoding": layout.encoding,
        "encoding_is_sure": layout.encoding_is_sure,
        "delimiter": layout.delimiter,
        "header_line": layout.header_line,
        "sheet": layout.sheet,
        "sheets": list(layout.sheets),
        "columns": [
            {
                "name": name,
                "target": target,
                "is_guess": name in column_map.guesses,
                "samples": _samples(rows, number),
            }
            for number, (name, target) in enumerate(column_map.as_dict().items())
        ],
        "targets": targets_of(model, user),
        "saved_mapping": choices.saved
        and {"id": choices.saved.pk, "name": choices.saved.name},
        "warnings": _warnings(layout, choices, rows, fault),
    }


def targets_of(model: type[Record], user) -> list[dict]:
    """Where columns can go: name, label and kind, and the values of a choice."""
    fields = importable_fields(model)
    custom = columns(user.organization, model.record_type(), user)
    found = []
    names = targets(model, user.organization, user)
    for name in names:
        if name in custom:
            found.append(_custom_target(custom[name]))
            continue
        model_field = fields.get(name)
        label = model_field.verbose_name if model_field else name.replace("_", " ")
        choices = [
            str(value) for value, _ in ((model_field and model_field.choices) or ())
        ]
        kind = "choice" if choices else _kind(model_field)
        found.append(
            {"name": name, "label": str(label), "kind": kind, "choices": choices}
        )
    if NAME_FIELDS.issubset(names):
        kinds = {"label": "full name", "kind": "text", "choices": []}
        found.insert(0, {"name": "full_name", **kinds})
    return found


def _custom_target(column: Column) -> dict:
    field = column.field
    choices = list(field.labels())
    return {
        "name": column.name,
        "label": column.label,
        "kind": field.kind,
        "choices": choices,
    }


_KINDS = (
    (TagsField, "tags"),
    (models.ForeignKey, "user"),
    (models.EmailField, "email"),
    (models.URLField, "link"),
    (models.BooleanField, "boolean"),
    (models.DateField, "date"),
    (models.DecimalField, "number"),
    (models.IntegerField, "number"),
)


def _kind(model_field: models.Field | None) -> str:
    return next((k for c, k in _KINDS if isinstance(model_field, c)), "text")


def _samples(rows: list[Row], number: int) -> list[str]:
    cells = (row.cells[number].strip() for row in rows if number < len(row.cells))
    different = dict.fromkeys(cell[:SAMPLE_LENGTH] for cell in cells if cell)
    return list(islice(different, SAMPLES))


def _warnings(
    layout: Layout,
    choices: Choices,
    rows: list[Row],
    fault: UnreadableFile | None,
) -> list[dict[str, str]]:
    column_map = choices.column_map
    found = []
    if not layout.encoding_is_sure:
        found.append(
            (
                "encoding_guessed",
                f"The file does not say its encoding; it was read as {layout.encoding}."
                " If letters look wrong, choose another.",
            )
        )
    if layout.header:
        found.append(
            ("preamble", f"The header was found on line {layout.header_line}.")
        )
    width = len(layout.columns)
    if longer := [row.line for row in rows if len(row.cells) > width]:
        found.append(
            (
                "longer_rows",
                f"Row {longer[0]} has more cells than the header, as others may.",
            )
        )
    if shorter := [row.line for row in rows if len(row.cells) < width]:
        found.append(
            (
                "shorter_rows",
                f"Row {shorter[0]} has fewer cells than the header, as others may; the"
                " missing ones count as blank.",
            )
        )
    if choices.unfit:
        names = ", ".join(choices.unfit)
        found.append(
            ("unfit", f"Left out, as most values are no choices here: {names}.")
        )
    if column_map.guesses:
        names = ", ".join(column_map.guesses)
        found.append(("guessed", f"Guessed from a similar name: {names}."))
    if not any(column_map.targets):
        found.append(("nothing_mapped", "No column is known: say where they go."))
    if not rows and not fault:
        found.append(("no_rows", "There is nothing below the header."))
    if fault:
        found.append((fault.code, fault.detail))
    return [{"code": code, "detail": detail} for code, detail in found]
