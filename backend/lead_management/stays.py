"""The stays of one lead in its statuses, as they are told."""

from django.utils import timezone

from core.history import summary_of
from lead_management.models import Lead


def told(lead: Lead, hidden: frozenset[str]) -> list[dict]:
    """The first one first, the last of them the present one.

    Args:
        hidden: fields of leads that the reader does not see. Without the status
            nothing is told.
    """
    if "status" in hidden:
        return []
    now = timezone.now()
    rows = [
        (s.status, s.reason, s.entered_at, s.left_at, s.ended_by)
        for s in lead.stays.select_related("ended_by").order_by("entered_at")
    ]
    rows.append((lead.status, lead.status_reason, lead.status_since, None, None))
    return [
        {
            "status": status,
            "reason": "" if "status_reason" in hidden else reason,
            "entered_at": entered_at,
            "left_at": left_at,
            "seconds": ((left_at or now) - entered_at).total_seconds(),
            "ended_by": summary_of(ended_by),
        }
        for status, reason, entered_at, left_at, ended_by in rows
    ]
