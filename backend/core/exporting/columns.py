"""The columns of a file of records, in the words in which an import reads them back.

A header is a field's name. What a cell cannot hold as it is becomes a text: a person is
an e-mail address, tags and labelled values are lists as the import splits them, and an
object has a column for each of its keys.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

from django.contrib.auth import get_user_model
from django.db import models
from django.db.models.expressions import Func

from core.custom_fields.definitions import columns as custom_columns
from core.field_rights import CUSTOM
from core.fields import ExternalIdsField, LabelledField, TagsField
from core.importing.mapping import tags_text
from core.renderers import dumps

# An object with more keys than this is one column, as JSON.
MAX_KEYS = 200


class Keys(Func):
    """The keys of an object in a column, as a list: null where it has none."""

    arity = 1
    output_field = models.JSONField(null=True)
    template = "(SELECT jsonb_agg(key ORDER BY key) FROM jsonb_object_keys(%(expressions)s) AS key)"  # noqa: E501

    def as_sqlite(self, compiler, connection, **context):
        template = "(SELECT json_group_array(key) FROM (SELECT key FROM json_each(%(expressions)s) ORDER BY key))"  # noqa: E501
        return self.as_sql(compiler, connection, template=template, **context)


@dataclass(frozen=True)
class Column:
    """A header, and what an answer of the Representation, expanded, says under it."""

    header: str
    value: Callable[[dict], object]


def is_object(name: str, field: models.Field) -> bool:
    return name == CUSTOM or isinstance(field, ExternalIdsField)


def is_person(field: models.Field) -> bool:
    return field.is_relation and field.related_model is get_user_model()


def keys_of(queryset, name: str, hidden: Iterable[str] = ()) -> list[str]:
    """The keys that an object of these rows has, in the order of the alphabet."""
    sets = queryset.order_by().annotate(keys=Keys(name)).values_list("keys", flat=True)
    found = {key for keys in sets.distinct() for key in keys or ()}
    return sorted(found.difference(hidden))


def columns_of(view, names: Iterable[str], keys: dict[str, list[str]]) -> list[Column]:
    """The columns of a file.

    Args:
        view: of the record type, as the user has it.
        names: of its fields.
        keys: those of each object among them.
    """
    columns = []
    for name in names:
        field = view.representation.fields[name]
        if is_object(name, field) and len(keys[name]) <= MAX_KEYS:
            columns += _entries(view, name, keys[name])
        elif is_person(field):
            columns.append(Column(name, partial(_of_relation, name, "email")))
        elif field.is_relation:
            columns += _relation(view, name, field)
        elif text_of := _text_of(field):
            columns.append(Column(name, partial(_as_text, name, text_of)))
        else:
            columns.append(Column(name, itemgetter(name)))
    return columns


def _entries(view, name: str, keys: list[str]) -> Iterable[Column]:
    """A column for each key; what a defined custom field holds, its kind puts."""
    defined = {}
    if name == CUSTOM:
        user = view.request.user
        defined = custom_columns(user.organization, view.record_type, user)
    for key in keys:
        header = f"{name}.{key}"
        custom = defined.get(header)
        if custom is None or custom.field.kind == "number":
            yield Column(header, partial(_entry, name, key))
        else:
            yield Column(header, partial(_defined, custom))


def _defined(custom, answer: dict) -> str:
    return custom.text(answer[CUSTOM] or {})


def _relation(view, name: str, field) -> Iterable[Column]:
    """The id of the other record and what its summary says, under names of their own.

    An import would take `company_name` of the company for the contact's own.
    """
    taken = type(view).all_fields
    for part in field.related_model.summary_fields:
        header = f"{name}_{part}"
        if header not in taken:
            yield Column(header, partial(_of_relation, name, part))


def _text_of(field: models.Field) -> Callable | None:
    """What makes a text of the field's values, where they are no plain ones."""
    if isinstance(field, TagsField):
        return tags_text
    if isinstance(field, LabelledField):
        return field.as_text
    if isinstance(field, models.JSONField):
        return as_json
    return None


def _as_text(name: str, text_of: Callable, answer: dict) -> str | None:
    value = answer[name]
    return None if value is None else text_of(value)


def _of_relation(name: str, part: str, answer: dict):
    summary = answer[name]
    return summary.get(part) if summary else None


def _entry(name: str, key: str, answer: dict):
    value = (answer[name] or {}).get(key)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tags_text(value)
    return as_json(value) if isinstance(value, list | dict) else value


def as_json(value) -> str:
    return dumps(value).decode() if value not in (None, [], {}) else ""
