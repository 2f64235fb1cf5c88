from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import F
from django.utils import timezone

from core.models import Changes
from core.models.values import to_json


class Staying(models.Model):
    """A record that is in one place after the other, and says since when.

    It remembers where it is stored to be, to compare a new place to.
    """

    # The field with the place; since when it is there is in one with "_since" behind.
    place: str

    class Meta:
        abstract = True

    @classmethod
    def from_db(cls, db, field_names, values):
        record = super().from_db(db, field_names, values)
        record.note_stay()
        return record

    def refresh_from_db(self, using=None, fields=None, **kwargs):
        super().refresh_from_db(using, fields, **kwargs)
        self.note_stay()

    def note_stay(self) -> None:
        """Remember where the record is stored to be, once it is."""
        known = vars(self)
        column = self._meta.get_field(self.place).attname
        self._stay = known.get(column), known.get(f"{self.place}_since")

    def lacks_moment(self) -> bool:
        """Whether it is elsewhere than it was, and nothing says since when.

        While it is where it was, it is there since it came.
        """
        if self._state.adding:
            return False
        place, since = self._stay
        if getattr(self, self._meta.get_field(self.place).attname) == place:
            setattr(self, f"{self.place}_since", since)
            return False
        return getattr(self, f"{self.place}_since") == since

    def next_moment(self) -> datetime:
        """Now, but after it came to where it is, whatever the clock says."""
        since = getattr(self, f"{self.place}_since")
        return max(timezone.now(), since + timedelta.resolution)


class Stay(models.Model):
    """A stay of a record where it was, in a status or in a stage, once it has ended.

    The present one is the record's own, so an import of records writes no row here.
    Rows of their own, for reports ask for thousands of them, and the journal tells them
    only to who reads all of it. They follow from the record's place and the moment
    since when it is there, and are taken back with these: where a record is again in a
    place since an earlier moment, nothing is known that came after that moment.
    """

    organization = models.ForeignKey(
        "core.Organization", models.PROTECT, related_name="+"
    )
    reason = models.CharField(max_length=500, blank=True)
    entered_at = models.DateTimeField()
    left_at = models.DateTimeField()
    duration = models.DurationField()
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", null=True
    )

    # The fields with the record and with its place, as it calls that too, and the
    # record's field that says why it is there.
    subject: str
    place: str
    why: str

    class Meta:
        abstract = True
        ordering = ["entered_at"]

    def __str__(self):
        return f"{getattr(self, self.place)} for {self.duration}"

    @classmethod
    def moved(cls, updates) -> list[tuple]:
        """Those of `updates` in which a record came to be elsewhere.

        Args:
            updates: as `Journaled.after_writes` has them.
        """
        since = f"{cls.place}_since"
        return [
            (record, before)
            for record, before in updates
            if before
            and since in before
            and before[since] != to_json(getattr(record, since))
        ]

    @classmethod
    def follow(cls, updates, changes: Changes) -> None:
        """Keep what these ended or took back, once they are written.

        Args:
            updates: as of `moved`.
        """
        for record, _ in updates:
            record.note_stay()
        since, column = f"{cls.place}_since", cls._meta.get_field(cls.place).attname
        back, ended = [], []
        for record, before in cls.moved(updates):
            entered_at = datetime.fromisoformat(before[since])
            left_at = getattr(record, since)
            if left_at < entered_at:
                back.append(record)
                continue
            stay = cls(
                organization_id=record.organization_id,
                reason=before[cls.why],
                entered_at=entered_at,
                left_at=left_at,
                duration=left_at - entered_at,
                ended_by=changes.actor,
                **{cls.subject: record, column: before[cls.place]},
            )
            ended.append(stay)
        if back:
            later = {
                f"{cls.subject}__in": back,
                "left_at__gt": F(f"{cls.subject}__{since}"),
            }
            cls.objects.filter(**later).delete()
        cls.objects.bulk_create(ended, batch_size=1000)
