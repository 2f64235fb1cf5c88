"""The periodic tasks. They are the installation's, not an organization's."""

from django.contrib import admin
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

from core.access import Scope, Verb

from .scoped import ReadOnlyAdmin

for model in (
    *(ClockedSchedule, CrontabSchedule, IntervalSchedule),
    *(PeriodicTask, SolarSchedule),
):
    admin.site.unregister(model)


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(ReadOnlyAdmin):
    """What runs by itself, and when it ran last: for whoever runs the organization.

    The settings say what runs, and serve all organizations: nobody of one changes them.
    """

    list_display = ("name", "task", "schedule_told", "last_run_at", "total_run_count")
    list_select_related = ("interval", "crontab", "solar", "clocked")
    search_fields = ("name", "task")
    ordering = ("name",)
    fields = (
        *("name", "task", "schedule_told", "enabled"),
        *("last_run_at", "total_run_count", "date_changed"),
    )
    readonly_fields = ("schedule_told",)

    @admin.display(description="schedule")
    def schedule_told(self, task):
        return task.scheduler

    def get_queryset(self, request):
        return PeriodicTask.objects.all()

    def _may(self, request, action, obj=None):
        scope = request.user.scope("organization", Verb.EDIT)
        return action == "view" and scope == Scope.ALL
