"""The page that converts a lead: it says what would happen, and does it."""

from django import forms
from django.contrib import messages
from django.contrib.admin.widgets import AutocompleteSelect
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError as InvalidRecord
from django.db import IntegrityError
from django.http import HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from rest_framework.exceptions import APIException
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from core.concealment import conceal
from core.fields import TagsInput
from core.models import ChangeSet
from core.origin import origin
from core.problems import from_django, sentences
from lead_management.conversion import TYPES, Conversion, convert, told
from lead_management.models import CONVERTED_INTO, Lead, Pipeline
from lead_management.serializers import ConversionInput

# The relations that a preview tells, beside all other fields.
TOLD_RELATIONS = ("owner", "stage")


def yes_or_no(label: str) -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False, widget=UnfoldBooleanWidget)


class ConversionForm(forms.Form):
    """What the lead is to become; `body` is that in the words of the API."""

    contact = forms.ModelChoiceField(
        None, required=False, help_text="Blank: a new contact."
    )
    company = forms.ModelChoiceField(None, required=False)
    new_company = yes_or_no("A new company")
    deal = forms.ModelChoiceField(None, required=False)
    new_deal = yes_or_no("A new deal")
    match = yes_or_no(
        "Take the contact with the same e-mail address, and the company with the same"
        " domain, if they are there"
    )
    deal_name = forms.CharField(
        label="Name of the new deal",
        required=False,
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text="Blank: that of the company or the lead.",
    )
    pipeline = forms.ModelChoiceField(
        None,
        label="Pipeline of the new deal",
        required=False,
        empty_label="the first one",
        widget=UnfoldAdminSelectWidget,
    )
    owner = forms.ModelChoiceField(
        None,
        label="Owner of what is new",
        required=False,
        empty_label="that of the lead",
        widget=UnfoldAdminSelectWidget,
    )
    overwrite = TagsInput(
        label="Fields of the contact to overwrite",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Separated by commas. Others are filled where they are empty.",
    )
    reason = forms.CharField(
        required=False, max_length=500, widget=UnfoldAdminTextInputWidget
    )

    def __init__(self, *args, user, site, **kwargs):
        super().__init__(*args, **kwargs)
        for name, model in TYPES.items():
            field = self.fields[name]
            field.queryset = model.objects.visible_to(user)
            field.label_from_instance = lambda one: str(conceal(one, user))
            relation = Lead._meta.get_field(CONVERTED_INTO[name])
            field.widget = AutocompleteSelect(relation, site)
            field.widget.choices = field.choices
        self.fields["pipeline"].queryset = Pipeline.objects.visible_to(user)
        people = get_user_model().objects.visible_to(user).filter(is_active=True)
        self.fields["owner"].queryset = people

    def clean(self):
        cleaned = super().clean()
        for name in TYPES:
            if name in self.errors:
                # The widget would look it up, whatever was sent as an id.
                self.data = {**self.data.dict(), name: ""}
        for name in ("company", "deal"):
            if cleaned.get(name) and cleaned.get(f"new_{name}"):
                self.add_error(name, "Choose one, or a new one.")
        return cleaned

    def body(self) -> dict:
        """What the form asks, as it would be sent to the API."""
        chosen = self.cleaned_data
        body: dict = {"reason": chosen["reason"], "contact": {}}
        for name in TYPES:
            if chosen[name]:
                body[name] = {"id": str(chosen[name].pk)}
            elif chosen.get(f"new_{name}"):
                body[name] = {}
        if chosen["match"]:
            for name in ("contact", "company"):
                if body.get(name) == {}:
                    body[name] = {"match": True}
        if chosen["overwrite"]:
            body["contact"]["overwrite"] = chosen["overwrite"]
        if chosen["new_deal"] and chosen["deal_name"]:
            body["deal"]["values"] = {"name": chosen["deal_name"]}
        if chosen["new_deal"] and chosen["pipeline"]:
            body["deal"]["pipeline"] = str(chosen["pipeline"].pk)
        if chosen["owner"]:
            body["owner"] = str(chosen["owner"].pk)
        return body


class ConversionPage:
    """For the admin of leads: the page, and what a lead was converted into."""

    actions_detail = ("convert_page",)

    def has_convert_permission(self, request, object_id=None):
        lead = self.get_object(request, object_id)
        locked = self.field_rights(request).locked
        return bool(
            lead
            and "status" not in locked
            and self.has_change_permission(request, lead)
        )

    @action(description="Convert", url_path="convert", permissions=["convert"])
    def convert_page(self, request, object_id):
        lead = self.get_object(request, object_id)
        data = request.POST if request.method == "POST" else None
        form = ConversionForm(data, user=request.user, site=self.admin_site)
        preview = None
        if form.is_valid():
            is_trial = "convert" not in request.POST
            try:
                preview = self._convert(request, lead, form.body(), is_trial)
            except (APIException, InvalidRecord) as refusal:
                if isinstance(refusal, InvalidRecord):
                    refusal = from_django(refusal)
                for sentence in sentences(refusal):
                    messages.error(request, sentence)
            except IntegrityError:
                text = "Somebody just took a value that must be unique."
                messages.error(request, text)
            else:
                if not is_trial:
                    text = "Converted. The list of change sets can undo it."
                    messages.success(request, text)
                    return HttpResponseRedirect(self._page_of(lead))
        context = {
            **self.admin_site.each_context(request),
            "title": f"Convert {lead}",
            "opts": self.opts,
            "form": form,
            "media": self.media + form.media,
            "preview": preview,
            "back": self._page_of(lead),
        }
        return TemplateResponse(request, "lead_management/admin/convert.html", context)

    def _convert(self, request, lead: Lead, body: dict, is_trial: bool) -> dict:
        """Convert the lead, or try to; what became of it, to be shown."""
        asked = ConversionInput(data=body, context={"request": request})
        asked.is_valid(raise_exception=True)
        values = asked.validated_data
        with ChangeSet.open(
            actor=request.user,
            source=ChangeSet.Source.CONVERSION,
            trial=is_trial,
            **origin(request),
        ) as changes:
            conversion = convert(
                changes,
                self._stored(lead),
                asked.wishes,
                values.get("owner"),
                values["reason"],
            )
        return shown(conversion, told({}, conversion, changes), request.user)

    @staticmethod
    def _page_of(record) -> str:
        opts = record._meta
        name = f"admin:{opts.app_label}_{opts.model_name}_change"
        return reverse(name, args=[record.pk])

    def became(self, request, lead: Lead) -> list[dict]:
        """What a lead was converted into, as far as the user sees it."""
        hidden = self.field_rights(request).hidden
        found = []
        for name, model in TYPES.items():
            field = CONVERTED_INTO[name]
            pk = getattr(lead, f"{field}_id")
            rows = model.objects.visible_to(request.user)
            record = rows.filter(pk=pk).first() if pk and field not in hidden else None
            if record:
                text = str(conceal(record, request.user))
                page = self._page_of(record)
                found.append({"kind": name, "text": text, "page": page})
        return found


def in_words(value):
    """A field's value for the page; tags in one line, as their form field has them."""
    is_names = isinstance(value, list) and all(isinstance(v, str) for v in value)
    return ", ".join(value) if is_names else value


def shown(conversion: Conversion, answer: dict, user) -> dict:
    """A conversion in words and values, for the page."""
    targets = []
    for name, outcome in conversion.outcomes.items():
        record, told_of = outcome.record, answer[name]
        rows = []
        for field_name, value in told_of["after"].items():
            field = record._meta.get_field(field_name)
            before = told_of["before"].get(field_name)
            if field_name in TOLD_RELATIONS:
                before, value = None, getattr(record, field_name)
            elif field.is_relation or not field.editable:
                continue
            rows.append((field.verbose_name, in_words(before), in_words(value)))
        title = ""
        if not outcome.is_new:
            # As it is stored: after a trial, with the name by which people know it.
            stored = type(record).objects.get(pk=record.pk)
            title = str(conceal(stored, user))
        targets.append({"kind": name, "title": title, "rows": rows})
    return {"targets": targets, "activities": answer["activities"]}
