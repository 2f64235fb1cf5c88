from django.contrib import admin

from core.admin import RecordAdmin
from lead_management.models import Deal, DealContact, Kind, Pipeline, Stage

from .stays import StaysAdmin


class PipelineFilter(admin.SimpleListFilter):
    title = "pipeline"
    parameter_name = "in_pipeline"

    def lookups(self, request, model_admin):
        pipelines = Pipeline.objects.visible_to(request.user).order_by("position")
        return [(str(pipeline.pk), pipeline.name) for pipeline in pipelines]

    def queryset(self, request, queryset):
        if self.value() is None:
            return queryset
        return queryset.filter(pipeline=self.value())


class StageFilter(PipelineFilter):
    title = "stage"
    parameter_name = "in_stage"

    def lookups(self, request, model_admin):
        stages = Stage.objects.visible_to(request.user).select_related("pipeline")
        return [(str(stage.pk), f"{stage.pipeline}: {stage}") for stage in stages]

    def queryset(self, request, queryset):
        if self.value() is None:
            return queryset
        return queryset.filter(stage=self.value())


class KindFilter(admin.SimpleListFilter):
    title = "outcome"
    parameter_name = "kind"

    def lookups(self, request, model_admin):
        return Kind.choices

    def queryset(self, request, queryset):
        if self.value() is None:
            return queryset
        return queryset.filter(stage__kind=self.value())


@admin.register(Deal)
class DealAdmin(StaysAdmin, RecordAdmin):
    list_display = (
        *("name", "stage", "amount", "currency", "company"),
        *("expected_close_on", "owner", "created_at"),
    )
    list_filter = (
        *(KindFilter, PipelineFilter, StageFilter),
        *("expected_close_on", "created_at"),
    )
    list_select_related = ("stage", "company", "owner")
    search_fields = ("name", "company__name")
    autocomplete_fields = ("company",)
    readonly_fields = ("pipeline", "stage_since", "version", "updated_at")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name",),
                    ("amount", "currency"),
                    ("stage", "pipeline", "stage_since"),
                    ("reason", "closed_at"),
                    ("probability", "expected_close_on"),
                    ("company", "company_name"),
                    ("owner",),
                    ("tags",),
                    ("notes",),
                )
            },
        ),
        (
            "More",
            {
                "fields": (
                    ("external_ids", "custom_fields"),
                    ("version", "updated_at"),
                )
            },
        ),
    )


@admin.register(DealContact)
class DealContactAdmin(RecordAdmin):
    list_display = ("deal", "contact", "role", "owner", "created_at")
    list_select_related = ("deal", "contact", "owner")
    autocomplete_fields = ("deal", "contact")
    search_fields = ("role", "deal__name", "contact__last_name")
