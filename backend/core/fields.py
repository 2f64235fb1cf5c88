"""Model fields: small collections in one column, so that a list is one query."""

import json

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.lookups import Lookup

MAX_ENTRIES = 50
MAX_LENGTH = 100


class LinkField(models.URLField):
    """A web address; `https://` is put before one that has no scheme."""

    def formfield(self, **kwargs):
        return super().formfield(**{"assume_scheme": "https", **kwargs})

    def to_python(self, value):
        value = super().to_python(value)
        return f"https://{value}" if value and "://" not in value else value


class TagsInput(forms.CharField):
    """Tags in a form: one line, separated by commas."""

    def prepare_value(self, value):
        return ", ".join(value) if isinstance(value, list) else value

    def to_python(self, value):
        return [name.strip() for name in (value or "").split(",") if name.strip()]

    def has_changed(self, initial, data):
        return list(initial or []) != self.to_python(data)


class TagsField(models.JSONField):
    """A list of at most 50 names, each at most 100 characters, none twice.

    Look-up: `tags__has="vip"`.
    """

    empty_values = [[]]  # an empty object is not an empty list

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("default", list)
        kwargs.setdefault("blank", True)
        super().__init__(*args, **kwargs)

    def validate(self, value, model_instance):
        super().validate(value, model_instance)
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise ValidationError("Give a list of texts.", code="not_a_list")
        if len(value) > MAX_ENTRIES or any(not 0 < len(v) <= MAX_LENGTH for v in value):
            raise ValidationError(
                f"At most {MAX_ENTRIES} names of 1 to {MAX_LENGTH} characters.",
                code="max_length",
            )

    def to_python(self, value):
        """Without spaces around names; of "VIP" and "vip" the first stands."""
        value = super().to_python(value)
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            return value
        names = {}
        for name in value:
            names.setdefault(name.strip().casefold(), name.strip())
        return list(names.values())

    def formfield(self, **kwargs):
        defaults = {"form_class": TagsInput, "widget": forms.TextInput}
        return models.Field.formfield(self, **{**defaults, **kwargs})


def tags_field_of(model: type[models.Model]) -> str | None:
    """The name of the field that holds a record type's tags; None if it has none."""
    fields = model._meta.concrete_fields
    return next((f.name for f in fields if isinstance(f, TagsField)), None)


@TagsField.register_lookup
class Has(Lookup):
    """Whether the list holds this name. On PostgreSQL a GIN index can answer it."""

    lookup_name = "has"
    prepare_rhs = False

    def get_db_prep_lookup(self, value, connection):
        return "%s", [value]

    def as_postgresql(self, compiler, connection):
        sql, params = self.process_lhs(compiler, connection)
        return f"{sql} @> %s::jsonb", [*params, json.dumps([self.rhs])]

    def as_sql(self, compiler, connection):
        sql, params = self.process_lhs(compiler, connection)
        return (
            f"EXISTS (SELECT 1 FROM json_each({sql}) WHERE value = %s)",  # noqa: S608
            [*params, self.rhs],
        )


class ExternalIdsField(models.JSONField):
    """Ids of a record in other systems: `{"hubspot": "4711"}`."""

    empty_values = [{}]  # an empty list is not an empty object

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("default", dict)
        kwargs.setdefault("blank", True)
        super().__init__(*args, **kwargs)

    def validate(self, value, model_instance):
        super().validate(value, model_instance)
        if not isinstance(value, dict) or not all(
            isinstance(v, str) for v in value.values()
        ):
            raise ValidationError(
                "Give an object of texts, by the name of the other system.",
                code="not_an_object",
            )
        if len(value) > MAX_ENTRIES or any(
            not 0 < len(text) <= MAX_LENGTH for pair in value.items() for text in pair
        ):
            raise ValidationError(
                f"At most {MAX_ENTRIES} ids of 1 to {MAX_LENGTH} characters.",
                code="max_length",
            )
