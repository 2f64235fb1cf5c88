"""Custom fields in the admin: one form field for each definition."""

import datetime
from decimal import Decimal

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminDateWidget,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from core import access
from core.custom_fields.definitions import (
    Definitions,
    definitions_of,
    is_blank,
    is_same,
    merged,
)
from core.custom_fields.kinds import KINDS, People, number_of
from core.custom_fields.list_filters import list_filters
from core.field_rights import CUSTOM, PREFIX, without_keys

BLANK_CHOICE = ("", "---------")
YES_NO = (BLANK_CHOICE, ("true", "Yes"), ("false", "No"))


class CellField(forms.CharField):
    """A value that is typed as it would stand in the cell of a file."""

    def __init__(self, *, field, people, **kwargs):
        self.field, self.people = field, people
        super().__init__(**kwargs)

    def to_python(self, value):
        text = super().to_python(value)
        return (
            KINDS[self.field.kind].read(text, self.field, self.people) if text else ""
        )

    def prepare_value(self, value):
        if isinstance(value, str) or is_blank(value):
            return value
        return KINDS[self.field.kind].shown(value, self.field, self.people)

    def has_changed(self, initial, data):
        try:
            return not is_same(self.to_python(data), initial)
        except ValidationError:
            return True


class NumberField(forms.DecimalField):
    def to_python(self, value):
        number = super().to_python(value)
        return number_of(number) if isinstance(number, Decimal) else number

    def validate(self, value):
        # Its bounds are the kind's to know.
        forms.Field.validate(self, value)

    def run_validators(self, value):
        pass


class DayField(forms.DateField):
    def to_python(self, value):
        day = super().to_python(value)
        return day.isoformat() if isinstance(day, datetime.date) else day


def form_field(field, definitions: Definitions, value) -> forms.Field:
    """The form field of a definition.

    Args:
        value: what stands in the record: no longer offered, it still can be chosen.
    """
    kwargs = {"label": field.label, "required": False}
    match field.kind:
        case "number":
            return NumberField(widget=UnfoldAdminDecimalFieldWidget, **kwargs)
        case "date":
            return DayField(widget=UnfoldAdminDateWidget, **kwargs)
        case "boolean":
            return forms.TypedChoiceField(
                choices=YES_NO,
                coerce=lambda text: text == "true",
                widget=UnfoldAdminSelectWidget,
                **kwargs,
            )
        case "choice":
            choices = offered(field.labels(), [value])
            return forms.ChoiceField(
                choices=[BLANK_CHOICE, *choices],
                widget=UnfoldAdminSelectWidget,
                **kwargs,
            )
        case "multi_choice":
            return forms.MultipleChoiceField(
                choices=offered(
                    field.labels(), value if isinstance(value, list) else ()
                ),
                widget=UnfoldAdminSelectMultipleWidget,
                **kwargs,
            )
        case "user":
            emails = definitions.people.emails
            return forms.ChoiceField(
                choices=[BLANK_CHOICE, *offered(emails, [value])],
                widget=UnfoldAdminSelectWidget,
                **kwargs,
            )
    if field.kind == "money":
        kwargs["help_text"] = "An amount and a currency, such as 12.50 EUR."
    return CellField(
        field=field,
        people=People(),
        widget=UnfoldAdminTextInputWidget,
        **kwargs,
    )


def offered(labels: dict[str, str], current) -> list[tuple[str, str]]:
    kept = {one: one for one in current if isinstance(one, str) and one}
    return list({**kept, **labels}.items())


def form_fields(model, user, record=None) -> dict[str, forms.Field]:
    """The form fields of the custom fields that a user sees, by name.

    There are none while the record type has no definitions: it is any JSON then.
    """
    rights = access.field_rights(user, model.record_type())
    if not {CUSTOM}.isdisjoint(rights.locked):
        return {}
    definitions = definitions_of(user.organization, model.record_type())
    values = record.custom_fields if record else {}
    made = {}
    for key, field in without_keys(definitions.current, rights.hidden_keys).items():
        made[f"{PREFIX}{key}"] = form_field(field, definitions, values.get(key))
        made[f"{PREFIX}{key}"].disabled = key in rights.locked_keys
    return made


class CustomFieldsForm:
    """Shows each custom field by itself, and puts them together again."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        for key, value in self.instance.custom_fields.items():
            if isinstance(value, bool):
                value = "true" if value else "false"
            self.initial.setdefault(f"{PREFIX}{key}", value)

    @property
    def changed_data(self):
        names = super().changed_data
        return [*names, CUSTOM] if any(n.startswith(PREFIX) for n in names) else names

    def clean(self):
        cleaned = super().clean()
        sent = {
            name.removeprefix(PREFIX): self.cleaned_data[name]
            for name in super().changed_data
            if name.startswith(PREFIX) and name in self.cleaned_data
        }
        blank = {key: None for key, value in sent.items() if is_blank(value)}
        self.instance.custom_fields = merged(
            self.instance.custom_fields, {**sent, **blank}
        )
        return cleaned


class CustomFieldsAdmin:
    """The pages of records: a form field for each custom field that is defined.

    Their lists can be filtered by those whose values can be listed.
    """

    def get_list_filter(self, request):
        custom = list_filters(self.model, request.user)
        return (*super().get_list_filter(request), *custom)

    def _custom_fields(self, request, obj) -> dict[str, forms.Field]:
        may = self.has_change_permission if obj else self.has_add_permission
        allowed = may(request, obj) if obj else may(request)
        return form_fields(self.model, request.user, obj) if allowed else {}

    def get_form(self, request, obj=None, change=False, **kwargs):
        fields = self._custom_fields(request, obj)
        if fields:
            kwargs["form"] = type(
                "CustomFieldsForm", (CustomFieldsForm, self.form), fields
            )
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request, obj=None):
        fieldsets = super().get_fieldsets(request, obj)
        fields = self._custom_fields(request, obj)
        if not fields:
            return fieldsets
        shown = []
        for title, options in fieldsets:
            lines = [
                tuple(name for name in line if name != CUSTOM and name not in fields)
                for line in (
                    line if isinstance(line, tuple | list) else (line,)
                    for line in options["fields"]
                )
            ]
            shown.append((title, {**options, "fields": [one for one in lines if one]}))
        # The last of them holds the version that is shown.
        return [*shown[:-1], ("Custom fields", {"fields": list(fields)}), shown[-1]]


class ChoicesField(forms.CharField):
    """The choices of a definition, one a line: its value, and after | its label."""

    widget = UnfoldAdminTextareaWidget

    def __init__(self, *args, encoder=None, decoder=None, **kwargs):
        kwargs["help_text"] = (
            "One a line: the value that records keep, |, and the label that people see."
        )
        super().__init__(*args, **kwargs)

    def prepare_value(self, value):
        if not isinstance(value, list):
            return value
        return "\n".join(f"{choice['value']} | {choice['label']}" for choice in value)

    def to_python(self, value):
        choices = []
        for line in (value or "").splitlines():
            choice, _, label = (part.strip() for part in line.partition("|"))
            if choice or label:
                choices.append({"value": choice, "label": label or choice})
        return choices

    def validate(self, value):
        # An empty list is one.
        pass

    def run_validators(self, value):
        pass

    def has_changed(self, initial, data):
        return (initial or []) != self.to_python(data)
