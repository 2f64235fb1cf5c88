"""Telling people of what they should know, as they chose to be told."""

from collections.abc import Iterable
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.utils import timezone

from core.batches import batched
from core.models import Notification

IN_APP = "in_app"
AT_ONCE = 500
KEPT_DAYS = 90


def notify(notifications: Iterable[Notification]) -> int:
    """Keep the notifications that their users want to see; how many are new.

    What was told before, with the same code, record and moment, is not told again.
    """
    count = 0
    for some in batched(notifications, AT_ONCE):
        users = get_user_model().objects.in_bulk({n.user_id for n in some})
        known = Notification.objects.filter(
            user__in=users, subject_id__in={n.subject_id for n in some}
        )
        told = set(known.values_list("user_id", "code", "subject_id", "at"))
        new = [
            n
            for n in some
            if users[n.user_id].wants(n.event, IN_APP)
            and (n.user_id, n.code, n.subject_id, n.at) not in told
        ]
        # Two workers may have found the same at once.
        Notification.objects.bulk_create(new, ignore_conflicts=True)
        count += len(new)
    return count


def forget() -> None:
    """Remove what is old, read or not."""
    before = timezone.now() - timedelta(days=KEPT_DAYS)
    Notification.objects.filter(created_at__lt=before).delete()
