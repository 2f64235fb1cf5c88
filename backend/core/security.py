"""Writing down security events."""

import logging

from django.db import Error, transaction

from core.jsonvalues import storable
from core.models import SecurityEvent
from core.origin import origin

TEXT_LENGTH = 300

logger = logging.getLogger(__name__)


def note(
    request,
    kind: str,
    user=None,
    *,
    record_type="",
    record_id=None,
    came_from: dict | None = None,
    **detail,
):
    """Write an event down; never fail because of it.

    To be called outside the request's transaction: what this takes back, it takes back
    with it.

    Args:
        request: where it came from; None outside of requests.
        user: who did it, if they are known.
        came_from: the `origin` of the request of before that it belongs to.
        detail: texts to keep, without secrets; cut where they are long.
    """
    texts = {name: storable(str(text), TEXT_LENGTH) for name, text in detail.items()}
    try:
        # In a block of its own: within another, a failure does not break that.
        with transaction.atomic():
            SecurityEvent.objects.create(
                organization_id=user and user.organization_id,
                user=user,
                api_key=user and user.api_key,
                kind=kind,
                record_type=record_type,
                record_id=record_id,
                detail=texts,
                **(origin(request) if request else came_from or {}),
            )
    except Error:
        logger.exception("A security event could not be written: %s %s", kind, user)


def note_refusal(request, view, detail: str) -> None:
    """Write down that somebody who is signed in may not do what they asked for."""
    if not request.user.is_authenticated:
        return
    note(
        request,
        SecurityEvent.Kind.REFUSED,
        request.user,
        record_type=getattr(view, "record_type", ""),
        record_id=view.kwargs.get("pk"),
        method=request.method,
        path=request.path,
        reason=detail,
    )
