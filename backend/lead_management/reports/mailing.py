"""Reports by e-mail: who is due what, and what the letter says.

A schedule's slot is a day in the organization's time zone, and there is one row for it:
two Beats, a retry, clocks that jump or an hour that is changed send nothing twice. What
was missed while nothing ran is sent once, for the last slot.
"""

import datetime
from zoneinfo import ZoneInfo

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from core import letters
from core.letters import LetterKind, letter
from lead_management.models import ReportRun, ReportSchedule

from . import REPORTS, Question
from .files import file_of, shown

AT_ONCE = 100
# Days, with one more for the hours that clocks are put on and back.
LONGEST = {"day": 2, "week": 8, "month": 32}


@letter("report", "Report", "lead_management")
class ReportLetter(LetterKind):
    """A report as its recipient sees it, worked out when it is sent."""

    def __init__(self, letter):
        super().__init__(letter)
        self.about = letter.about
        self.report = None

    def may_go(self):
        user = self.letter.user
        kind = REPORTS.get(self.about["report"])
        if not user.is_active or kind is None or not kind.is_for(user):
            return False
        day = datetime.date.fromisoformat(self.about["day"])
        values = {"period": self.about["period"]}
        self.report = kind(Question.of(user, values, today=day))
        return True

    def title(self):
        return f"{self.report.title}: {self.about['name']}"

    def context(self):
        table = self.report.table(self.report.answer())
        return {**shown(self.report, table), "schedule": self.about["name"]}

    def attachments(self):
        ending = self.about["attachment"]
        if not ending:
            return []
        name, content, media_type = file_of(self.report, ending)
        return [(name, content, media_type.partition(";")[0])]


def send_due() -> int:
    """Write the letters of schedules whose time has come; how many schedules."""
    active = ReportSchedule.objects.live().filter(is_active=True)
    _mend(active)
    due = active.filter(next_at__lte=timezone.now())
    sent = 0
    for pk in list(due.order_by("next_at").values_list("pk", flat=True)[:AT_ONCE]):
        with transaction.atomic():
            locked = due.select_for_update(of=("self",), skip_locked=True)
            schedule = locked.select_related("organization").filter(pk=pk).first()
            if schedule is not None:
                sent += _send_slot(schedule)
    return sent


def _mend(active) -> None:
    """Bring back what a clock that was ahead put off for longer than it ever waits."""
    now = timezone.now()
    too_late = Q()
    for every, days in LONGEST.items():
        too_late |= Q(every=every, next_at__gt=now + datetime.timedelta(days=days))
    for schedule in active.filter(too_late).select_related("organization"):
        ReportSchedule._base_manager.filter(pk=schedule.pk).update(
            next_at=schedule.after(now)
        )


def keep_days(organization, before: str) -> None:
    """Have what waits sent on the days that it waits for, by its new time zone.

    Args:
        before: the time zone that the organization had.
    """
    waiting = ReportSchedule.objects.live().filter(
        organization=organization, next_at__gt=timezone.now()
    )
    for schedule in waiting:
        day = schedule.next_at.astimezone(ZoneInfo(before)).date()
        schedule.organization = organization
        ReportSchedule._base_manager.filter(pk=schedule.pk).update(
            next_at=schedule.on(day)
        )


def _send_slot(schedule: ReportSchedule) -> bool:
    now = timezone.now()
    day = schedule.slot(now)
    run = ReportRun(
        organization_id=schedule.organization_id,
        schedule=schedule,
        day=day,
        letters=len(schedule.recipient_ids()),
    )
    is_new = not ReportRun.objects.filter(schedule=schedule, day=day).exists()
    if is_new:
        run.save(force_insert=True)
        send(schedule, day)
    # Not a change that anybody made.
    ReportSchedule._base_manager.filter(pk=schedule.pk).update(
        next_at=schedule.after(now)
    )
    return is_new


def send(schedule: ReportSchedule, day: datetime.date | None = None) -> int:
    """Write a letter to each recipient; how many.

    Args:
        day: from which its period is seen; today, if not given.
    """
    day = day or timezone.now().astimezone(schedule.zone).date()
    users = get_user_model().objects.filter(
        Q(pk__in=schedule.recipient_ids()),
        is_active=True,
        organization=schedule.organization_id,
    )
    about = {
        "report": schedule.report,
        "period": schedule.period,
        "attachment": schedule.attachment,
        "name": schedule.name,
        "day": day.isoformat(),
    }
    users = list(users)
    for user in users:
        letters.post(user, ReportLetter, about=about)
    return len(users)
