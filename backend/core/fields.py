"""Model fields: small collections in one column, so that a list is one query."""

import json
import re
from decimal import Decimal, InvalidOperation

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import (
    DomainNameValidator,
    MinValueValidator,
    validate_email,
)
from django.db import models
from django.db.models.lookups import Lookup

from core.currencies import CURRENCIES

MAX_ENTRIES = 50
MAX_LENGTH = 100
MAX_LABEL_LENGTH = 30
CENT = Decimal("0.01")


def computed(name: str, field: models.Field) -> models.Field:
    """A field that is no column: what it is called, and what kind of value it has."""
    field.editable = False
    field.set_attributes_from_name(name)
    return field


class LinkField(models.URLField):
    """A web address; `https://` is put before one that has no scheme."""

    def formfield(self, **kwargs):
        return super().formfield(**{"assume_scheme": "https", **kwargs})

    def to_python(self, value):
        value = super().to_python(value)
        return f"https://{value}" if value and "://" not in value else value


class DomainField(models.CharField):
    """The name of a web site's host: of "https://www.Example.com/about" example.com."""

    default_validators = [DomainNameValidator()]

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("max_length", 253)
        super().__init__(*args, **kwargs)

    def to_python(self, value):
        value = super().to_python(value)
        if not value:
            return value
        host = value.strip().lower().partition("://")[2] or value.strip().lower()
        host = re.split(r"[/?#]", host, maxsplit=1)[0].rpartition("@")[2]
        return re.sub(r":\d+$", "", host).removeprefix("www.").rstrip(".")


class MoneyField(models.DecimalField):
    """An amount of money, not below zero, always with two decimals."""

    default_validators = [MinValueValidator(0)]

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("max_digits", 14)
        kwargs.setdefault("decimal_places", 2)
        super().__init__(*args, **kwargs)

    def to_python(self, value):
        """As the database gives it back, so that the journal sees no difference.

        What has more decimals stays as it is, for the validators to refuse.
        """
        value = super().to_python(value)
        if value is None or not value.is_finite():
            return value
        try:
            rounded = value.quantize(CENT)
        except InvalidOperation:  # too long
            return value
        return rounded if rounded == value else value


class CurrencyField(models.CharField):
    """The ISO 4217 code of a currency, in capitals."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("max_length", 3)
        super().__init__(*args, **kwargs)

    def to_python(self, value):
        value = super().to_python(value)
        return value.strip().upper() if value else value

    def validate(self, value, model_instance):
        super().validate(value, model_instance)
        if value and value not in CURRENCIES:
            raise ValidationError("Give an ISO 4217 code, such as USD.", code="invalid")


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
    # Nothing else of the list matters (core.statements.columns_asked).
    asks_values = True

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


@ExternalIdsField.register_lookup
class HasExternalId(Lookup):
    """Whether one of these (source, id) pairs is among the ids.

    On PostgreSQL a GIN index with jsonb_path_ops answers it.
    """

    lookup_name = "has"
    prepare_rhs = False

    def get_db_prep_lookup(self, value, connection):
        return "%s", list(value)

    def as_postgresql(self, compiler, connection):
        sql, params = self.process_lhs(compiler, connection)
        pairs = [json.dumps({source: text}) for source, text in self.rhs]
        each = " OR ".join(f"{sql} @> %s::jsonb" for _ in pairs)
        return f"({each})", [p for pair in pairs for p in (*params, pair)]

    def as_sql(self, compiler, connection):
        sql, params = self.process_lhs(compiler, connection)
        pairs = [text for pair in self.rhs for text in pair]
        values = ", ".join("(%s, %s)" for _ in self.rhs)
        found = (
            f"SELECT 1 FROM json_each({sql}) WHERE (key, value) IN (VALUES {values})"  # noqa: S608
        )
        return f"EXISTS ({found})", [*params, *pairs]


class LabelledInput(forms.CharField):
    """Labelled values in a form: one a line, each `label: value` or the value alone."""

    widget = forms.Textarea

    def __init__(self, *, field: "LabelledField", **kwargs):
        super().__init__(**kwargs)
        self.field = field

    def prepare_value(self, value):
        return self.field.as_text(value, "\n") if isinstance(value, list) else value

    def to_python(self, value):
        return self.field.from_text(value or "")

    def has_changed(self, initial, data):
        shown = self.field.from_text(self.field.as_text(initial or []))
        return shown != self.to_python(data)


class LabelledField(models.JSONField):
    """Further values of one kind, each with a label: `[{"value": ..., "label": ...}]`.

    No value twice, and at most 50. As text, in files and forms, an entry is
    `label: value`. Look-up: `other_emails__has="ada@example.com"`.
    """

    empty_values = [[]]  # an empty object is not an empty list
    max_value_length = MAX_LENGTH
    # The keys of an entry that look-ups compare.
    compared = ("value",)

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("default", list)
        kwargs.setdefault("blank", True)
        super().__init__(*args, **kwargs)

    def normal(self, text: str) -> str:
        """The one spelling of a value."""
        return re.sub(r";\s+", ";", text.strip())

    def check_value(self, text: str) -> None:
        """Raise ValidationError for a text that is no such value."""

    def validate(self, value, model_instance):
        super().validate(value, model_instance)
        if not is_labelled(value):
            raise ValidationError(
                "Give a list of objects with a `value` and a `label`.",
                code="not_a_list",
            )
        if len(value) > MAX_ENTRIES or any(
            not 0 < len(entry["value"]) <= self.max_value_length
            or len(entry.get("label", "")) > MAX_LABEL_LENGTH
            for entry in value
        ):
            raise ValidationError(
                f"At most {MAX_ENTRIES} values of 1 to {self.max_value_length}"
                f" characters, with labels of at most {MAX_LABEL_LENGTH}.",
                code="max_length",
            )
        for entry in value:
            self.check_value(entry["value"])

    def to_python(self, value):
        """Each value in its one spelling; of two that are equal the first stands."""
        value = super().to_python(value)
        if not is_labelled(value):
            return value
        entries = {}
        for entry in value:
            text = self.normal(entry["value"])
            label = re.sub(r"[\s:;]+", " ", entry.get("label", "")).strip()
            entries.setdefault(text, {"value": text, "label": label})
        return list(entries.values())

    def as_text(self, entries: list[dict], separator: str = "; ") -> str:
        """Entries as a cell of a file, or a form, holds them.

        Those that `from_text` would read as others are a list in JSON.
        """
        if not entries:
            return ""
        text = separator.join(
            f"{entry['label']}: {entry['value']}"
            if entry.get("label")
            else entry["value"]
            for entry in entries
        )
        pairs = [{"value": e["value"], "label": e.get("label", "")} for e in entries]
        return text if self.from_text(text) == pairs else json.dumps(pairs)

    def from_text(self, text: str) -> list[dict]:
        """What `as_text` wrote; between several Google's `:::` may stand too."""
        if text.startswith("[{"):
            try:
                listed = json.loads(text)
            except ValueError:
                listed = None
            if is_labelled(listed):
                return self.to_python(listed)
        entries = []
        for part in re.split(r"\n|;\s+|\s:::\s", text):
            label, colon, value = part.strip().rpartition(": ")
            if value:
                entries.append({"value": value, "label": label if colon else ""})
        return self.to_python(entries)

    def formfield(self, **kwargs):
        help_text = "One a line, as in `label: value`; the label may be left out."
        defaults = {"form_class": LabelledInput, "field": self, "help_text": help_text}
        return models.Field.formfield(self, **{**defaults, **kwargs})


def is_labelled(value) -> bool:
    """Whether this is a list of objects with a text `value` and perhaps a `label`."""
    return isinstance(value, list) and all(
        isinstance(entry, dict)
        and isinstance(entry.get("value"), str)
        and isinstance(entry.get("label", ""), str)
        for entry in value
    )


class EmailsField(LabelledField):
    """Further e-mail addresses, in lower case; dots and plus tags are kept."""

    max_value_length = 254

    def normal(self, text):
        return super().normal(text).lower()

    def check_value(self, text):
        try:
            validate_email(text)
        except ValidationError:
            raise ValidationError(
                f"'{text}' is no e-mail address.", code="invalid"
            ) from None


class PhonesField(LabelledField):
    """Further phones, as they were given; the record's model adds their `e164`."""

    max_value_length = 50
    compared = ("value", "e164")


@LabelledField.register_lookup
class HasValue(Lookup):
    """Whether the value stands in the list. On PostgreSQL a GIN index answers it."""

    lookup_name = "has"
    prepare_rhs = False

    def get_db_prep_lookup(self, value, connection):
        return "%s", [value]

    @property
    def value(self):
        return self.lhs.output_field.normal(self.rhs)

    def as_postgresql(self, compiler, connection):
        sql, params = self.process_lhs(compiler, connection)
        keys = self.lhs.output_field.compared
        each = " OR ".join(f"{sql} @> %s::jsonb" for _ in keys)
        values = [json.dumps([{key: self.value}]) for key in keys]
        return f"({each})", [p for value in values for p in (*params, value)]

    def as_sql(self, compiler, connection):
        sql, params = self.process_lhs(compiler, connection)
        keys = self.lhs.output_field.compared
        each = " OR ".join(f"json_extract(value, '$.{key}') = %s" for key in keys)
        found = f"SELECT 1 FROM json_each({sql}) WHERE {each}"  # noqa: S608
        return f"EXISTS ({found})", [*params, *[self.value] * len(keys)]
