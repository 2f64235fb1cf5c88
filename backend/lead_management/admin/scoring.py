from django.contrib import admin, messages
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from rest_framework.exceptions import APIException

from core import access
from core.admin import JournaledAdmin, JournaledForm
from core.origin import origin
from core.problems import from_django, sentences
from lead_management.models import ScoringModel
from lead_management.scoring import publication, simulation


class ScoringModelForm(JournaledForm):
    def _update_errors(self, errors):
        """What is wrong with one rule stands at the list of them, with its place."""
        told = {}
        for name, found in getattr(errors, "error_dict", {}).items():
            field, _, place = name.partition(".")
            for error in found:
                text = f"{place}: {error.messages[0]}" if place else error.messages[0]
                known = field if field in self.fields else NON_FIELD_ERRORS
                told.setdefault(known, []).append(ValidationError(text, error.code))
        super()._update_errors(ValidationError(told) if told else errors)


@admin.register(ScoringModel)
class ScoringModelAdmin(JournaledAdmin):
    """Drafts are written, simulated and published here; what was published stays."""

    form = ScoringModelForm
    change_form_after_template = "lead_management/admin/scoring_model.html"
    list_display = ("number", "name", "status", "published_at", "updated_at")
    list_display_links = ("number", "name")
    list_filter = ("status",)
    readonly_fields = ("number", "status", "published_at")
    actions = ("simulate_selected", "publish_selected")
    fields = (
        ("name", "number"),
        ("status", "published_at"),
        ("description",),
        ("rules",),
        ("fit_cap", "engagement_cap", "half_life_days"),
        ("grades",),
    )

    def has_change_permission(self, request, obj=None):
        is_draft = obj is None or obj.status == ScoringModel.Status.DRAFT
        return is_draft and super().has_change_permission(request, obj)

    def has_delete_permission(self, request, obj=None):
        return False

    def change_view(self, request, object_id, form_url="", extra_context=None):
        model = self.get_object(request, object_id)
        extra_context = {
            **(extra_context or {}),
            "simulation": model and model.simulation,
        }
        return super().change_view(request, object_id, form_url, extra_context)

    @admin.action(description="Simulate the selected", permissions=("change",))
    def simulate_selected(self, request, queryset):
        for model in self._changeable(request, queryset):
            simulation.start(request.user, model, **origin(request))
            text = f"{model} is being simulated: its page will tell."
            messages.success(request, text)

    @admin.action(description="Publish the selected", permissions=("change",))
    def publish_selected(self, request, queryset):
        for model in self._changeable(request, queryset):
            try:
                with self.change_set(request) as changes:
                    publication.start(changes, model, **origin(request))
            except (APIException, ValidationError) as error:
                if isinstance(error, ValidationError):
                    error = from_django(error)
                for detail in sentences(error):
                    messages.error(request, f"{model}: {detail}")
            else:
                messages.success(request, f"{model} is being published: see jobs.")

    @staticmethod
    def _changeable(request, queryset):
        models = ScoringModel.objects.filter(pk__in=queryset.values("pk"))
        return [
            model
            for model in models.select_related("organization")
            if access.reaches(request.user, model, access.Verb.EDIT)
        ]
