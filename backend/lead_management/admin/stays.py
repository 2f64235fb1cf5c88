from core.access import hidden_fields
from core.admin.timeline import TimelineAdmin
from lead_management import stays


class StaysAdmin(TimelineAdmin):
    """Tells of a record how long it was in each status, or stage, too."""

    change_form_after_template = "lead_management/admin/stays.html"

    def told_of(self, request, record):
        hidden = hidden_fields(request.user, record.record_type())
        return {
            **super().told_of(request, record),
            "place": record.place,
            "stays": stays.told(record, hidden),
        }
