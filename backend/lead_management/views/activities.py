import datetime
from zoneinfo import ZoneInfo

import django_filters as filters
from django.db.models import Q
from django.utils import timezone

from core.filters import YesNoFilter
from core.views import RecordViewSet
from lead_management.models import Activity
from lead_management.serializers import ActivityInput


class DueFilter(filters.ChoiceFilter):
    """Open tasks by their due date, in the days of whoever asks."""

    def __init__(self):
        choices = [(c, c) for c in ("overdue", "today", "later")]
        super().__init__("due_at", choices=choices, help_text=self.__doc__)

    def filter(self, queryset, value):
        if not value:
            return queryset
        now = timezone.now()
        here = now.astimezone(ZoneInfo(self.parent.request.user.timezone))
        start = here.replace(hour=0, minute=0, second=0, microsecond=0)
        end = start + datetime.timedelta(days=1)
        due = {
            "overdue": Q(due_at__lt=now),
            "today": Q(due_at__gte=start, due_at__lt=end),
            "later": Q(due_at__gte=end),
        }
        return queryset.filter(due[value], kind=Activity.Kind.TASK, done_at=None)


class OpenFilter(YesNoFilter):
    """Tasks that are yet to be done, or all but these."""

    def filter(self, queryset, value):
        if value is None:
            return queryset
        is_open = Q(kind=Activity.Kind.TASK, done_at=None)
        return queryset.filter(is_open if value else ~is_open)


class ActivityViewSet(RecordViewSet):
    """Calls, e-mails, meetings, notes and tasks; a task is for its owner to do."""

    model = Activity
    fields = (
        *("kind", "subject", "body", "occurred_at", "duration_minutes", "outcome"),
        *("participants", "lead", "contact", "company", "deal"),
        *("due_at", "reminder_at", "done_at"),
    )
    more_filters = {"due": DueFilter(), "open": OpenFilter("done_at")}
    serializer_base = ActivityInput

    def cached(self, build, names, visibility):
        """What is due depends on the hour, so no answer about it is kept."""
        if "due" in self.request.query_params:
            return self.uncached(build)
        return super().cached(build, names, visibility)
