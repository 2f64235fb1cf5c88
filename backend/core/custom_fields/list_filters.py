"""Custom fields as filters of the admin's lists."""

from django.contrib import admin

from core.custom_fields.columns import alias, column
from core.custom_fields.definitions import definitions_of, shown_to

YES_NO = {"true": "Yes", "false": "No"}


class CustomFieldFilter(admin.SimpleListFilter):
    """Made for each definition whose values can be listed.

    Attributes:
        field: the definition.
        labels: what people call the values.
    """

    field = None
    labels: dict[str, str] = {}

    def lookups(self, request, model_admin):
        return list(self.labels.items())

    def queryset(self, request, queryset):
        value = self.value()
        if value is None:
            return queryset
        if value not in self.labels:
            return queryset.none()
        name = alias(self.field)
        lookup = "has" if self.field.kind == "multi_choice" else "exact"
        asked = value == "true" if self.field.kind == "boolean" else value
        queryset = queryset.alias(**{name: column(self.field)})
        return queryset.filter(**{f"{name}__{lookup}": asked})


def list_filters(model, user) -> list[type[CustomFieldFilter]]:
    """One for each choice, yes or no, and user among the fields that the user sees."""
    made = []
    for name, field in shown_to(user, model.record_type()).items():
        if field.kind == "boolean":
            labels = YES_NO
        elif field.kind == "user":
            people = definitions_of(user.organization, model.record_type()).people
            labels = people.emails
        else:
            labels = field.labels()
        if labels:
            attributes = {
                "title": field.label,
                "parameter_name": f"custom_fields.{name}",
                "field": field,
                "labels": labels,
            }
            made.append(type("OneCustomFieldFilter", (CustomFieldFilter,), attributes))
    return made
