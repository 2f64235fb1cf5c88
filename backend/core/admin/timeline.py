"""The timeline at the foot of a record's page in the admin."""

from core.timeline import Timeline

SHOWN_ENTRIES = 50


class TimelineAdmin:
    """For a `RecordAdmin`: what was changed, and what happened, the newest first."""

    change_form_after_template = "core/admin/timeline.html"

    def change_view(self, request, object_id, form_url="", extra_context=None):
        record = self.get_object(request, object_id)
        if record:
            extra_context = {
                **(extra_context or {}),
                **self.told_of(request, record),
            }
        return super().change_view(request, object_id, form_url, extra_context)

    def told_of(self, request, record) -> dict:
        """What the foot of the page tells, by the names of its template."""
        return {"timeline": Timeline(record, request.user).newest(SHOWN_ENTRIES)}
