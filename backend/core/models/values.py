"""The values of records as the journal keeps them, and the rules that they follow."""

import datetime
import decimal
import uuid
from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.db import models

from core.custom_fields.definitions import narrowed

from .record import Journaled

# A changed record and the `snapshot` taken of it before.
Update = tuple[Journaled, dict]


def validate(record: Journaled, exclude: Iterable[str] = ()) -> None:
    """Run the model's rules, but for unique values and references.

    Those the database holds: it alone has no races, and asks nobody.

    Args:
        exclude: fields that the writer did not touch, whose old values may stay.
    """
    errors = {}
    references = {f.name for f in record._meta.concrete_fields if f.is_relation}
    try:
        record.clean_fields(exclude=references.union(exclude))
    except ValidationError as error:
        errors = error.update_error_dict(errors)
    try:
        record.clean()
    except ValidationError as error:
        errors = error.update_error_dict(errors)
    if errors:
        raise ValidationError(errors)


def snapshot(record: Journaled) -> dict:
    """The journalled fields of a record as JSON values, by name."""
    return {
        name: to_json(getattr(record, field.attname))
        for name, field in record.journaled_fields().items()
    }


def difference(before: dict, after: dict, changed: Iterable[str]) -> dict:
    """The two sides of a change as the journal keeps them."""
    old, new = narrowed(
        {name: before[name] for name in changed},
        {name: after[name] for name in changed},
    )
    return {"before": old, "after": new}


def to_json(value):
    """A field's value as the journal keeps it: exact, so that undo can compare it."""
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, uuid.UUID | decimal.Decimal):
        return str(value)
    return value


def from_json(field: models.Field, value):
    """The value of a field that `to_json` wrote down."""
    return (
        field.target_field.to_python(value)
        if field.is_relation
        else field.to_python(value)
    )
