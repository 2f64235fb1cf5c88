from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from unfold.admin import TabularInline

from core.admin import JournaledAdmin
from lead_management.models import Pipeline, Stage, completed


class StageFormSet(forms.BaseInlineFormSet):
    """The stages of a pipeline in a form, which keeps them as one list."""

    def clean(self):
        super().clean()
        if any(self.errors):
            return
        try:
            completed(self.stages())
        except ValidationError as error:
            raise ValidationError(error.error_dict["stages"]) from None

    def stages(self) -> list[dict]:
        """The list that the form shows, in the order of its positions."""
        kept = [
            form
            for form in self.forms
            if form.cleaned_data.get("name") and not form.cleaned_data.get("DELETE")
        ]
        kept.sort(key=lambda form: form.cleaned_data["position"])
        stages = []
        for form in kept:
            names = ("name", "kind", "probability")
            stage = {name: form.cleaned_data[name] for name in names}
            if not form.instance._state.adding:
                stage["id"] = str(form.instance.pk)
            stages.append(stage)
        return stages


class StageInline(TabularInline):
    """Whoever sees or changes a pipeline sees or changes its stages."""

    model = Stage
    formset = StageFormSet
    fields = ("position", "name", "kind", "probability")
    ordering = ("position",)
    extra = 0

    def get_formset(self, request, obj=None, **kwargs):
        """Without Django's refusal to delete, which names deals that refer to a row.

        No row is deleted, and the pipeline itself knows what may be removed.
        """
        formset = super().get_formset(request, obj, **kwargs)
        unquestioned = {"hand_clean_DELETE": lambda form: None}
        formset.form = type("StageForm", (formset.form,), unquestioned)
        return formset

    def get_queryset(self, request):
        return Stage.objects.visible_to(request.user).order_by(*self.ordering)

    def has_add_permission(self, request, obj):
        return self._may(request, "change" if obj else "add", obj)

    def has_change_permission(self, request, obj=None):
        return self._may(request, "change", obj)

    def has_delete_permission(self, request, obj=None):
        return self._may(request, "change", obj)

    def has_view_permission(self, request, obj=None):
        return self._may(request, "view", obj)

    @staticmethod
    def _may(request, action, obj):
        return request.user.has_perm(f"lead_management.{action}_pipeline", obj)


@admin.register(Pipeline)
class PipelineAdmin(JournaledAdmin):
    list_display = ("name", "position", "is_active")
    ordering = ("position", "id")
    fields = (("name", "position", "is_active"),)
    inlines = (StageInline,)

    def get_fieldsets(self, request, obj=None):
        return [(None, {"fields": [*self.fields, "shown_version"]})]

    def get_inlines(self, request, obj):
        """A new one starts with stages that can be changed once it is there."""
        return self.inlines if obj else ()

    def has_delete_permission(self, request, obj=None):
        return False

    def save_model(self, request, obj, form, change):
        """A change is written with its stages, in `save_related`."""
        if not change:
            super().save_model(request, obj, form, change)

    def save_related(self, request, form, formsets, change):
        if not change:
            return
        names = [n for n in form.changed_data if n in Pipeline.journaled_fields()]
        values = {name: getattr(form.instance, name) for name in names}
        with self.change_set(request) as changes:
            pipelines = Pipeline.objects.select_for_update(of=("self",))
            pipeline = pipelines.get(pk=form.instance.pk)
            for formset in formsets:
                # Only to let Django's own log know what it holds.
                formset.save(commit=False)
                values["stages"] = formset.stages()
            changes.save(pipeline, **values)
