"""The stays of one lead or deal, in its statuses or stages, as they are told."""

from django.utils import timezone

from core.history import summary_of
from lead_management.models import Deal, Lead, Stage


def told(record: Lead | Deal, hidden: frozenset[str]) -> list[dict]:
    """The first one first, the last of them the present one.

    Args:
        hidden: fields of the record that the reader does not see. Without the place
            nothing is told.
    """
    place, why = record.place, record.stays.model.why
    if place in hidden:
        return []
    now = timezone.now()
    related = ("ended_by", *(["stage"] if place == "stage" else []))
    rows = [
        (getattr(s, place), s.reason, s.entered_at, s.left_at, s.ended_by)
        for s in record.stays.select_related(*related).order_by("entered_at")
    ]
    since = getattr(record, f"{place}_since")
    rows.append((getattr(record, place), getattr(record, why), since, None, None))
    return [
        {
            place: shown(where),
            "reason": "" if why in hidden else reason,
            "entered_at": entered_at,
            "left_at": left_at,
            "seconds": ((left_at or now) - entered_at).total_seconds(),
            "ended_by": summary_of(ended_by),
        }
        for where, reason, entered_at, left_at, ended_by in rows
    ]


def shown(where: str | Stage) -> str | dict:
    if isinstance(where, Stage):
        return {name: getattr(where, name) for name in Stage.summary_fields}
    return where
