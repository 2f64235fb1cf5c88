"""What the owners of leads and tasks are reminded of.

Each search takes what came due lately and was not told before: it does not matter how
often it runs, or whether a run was missed.
"""

from collections.abc import Iterable
from datetime import timedelta

from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from core.models import Notification, Organization
from core.notifications import SENTENCES, notify
from lead_management.models import Activity, Lead, LeadProcess
from lead_management.touches import waiting

SENTENCES.update(
    follow_up_due="It is time to follow up on {subject}",
    task_reminder="A reminder of {subject}",
    task_due="Due now: {subject}",
    lead_untouched="Nobody has touched {subject} for long",
)
# What came due before is no news: it may have been imported.
LATELY = timedelta(days=7)


def remind_of_dates() -> int:
    """Tell owners of follow-ups and tasks that are due; how many are new."""
    now = timezone.now()
    lately = (now - LATELY, now)
    leads = Lead.objects.exclude(status=Lead.Status.CONVERTED)
    tasks = Activity.objects.filter(kind=Activity.Kind.TASK, done_at=None)
    count = 0
    for organization in Organization.objects.all():
        for code, rows, moment in (
            ("follow_up_due", leads, "next_follow_up_at"),
            ("task_reminder", tasks, "reminder_at"),
            ("task_due", tasks, "due_at"),
        ):
            due = rows.filter(**{f"{moment}__range": lately})
            count += notify(found(organization, code, due, moment))
    return count


def remind_of_silence() -> int:
    """Tell owners of open leads that nobody touched for long; how many are new."""
    now = timezone.now()
    leads = waiting(Lead.objects.all())
    count = 0
    for organization in Organization.objects.all():
        days = LeadProcess.of(organization).untouched_after_days
        if days is None:
            continue
        limit = now - timedelta(days=days)
        silent = leads.filter(touched__range=(limit - LATELY, limit))
        count += notify(found(organization, "lead_untouched", silent, "touched"))
    return count


def found(
    organization: Organization, code: str, rows: QuerySet, moment: str
) -> Iterable[Notification]:
    """A notification for the owner of each row, about this moment of it.

    None of what they were told: that is soon much more than what is new.
    """
    rows = rows.live().filter(organization=organization, owner__is_active=True)
    told = Notification.objects.filter(
        user=OuterRef("owner"),
        code=code,
        subject_id=OuterRef("pk"),
        at=OuterRef(moment),
    )
    rows = rows.exclude(Exists(told))
    values = rows.values_list("pk", "owner_id", F(moment)).order_by("pk")
    for pk, owner, at in values.iterator():
        yield Notification(
            organization=organization,
            user_id=owner,
            event=Notification.Event.REMINDER,
            code=code,
            subject_type=rows.model.record_type(),
            subject_id=pk,
            at=at,
        )
