"""The values of records as the journal keeps them, and the rules that they follow."""

import datetime
import decimal
import sys
import uuid
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial

from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from django.db import models

from core.cache import with_value
from core.custom_fields.definitions import narrowed
from core.search import joined

from .record import Journaled, Record

# A changed record and the `snapshot` taken of it before.
Update = tuple[Journaled, dict]


def validate(record: Journaled, exclude: Iterable[str] = ()) -> None:
    """Run the model's rules, but for unique values and references.

    Those the database holds: it alone has no races, and asks nobody.

    Args:
        exclude: fields that the writer did not touch, whose old values may stay.
    """
    errors = {}
    excluded = set(exclude)
    names = [
        f.name
        for f in record._meta.concrete_fields
        if not f.is_relation and f.name not in excluded
    ]
    for rule in (
        partial(clean_fields, record, names),
        record.clean,
        record.clean_custom_fields,
    ):
        try:
            rule()
        except ValidationError as error:
            errors = error.update_error_dict(errors)
    if errors:
        raise ValidationError(errors)


def clean_fields(record: models.Model, names: Iterable[str]) -> None:
    """Django's `clean_fields`, which looks at all fields, for a few of them.

    Most are short texts, which need no more than their length looked at.
    """
    lengths = _lengths(type(record))
    errors = {}
    for name in names:
        field = record._meta.get_field(name)
        value = getattr(record, field.attname)
        if (field.blank and value in field.empty_values) or (
            type(value) is str and 0 < len(value) <= lengths.get(name, 0)
        ):
            continue
        try:
            setattr(record, field.attname, field.clean(value, record))
        except ValidationError as error:
            errors[name] = error.error_list
    if errors:
        raise ValidationError(errors)


@lru_cache(maxsize=128)
def _lengths(model: type[models.Model]) -> dict[str, int]:
    """Of the fields that are texts with no rule but a greatest length: that length."""
    return {
        f.name: f.max_length if f.validators else sys.maxsize
        for f in model._meta.concrete_fields
        if type(f) in (models.CharField, models.TextField)
        and not f.choices
        and all(isinstance(v, MaxLengthValidator) for v in f.validators)
    }


def snapshot(record: Journaled) -> dict:
    """The journalled fields of a record as JSON values, by name."""
    return {
        name: to_json(getattr(record, field.attname))
        for name, field in record.journaled_fields().items()
    }


def texts_written(record: Record, before: dict | None) -> list[str]:
    """The plain texts of a record that was written, if searches find it otherwise now.

    Args:
        before: as `Journaled.after_writes` has it.
    """
    if before is None:
        return [record.search_text]
    searched = {name: getattr(record, name) for name in record.searched_fields()}
    now = {**searched, "owner": record.owner_id, "deleted_at": record.deleted_at}
    if all(before[name] == to_json(now[name]) for name in now.keys() & before.keys()):
        return []
    old = {name: before.get(name, value) for name, value in searched.items()}
    return [record.search_text, joined(old.values())]


def fields_written(before: dict, after: dict) -> Iterator[str]:
    """The fields of a change, and their values that the record got or lost.

    As core.cache.names_of has them.
    """
    for name in before.keys() | after.keys():
        yield name
        for value in _texts(before.get(name)) ^ _texts(after.get(name)):
            named = with_value(name, value)
            if named:
                yield named


def _texts(value) -> set[str]:
    """The texts that a value is, or is a list of."""
    if isinstance(value, list):
        return {one for one in value if isinstance(one, str)}
    return {value} if isinstance(value, str) else set()


def difference(before: dict, after: dict, changed: Iterable[str]) -> tuple[dict, dict]:
    """The two sides of a change as the journal keeps them."""
    return narrowed(
        {name: before[name] for name in changed},
        {name: after[name] for name in changed},
    )


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
