"""Custom fields as columns that lists are filtered and ordered by.

A column gives the value where it is of the field's kind, and else null: whatever stands
in the JSON, numbers are compared with numbers alone. The same expression stands in the
index of a field that has one (core.custom_fields.indexing).
"""

import datetime

import django_filters as filters
from django.db import models

from core.custom_fields.kinds import KINDS
from core.field_rights import CUSTOM, PREFIX
from core.fields import TagsField
from core.filters import (
    CharInFilter,
    InFilter,
    NumberInFilter,
    PersonFilter,
    UUIDInFilter,
    YesNoFilter,
)
from core.jsonvalues import MAX_NUMBER

# Texts are ordered, found and indexed by their beginning: an index takes no long ones.
BEGINNING = 500
RANGE = ("gt", "gte", "lt", "lte")
WHOLE_TEXT = "whole text"

# {json} is the entry as JSON, {text} as a text, {type} its JSON type.
POSTGRESQL = {
    "number": "CASE WHEN {type} = 'number' THEN ({text})::numeric END",
    "money": (
        "CASE WHEN jsonb_typeof({json} -> 'amount') = 'string' AND"
        " {json} ->> 'amount' ~ '^-?[0-9]{{1,15}}([.][0-9]{{1,4}})?$'"
        " THEN ({json} ->> 'amount')::numeric END"
    ),
    "boolean": "CASE WHEN {type} = 'boolean' THEN {text} = 'true' END",
    "multi_choice": "CASE WHEN {type} = 'array' THEN {json} END",
    "date": (
        "CASE WHEN {type} = 'string' AND {text} ~"
        " '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$' THEN {text} END"
    ),
    WHOLE_TEXT: "CASE WHEN {type} = 'string' THEN {text} END",
    "": "CASE WHEN {type} = 'string' THEN left({text}, {beginning}) END",
}
SQLITE = {
    # The outer CAST lets SQLite compare it as a number with the text that Django gives.
    "number": (
        "CAST(CASE WHEN {type} IN ('integer', 'real') THEN {text} END AS NUMERIC)"
    ),
    "money": (
        "CAST(CASE WHEN json_type({column}, '$.{key}.amount') = 'text'"
        " AND {amount} GLOB '*[0-9]*' AND {amount} NOT GLOB '*[^0-9.-]*'"
        " THEN {amount} END AS NUMERIC)"
    ),
    "boolean": "CASE {type} WHEN 'true' THEN 1 WHEN 'false' THEN 0 END",
    "multi_choice": "CASE WHEN {type} = 'array' THEN {text} END",
    "date": (
        "CASE WHEN {type} = 'text' AND {text} GLOB"
        " '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]' THEN {text} END"
    ),
    WHOLE_TEXT: "CASE WHEN {type} = 'text' THEN {text} END",
    "": "CASE WHEN {type} = 'text' THEN substr({text}, 1, {beginning}) END",
}


def column_sql(vendor: str, kind: str, key: str, column: str = CUSTOM) -> str:
    """The expression of a field's value.

    Args:
        key: letters, digits and underscores alone, which the definition sees to.
        column: the column `custom_fields` as the statement knows it.
    """
    if vendor == "postgresql":
        names = {
            "json": f"({column} -> '{key}')",
            "text": f"({column} ->> '{key}')",
            "type": f"jsonb_typeof({column} -> '{key}')",
        }
        expressions = POSTGRESQL
    else:
        names = {
            "text": f"json_extract({column}, '$.{key}')",
            "type": f"json_type({column}, '$.{key}')",
            "amount": f"json_extract({column}, '$.{key}.amount')",
        }
        expressions = SQLITE
    template = expressions.get(kind, expressions[""])
    return template.format(column=column, key=key, beginning=BEGINNING, **names)


class NumberField(models.DecimalField):
    """Any number, as exact as the database has it."""

    def get_internal_type(self):
        # Of a DecimalField Django's SQLite rounds what it reads.
        return "CustomNumber"

    def get_db_prep_value(self, value, connection, prepared=False):
        value = self.to_python(value)
        return value if connection.vendor == "postgresql" else str(value)


OUTPUT = {
    "number": NumberField(null=True),
    "money": NumberField(null=True),
    "boolean": models.BooleanField(null=True),
    "multi_choice": TagsField(null=True),
}
TEXT = models.TextField(null=True)


class CustomColumn(models.Func):
    """The value of a custom field in a query."""

    arity = 1

    def __init__(self, *source, key: str, kind: str, **extra):
        self.key, self.kind = key, kind
        extra.setdefault("output_field", OUTPUT.get(kind, TEXT))
        super().__init__(*(source or (CUSTOM,)), **extra)

    def as_sql(self, compiler, connection, **context):
        column, _ = compiler.compile(self.source_expressions[0])
        return column_sql(connection.vendor, self.kind, self.key, column), []


def alias(field, whole=False) -> str:
    """The name of a field's column in a query."""
    return f"custom_{field.pk.hex}{'_whole' if whole else ''}"


def column(field) -> CustomColumn:
    return CustomColumn(key=field.key, kind=field.kind)


# Filters


class DayFilter(filters.DateFilter):
    """Days are kept as texts, whose order is theirs."""

    def filter(self, queryset, value):
        if isinstance(value, datetime.date):
            value = value.isoformat()
        return super().filter(queryset, value)


class DayInFilter(InFilter, filters.DateFilter):
    def filter(self, queryset, value):
        return super().filter(queryset, value and [day.isoformat() for day in value])


class PersonIdFilter(PersonFilter):
    def filter(self, queryset, value):
        if value == "me":
            value = self.parent.request.user.pk
        return super().filter(queryset, value and str(value))


class PersonIdInFilter(UUIDInFilter):
    def filter(self, queryset, value):
        return super().filter(queryset, value and [str(one) for one in value])


def filter_of(field, lookup: str) -> filters.Filter | None:
    """The filter of a custom field for a look-up, "" for equality, if it has it."""
    name = alias(field)
    if lookup == "isnull":
        return YesNoFilter(name, "isnull")
    match field.kind:
        case "number" | "money":
            bounds = {"min_value": -MAX_NUMBER, "max_value": MAX_NUMBER}
            if lookup == "in":
                return NumberInFilter(name, **bounds)
            if lookup in ("", *RANGE):
                return filters.NumberFilter(name, lookup or "exact", **bounds)
        case "date":
            if lookup == "in":
                return DayInFilter(name)
            if lookup in ("", *RANGE):
                return DayFilter(name, lookup or "exact")
        case "boolean" if not lookup:
            return YesNoFilter(name)
        case "multi_choice" if not lookup:
            return filters.CharFilter(name, "has")
        case "user" if lookup in ("", "in"):
            return PersonIdInFilter(name) if lookup else PersonIdFilter(name)
        case "choice" | "text" | "link" if lookup in ("", "in"):
            # What is shorter than the beginning of a text is all of it.
            limit = {"max_length": BEGINNING - 1}
            return (
                CharInFilter(name, **limit)
                if lookup
                else filters.CharFilter(name, **limit)
            )
        case "text" | "link" if lookup == "icontains":
            return filters.CharFilter(alias(field, whole=True), "icontains")
    return None


def asked(fields: dict, names) -> tuple[dict, dict]:
    """The filters among these parameters, and the columns that they ask.

    Args:
        fields: the definitions by key.
        names: of parameters of the list.
    """
    found, columns = {}, {}
    for name in names:
        if not name.startswith(PREFIX):
            continue
        key, separator, lookup = name.removeprefix(PREFIX).partition("__")
        field = fields.get(key)
        is_known = field and bool(separator) == bool(lookup)
        made = filter_of(field, lookup) if is_known else None
        if made:
            found[name] = made
            columns[alias(field)] = column(field)
            if made.field_name == alias(field, whole=True):
                columns[made.field_name] = CustomColumn(key=key, kind=WHOLE_TEXT)
    return found, columns


def sortable(fields: dict) -> dict:
    """The definitions that a list can be ordered by, by their name in `ordering`."""
    return {f"{PREFIX}{k}": f for k, f in fields.items() if KINDS[f.kind].is_sortable}
