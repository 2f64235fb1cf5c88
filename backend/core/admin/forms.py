"""Forms of rows whose every change is journalled."""

from django import forms
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from rest_framework.exceptions import ParseError

from core.concealment import RevealedForm
from core.parsers import loads


class JournaledForm(RevealedForm, forms.ModelForm):
    """Knows the version it shows, so that a save never overwrites somebody's work."""

    shown_version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.fields["shown_version"].initial = self.instance.version
        for name, field in self.fields.items():
            if isinstance(field, forms.ModelChoiceField):
                self._keep_unseen(name, field)

    def _keep_unseen(self, name, field):
        """A relation to what the user may not see stays, without a word about it."""
        current = getattr(self.instance, f"{name}_id", None)
        if current is None or field.queryset.filter(pk=current).exists():
            return
        field.queryset = field.queryset.model._base_manager.filter(pk=current)
        field.label_from_instance = lambda other: "(not yours to see)"
        field.disabled = True

    def clean(self):
        shown = self.cleaned_data.get("shown_version")
        if not self.instance._state.adding and shown != self.instance.version:
            raise forms.ValidationError(
                "Somebody changed this in the meantime. Reload the page and try again.",
                code="stale",
            )
        return super().clean()

    def _get_validation_exclusions(self):
        """Unique values stand on these two, though they are no fields of the form."""
        return super()._get_validation_exclusions() - {"organization", "deleted_at"}


class RecordSelect(AutocompleteSelect):
    """Shows no choice for what is no id, which Django would look for and fail."""

    def optgroups(self, name, value, attr=None):
        ids = [one for one in value if self._is_id(one)]
        return super().optgroups(name, ids, attr)

    def _is_id(self, text) -> bool:
        try:
            self.choices.queryset.model._meta.pk.to_python(text)
        except ValidationError:
            return False
        return True


class StrictJSONField(forms.JSONField):
    """JSON in a form, as strict as the API about it."""

    def to_python(self, value):
        if value in self.empty_values or not isinstance(value, str):
            return super().to_python(value)
        try:
            return loads(value.encode())
        except ParseError as error:
            raise forms.ValidationError(str(error.detail), code="invalid") from None

    def bound_data(self, data, initial):
        """What was typed, as it was typed: it may be no JSON at all."""
        return InvalidJSONInput(data) if data is not None else data

    def has_changed(self, initial, data):
        try:
            return self.to_python(data) != initial
        except forms.ValidationError:
            return True
