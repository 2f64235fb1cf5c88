"""Reports that are mailed by themselves, and when."""

import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from core.ids import new_id
from core.models import Record

MAX_RECIPIENTS = 50
DAY = datetime.timedelta(days=1)


class ReportSchedule(Record):
    """A report that its recipients get by e-mail, each as far as they may see it."""

    class Every(models.TextChoices):
        DAY = "day"
        WEEK = "week"
        MONTH = "month"

    class Weekday(models.IntegerChoices):
        MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = range(7)

    class Attachment(models.TextChoices):
        CSV = "csv", "CSV"
        XLSX = "xlsx", "Excel"

    name = models.CharField(max_length=100)
    report = models.CharField(
        max_length=30, help_text="One of those at `/api/reports/`, such as `pipelines`."
    )
    period = models.CharField(
        max_length=20,
        default="last_week",
        help_text="Such as `last_week`: seen from the day that it is sent.",
    )
    every = models.CharField(max_length=10, choices=Every, default=Every.WEEK)
    weekday = models.PositiveSmallIntegerField(
        choices=Weekday,
        default=Weekday.MONDAY,
        help_text="Of a weekly one: 0 is Monday.",
    )
    day = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(31)],
        help_text="Of a monthly one; the month's last where it has no such day.",
    )
    hour = models.PositiveSmallIntegerField(
        default=7,
        validators=[MaxValueValidator(23)],
        help_text="In the organization's time zone.",
    )
    attachment = models.CharField(max_length=10, choices=Attachment, blank=True)
    recipients = models.JSONField(
        default=list, blank=True, help_text="Ids of users; empty: its owner."
    )
    is_active = models.BooleanField(default=True)
    next_at = models.DateTimeField(null=True, editable=False)

    # The program's own note, which is no change that anybody made.
    unjournaled = ("next_at",)
    summary_fields = ("id", "name")
    search_fields = ("name",)
    is_importable = False
    is_personal = True

    class Meta(Record.Meta):
        indexes = [
            *Record.Meta.indexes,
            models.Index(
                fields=["next_at"],
                name="reportschedule_due",
                condition=models.Q(deleted_at=None, is_active=True),
            ),
        ]

    def __str__(self):
        return self.name

    def clean(self):
        super().clean()
        from lead_management.reports import REPORTS, Preset

        errors = {}
        for name, known in (("report", list(REPORTS)), ("period", Preset.values)):
            if getattr(self, name) not in known:
                detail = f"One of: {', '.join(known)}."
                errors[name] = ValidationError(detail, "invalid_choice")
        try:
            self.recipients = self._clean_recipients()
        except ValidationError as error:
            errors["recipients"] = error
        if errors:
            raise ValidationError(errors)

    def _clean_recipients(self) -> list[str]:
        """Their ids, each once and in one spelling."""
        given = self.recipients
        try:
            if not isinstance(given, list):
                raise TypeError
            ids = list(dict.fromkeys(str(UUID(pk)) for pk in given))
        except (TypeError, ValueError, AttributeError):
            raise ValidationError("Give a list of ids.", "not_a_list") from None
        if len(ids) > MAX_RECIPIENTS:
            raise ValidationError(f"At most {MAX_RECIPIENTS}.", "max_length")
        users = get_user_model().objects.filter(organization=self.organization_id)
        if users.filter(pk__in=ids).count() < len(ids):
            raise ValidationError("There is no such user.", "does_not_exist")
        return ids

    def before_write(self):
        """Its next time; one that has come and is not sent yet stays."""
        now = timezone.now()
        if not self.is_active:
            self.next_at = None
        elif self.next_at is None or self.next_at > now:
            self.next_at = self.after(now)
        return (*super().before_write(), "next_at")

    # When it is sent

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.organization.timezone)

    def on(self, day: datetime.date) -> datetime.datetime:
        """The moment of a day. An hour that the clocks leave out is the one after it;
        one that comes twice is the first.
        """
        moment = datetime.datetime.combine(day, datetime.time(self.hour), self.zone)
        return moment.astimezone(datetime.UTC)

    def is_on(self, day: datetime.date) -> bool:
        match self.every:
            case self.Every.WEEK:
                return day.weekday() == self.weekday
            case self.Every.MONTH:
                is_last = (day + DAY).day == 1
                return day.day == self.day or (is_last and day.day < self.day)
        return True

    def after(self, moment: datetime.datetime) -> datetime.datetime:
        """The first moment after this one at which it is sent."""
        day = moment.astimezone(self.zone).date()
        while not self.is_on(day) or self.on(day) <= moment:
            day += DAY
        return self.on(day)

    def slot(self, moment: datetime.datetime) -> datetime.date:
        """The day of the last time that it was to be sent, until this moment."""
        day = moment.astimezone(self.zone).date()
        while not self.is_on(day) or self.on(day) > moment:
            day -= DAY
        return day

    def recipient_ids(self) -> list:
        return self.recipients or ([self.owner_id] if self.owner_id else [])


class ReportRun(models.Model):
    """That a schedule was sent for a day: of two who try, one writes this."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(
        "core.Organization", models.PROTECT, related_name="+", db_index=False
    )
    schedule = models.ForeignKey(
        ReportSchedule, models.CASCADE, related_name="runs", db_index=False
    )
    day = models.DateField(help_text="In the organization's time zone.")
    letters = models.PositiveSmallIntegerField(help_text="How many were written.")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-day"]
        constraints = [
            models.UniqueConstraint(fields=["schedule", "day"], name="reportrun_once")
        ]

    def __str__(self):
        return f"{self.schedule} of {self.day}"
