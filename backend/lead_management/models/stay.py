from collections import defaultdict
from datetime import datetime

from django.db import models
from django.utils import timezone

from core.models import Changes, Journaled
from core.models.values import to_json


class Stay(models.Model):
    """How long a record was where it was: in a stage, in a status.

    Rows of their own, for reports ask for thousands of them, and the journal tells them
    only to who reads all of it. They are written where records are (`follow`), and
    nowhere else. To undo what moved a record takes the stay away that began with it,
    and the one before it goes on as if it had never ended.
    """

    entered_at = models.DateTimeField()
    left_at = models.DateTimeField(null=True)
    # No foreign key: what the change set held may be erased before the stay is.
    opened_by = models.UUIDField(help_text="The change set that it began with.")

    # The names of the fields that hold the record, and its place: the record has that
    # field too.
    subject: str
    place: str

    class Meta:
        abstract = True

    @property
    def seconds(self) -> float:
        """How long it was, or has been so far."""
        return ((self.left_at or timezone.now()) - self.entered_at).total_seconds()

    @classmethod
    def arrivals(cls, updates) -> tuple[list, list]:
        """The records that are new, and those that are in another place than before.

        Args:
            updates: as `Journaled.after_writes` has them.
        """
        new = [record for record, before in updates if before is None]
        moved = [
            record
            for record, before in updates
            if before and cls.place in before and before[cls.place] != cls._here(record)
        ]
        return new, moved

    @classmethod
    def follow(cls, new, moved, changes: Changes) -> None:
        """Keep the stays of records that were just written: `arrivals` tells which."""
        cls._begin(new, changes, {record.pk: record.created_at for record in new})
        if moved and changes.change_set.undoes_id:
            moved = cls._not_taken_back(moved, changes.change_set.undoes_id)
        if moved:
            # What is written together is written at one moment.
            moment = moved[0].updated_at
            cls._of(moved).filter(left_at=None).update(left_at=moment)
            cls._begin(moved, changes, dict.fromkeys((r.pk for r in moved), moment))

    @classmethod
    def _begin(cls, records, changes: Changes, moments: dict[object, datetime]) -> None:
        column = cls._meta.get_field(cls.place).attname
        stays = [
            cls(
                **{cls.subject: record, column: getattr(record, column)},
                entered_at=moments[record.pk],
                opened_by=changes.change_set.pk,
            )
            for record in records
        ]
        cls.objects.bulk_create(stays, batch_size=1000)

    @classmethod
    def _not_taken_back(cls, moved: list[Journaled], change_set_id) -> list:
        """Take the stays back that began with a change set that is undone.

        Returns:
            The records that are not where they were before it, as far as stays tell.
        """
        of_record = defaultdict(list)
        for stay in cls._of(moved).order_by("entered_at", "pk"):
            of_record[getattr(stay, f"{cls.subject}_id")].append(stay)
        ended, reopened, left = [], [], []
        for record in moved:
            stays = of_record[record.pk]
            while stays and stays[-1].opened_by == change_set_id:
                ended.append(stays.pop().pk)
            if stays and cls._here(stays[-1]) == cls._here(record):
                reopened.append(stays[-1].pk)
            else:
                left.append(record)
        cls.objects.filter(pk__in=ended).delete()
        cls.objects.filter(pk__in=reopened).update(left_at=None)
        return left

    @classmethod
    def _of(cls, records) -> models.QuerySet:
        return cls.objects.filter(**{f"{cls.subject}__in": [r.pk for r in records]})

    @classmethod
    def _here(cls, row):
        """The place of a record, or of a stay, as the journal writes it."""
        return to_json(getattr(row, cls._meta.get_field(cls.place).attname))
