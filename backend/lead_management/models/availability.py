"""When people can take leads, and how many."""

import datetime
import re
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import F, Q
from rest_framework.exceptions import PermissionDenied

from core import access
from core.models import Journaled, JournaledQuerySet, Record

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00")
MAX_SPANS = 5
MAX_LEADS = 1_000_000


class Absence(Record):
    """A time in which its owner takes no leads."""

    starts_at = models.DateTimeField(
        help_text="Without an offset it is in your own time zone."
    )
    ends_at = models.DateTimeField(help_text="The first moment of being back.")
    note = models.CharField(max_length=200, blank=True)

    summary_fields = ("id", "starts_at", "ends_at")
    import_headers = {
        **dict.fromkeys(("from", "start", "start date", "first day"), "starts_at"),
        **dict.fromkeys(("to", "until", "end", "end date", "back on"), "ends_at"),
        **dict.fromkeys(("employee", "person", "email", "e mail"), "owner"),
        **dict.fromkeys(("reason", "kind"), "note"),
    }
    is_personal = True

    class Meta(Record.Meta):
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at")), name="absence_ends_later"
            )
        ]
        indexes = [
            *Record.Meta.indexes,
            models.Index(
                fields=["owner", "ends_at"],
                name="absence_of_owner",
                condition=Q(deleted_at=None),
            ),
        ]

    def __str__(self):
        return f"{self.starts_at:%Y-%m-%d %H:%M} to {self.ends_at:%Y-%m-%d %H:%M}"

    def clean(self):
        super().clean()
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            error = ValidationError("An absence ends after its start.", "invalid")
            raise ValidationError({"ends_at": error})


class AvailabilityQuerySet(JournaledQuerySet):
    owner_path = "user"


class Availability(Journaled):
    """How many open leads somebody may have, and when they work.

    Whoever has none takes any number, at any time.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="availability"
    )
    max_open_leads = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(MAX_LEADS)],
        help_text="Rules give no more to who has so many; empty: no limit.",
    )
    working_hours = models.JSONField(
        default=dict,
        blank=True,
        help_text='By day, in the person\'s time zone: `{"mon": [["09:00",'
        ' "12:30"], ["13:30", "17:00"]]}`. A day that is not there is free; `{}`:'
        " at any time.",
    )

    objects = AvailabilityQuerySet.as_manager()
    summary_fields = ("id", "user")
    key_scopes = ("read", "write")

    class Meta:
        verbose_name_plural = "availability"

    def __str__(self):
        return f"Availability of {self.user}"

    def belongs_to(self):
        return self.user

    def uncreated(self):
        return {"max_open_leads": None, "working_hours": {}}

    def guard(self, actor, changed):
        """Everybody may say when they work, but not how many leads they get."""
        if self._state.adding:
            access.require(actor, self, access.Verb.CREATE)
        scope = access.scope_of(actor, self.record_type(), access.Verb.EDIT)
        sets_limit = "max_open_leads" in changed and not (
            self._state.adding and self.max_open_leads is None
        )
        if sets_limit and scope != access.Scope.ALL:
            raise PermissionDenied("How many leads somebody gets is not theirs to say.")

    def clean(self):
        super().clean()
        if fault := fault_of(self.working_hours):
            raise ValidationError({"working_hours": ValidationError(fault, "invalid")})

    def is_at_work(self, moment: datetime.datetime) -> bool:
        if not self.working_hours:
            return True
        local = moment.astimezone(ZoneInfo(self.user.timezone))
        spans = self.working_hours.get(DAYS[local.weekday()], ())
        return any(start <= f"{local:%H:%M}" < end for start, end in spans)


def fault_of(hours) -> str | None:
    """What is wrong with working hours."""
    if not isinstance(hours, dict) or not hours.keys() <= set(DAYS):
        return f"Give an object with some of: {', '.join(DAYS)}."
    for day, spans in hours.items():
        if not isinstance(spans, list) or len(spans) > MAX_SPANS:
            return f"'{day}': give a list of at most {MAX_SPANS} pairs of times."
        if not all(isinstance(s, list) and len(s) == 2 for s in spans):
            return f"'{day}': a pair is a start and an end."
        times = [time for span in spans for time in span]
        if not all(isinstance(t, str) and TIME.fullmatch(t) for t in times):
            return f"'{day}': a time is such as 09:00, at most 24:00."
        # A lunch break may take no time, work may not.
        if times != sorted(times) or any(start == end for start, end in spans):
            return f"'{day}': the times do not follow each other."
    return None
