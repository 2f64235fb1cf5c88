"""What all reports are."""

import datetime
from collections.abc import Callable, Collection, Iterable
from functools import cached_property
from itertools import chain, starmap
from typing import ClassVar
from uuid import UUID

from django.db.models import DateTimeField, Q, QuerySet
from django.http import Http404
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied

from core import access, cache
from core.models import Journaled, Record
from core.serializers import StrictSerializer

from .question import PeriodParameters, Question
from .table import Table

NO_TIME = datetime.timedelta()
MICROSECOND = datetime.timedelta(microseconds=1)


class PeriodSerializer(StrictSerializer):
    to = serializers.DateField(allow_null=True)

    def get_fields(self):
        return {"from": serializers.DateField(allow_null=True), **super().get_fields()}


class PersonSerializer(StrictSerializer):
    id = serializers.UUIDField()
    name = serializers.CharField(help_text="Blank where you may not see it.")


class ReportSerializer(StrictSerializer):
    """What every report's answer begins with."""

    period = PeriodSerializer(help_text="The days asked for; null: without an end.")


class Report:
    """Figures over the records that somebody sees, worked out by the database.

    A declaration says what it is about, and `figures` counts. It takes the same number
    of queries however many records there are.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    # The records that it is about: their owners are those asked for.
    model: ClassVar[type[Record]]
    # The field of theirs that the period is about.
    moment: ClassVar[str]
    # What it cannot be told without, by type: fields. Whoever does not see one of them
    # does not have the report; another field that they do not see leaves out the
    # figures that would tell it.
    needs: ClassVar[dict[type[Journaled], tuple[str, ...]]]
    # Further types that it reads, and tells of to whoever sees them.
    tells_of: ClassVar[tuple[type[Journaled], ...]] = ()
    # Of the types of which not every field counts: the fields that do, beside those of
    # which records there are and whose they are.
    reads: ClassVar[dict[type[Record], tuple[str, ...]]] = {}
    parameters: ClassVar[type[PeriodParameters]] = PeriodParameters
    serializer: ClassVar[type[ReportSerializer]]

    def __init__(self, asked: Question):
        self.asked = asked

    # Who may

    @classmethod
    def require(cls, user) -> None:
        """Raise where the user does not have this report.

        Raises:
            PermissionDenied: they may not see records of a type that it is made from.
            Http404: they do not see a field that it is made from.
        """
        for model in cls.needs:
            record_type, verb = model.record_type(), access.Verb.VIEW
            if access.is_beyond_key(user, record_type, verb):
                raise access.RightMissing(user, record_type, verb)
            if issubclass(model, Record):
                access.require_some(user, record_type, verb)
            hidden = access.hidden_fields(user, record_type)
            if not hidden.isdisjoint(cls.needs[model]):
                raise Http404

    @classmethod
    def is_for(cls, user) -> bool:
        """Whether the user has this report."""
        try:
            cls.require(user)
        except (PermissionDenied, Http404):
            return False
        return True

    @classmethod
    def shows_owners(cls, user) -> bool:
        """Whether the user may ask by owner and team."""
        return "owner" not in access.hidden_fields(user, cls.model.record_type())

    @classmethod
    def record_types(cls) -> set[str]:
        """The types that it is made from."""
        return {model.record_type() for model in (*cls.needs, *cls.tells_of)}

    @classmethod
    def made_from(cls) -> set[str]:
        """Names of the versions that it is made from (core.cache)."""
        by_fields = {model.record_type(): names for model, names in cls.reads.items()}
        names = cls.record_types() - by_fields.keys()
        return names.union(*starmap(cache.names_of_fields, by_fields.items()))

    # What it tells

    def answer(self) -> dict:
        return {"period": self.asked.period.told(), **self.figures()}

    def figures(self) -> dict:
        raise NotImplementedError

    def table(self, answer: dict) -> Table:
        """What it tells as one table, with what is drawn."""
        raise NotImplementedError

    @cached_property
    def hidden(self) -> frozenset[str]:
        """The fields of its records that the reader does not see."""
        return self.asked.hidden(self.model)

    def records(self) -> QuerySet:
        """The records of the period that are asked for, in no order."""
        period = self.asked.period
        field = self.model._meta.get_field(self.moment)
        is_moment = isinstance(field, DateTimeField)
        within = period.moments if is_moment else period.dates
        return self.asked.records(self.model).filter(**within(self.moment)).order_by()

    def counted(
        self,
        count: Callable[[QuerySet], Iterable[dict]],
        names: Iterable[str] = (),
        also: object = "",
    ) -> list[dict]:
        """Figures of the period's records, owner by owner.

        Nothing is counted again of whom nothing has changed since. Who asks just while
        a record passes from one owner to another may be told of it for neither, once.

        Args:
            count: gives rows of figures of some records, each with its `owner`.
            names: of versions that it is made from, beside the records and who is seen.
            also: whatever else it depends on.

        Returns:
            The rows as they come from JSON.
        """
        user, record_type = self.asked.user, self.model.record_type()
        owners = {str(owner): owner for owner in self.asked.owners}
        always = {user.record_type(), "team", *names}
        rows = cache.kept_parts(
            user.organization_id,
            {name: always | cache.names_of_own(record_type, name) for name in owners},
            f"{self.name} {count.__name__} {also}: {self.asked.key}"
            f" {access.visibility_key(user, record_type)}",
            lambda missing: self._counted(count, owners, missing),
        )
        return list(chain.from_iterable(rows.values()))

    def _counted(self, count, owners: dict, missing: Collection[str]) -> dict:
        """Rows of figures for some of the owners, by their names."""
        records = self.records()
        if len(missing) < len(owners):
            some = {owners[name] for name in missing}
            of_nobody = Q(owner=None) if None in some else Q()
            records = records.filter(Q(owner__in=some - {None}) | of_nobody)
        rows = {name: [] for name in missing}
        for row in count(records):
            # An owner who has just come is in the next answer.
            rows.get(str(row["owner"]), []).append(row)
        return rows

    def people(self, owners: Iterable[str | None]) -> dict[str, dict]:
        """Who these users are, as far as they may be seen."""
        ids = {UUID(owner) for owner in owners if owner}
        names = self.asked.names_of(ids)
        return {str(pk): {"id": pk, "name": names[pk]} for pk in ids}


def share(part: int, whole: int) -> float | None:
    """Which part of the whole it is, from 0 to 1; None of nothing."""
    return round(part / whole, 4) if whole else None


def microseconds(length: datetime.timedelta | None) -> int:
    """A sum of lengths, as JSON can have it; there is none of nothing."""
    return (length or NO_TIME) // MICROSECOND


def average_seconds(length: int, count: int) -> float | None:
    """How long each was, of a sum in microseconds; None of nothing."""
    return round(length / count / 1e6, 3) if count else None
