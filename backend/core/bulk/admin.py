"""Bulk changes in the admin: an action on the list of every record type."""

from django import forms
from django.contrib import admin, messages
from django.http import HttpResponseRedirect
from django.template.response import TemplateResponse
from rest_framework import serializers
from rest_framework.exceptions import APIException, ValidationError
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from core.bulk import job as bulk_job
from core.bulk.serializers import change_serializer
from core.fields import TagsInput
from core.origin import origin
from core.problems import sentences
from core.routers import view_of
from core.serializers import AutoAssignField, VisibleRelatedField

MAX_SELECTED = 100_000


def bulk_form(model, user) -> type[forms.Form]:
    """A form of the changes that records of this type can take in bulk."""
    fields = {}
    for name, field in change_serializer(view_of(model))().fields.items():
        if isinstance(field, VisibleRelatedField):
            fields[name] = forms.ModelChoiceField(
                field.queryset.model.objects.visible_to(user),
                required=False,
                widget=UnfoldAdminSelectWidget,
            )
        elif isinstance(field, serializers.ListField):
            fields[name] = TagsInput(
                required=False,
                widget=UnfoldAdminTextInputWidget,
                help_text="Separated by commas.",
            )
        elif isinstance(field, serializers.BooleanField | AutoAssignField):
            fields[name] = forms.BooleanField(
                required=False, widget=UnfoldBooleanWidget
            )
    return type(f"{model.__name__}BulkForm", (forms.Form,), fields)


def asked_change(form: forms.Form) -> dict:
    """The change of a valid form, as the API takes it."""
    return {
        name: str(value.pk) if hasattr(value, "pk") else value
        for name, value in form.cleaned_data.items()
        if value
    }


class BulkChangeMixin:
    """A page that asks what to change, and submits the job that does it."""

    @admin.action(description="Change the selected in bulk", permissions=("view",))
    def change_in_bulk(self, request, queryset):
        form_class = bulk_form(self.model, request.user)
        asked = "apply" in request.POST or "dry_run" in request.POST
        form = form_class(request.POST if asked else None)
        live = queryset.live().order_by()
        if asked and form.is_valid():
            try:
                self._start(request, live, asked_change(form))
            except APIException as refusal:
                for detail in sentences(refusal):
                    messages.error(request, detail)
            else:
                return HttpResponseRedirect(request.get_full_path())
        context = {
            **self.admin_site.each_context(request),
            "title": "Change in bulk",
            "opts": self.opts,
            "action": "change_in_bulk",
            "form": form,
            "count": live.count(),
            "selected": request.POST.getlist("_selected_action"),
            "select_across": request.POST.get("select_across", "0"),
        }
        return TemplateResponse(request, "core/admin/bulk.html", context)

    def _start(self, request, live, change: dict) -> None:
        ids = [str(pk) for pk in live.values_list("pk", flat=True)[: MAX_SELECTED + 1]]
        if not 0 < len(ids) <= MAX_SELECTED:
            raise ValidationError(f"Select 1 to {MAX_SELECTED:,} records.")
        dry_run = "dry_run" in request.POST
        bulk_job.start(
            request.user,
            self.model,
            {"ids": ids},
            change,
            dry_run=dry_run,
            **origin(request),
        )
        done = "tried" if dry_run else "changed"
        text = f"{len(ids)} records are being {done}: the list of jobs has the result."
        messages.success(request, text)
