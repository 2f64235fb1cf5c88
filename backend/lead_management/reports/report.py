"""What all reports are."""

import datetime
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from enum import Enum
from functools import cached_property, partial
from itertools import starmap
from typing import ClassVar
from uuid import UUID

from django.db.models import DateTimeField, Q, QuerySet
from django.http import Http404
from orjson import Fragment
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied

from core import access, cache
from core.among import Among
from core.models import Journaled, Record
from core.renderers import dumps
from core.serializers import StrictSerializer
from core.statements import NOTHING, Statement

from .question import PeriodParameters, Question
from .table import Table


class Whose(Enum):
    """Whose records are counted at once."""

    ALL = 1
    SOME = 2
    SOME_OR_NOBODYS = 3


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
        self._statements: dict[Hashable, Statement] = {}

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

    def kept(self) -> Fragment:
        """The answer as JSON; worked out only if what it is made from is new."""
        names, depends_on = self._kept_as
        organization = self.asked.user.organization_id
        return Fragment(
            cache.kept_part(
                organization, names, depends_on, lambda: dumps(self.answer())
            )
        )

    @cached_property
    def _kept_as(self) -> tuple[set[str], str]:
        names, depends_on = made_from(self.asked, [type(self)])
        return names, f"report {self.name}: {depends_on}"

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
        *counts: Callable[[QuerySet], QuerySet],
        names: Iterable[str] = (),
        values: Mapping = NOTHING,
    ) -> list[list[dict]]:
        """Figures of the period's records, owner by owner.

        Nothing is counted again of whom nothing has changed since. Who asks just while
        a record passes from one owner to another may be told of it for neither, once.

        Args:
            counts: each makes rows of figures of records, with their `owner`.
            names: of versions that they are made from, beside the records and who is
                seen.
            values: of what is bound in them.

        Returns:
            The rows of each, as they come from JSON; lengths are in microseconds.
        """
        user, record_type = self.asked.user, self.model.record_type()
        owners = {str(owner): owner for owner in self.asked.owners(self.model)}
        always = who_is_seen(user).union(names)
        parts = cache.kept_parts(
            user.organization_id,
            {name: always | cache.names_of_own(record_type, name) for name in owners},
            f"parts of {self._kept_as[1]} {sorted(values.items())}",
            lambda missing: self._parts(counts, owners, missing, values),
        )
        places = range(len(counts))
        return [[row for part in parts.values() for row in part[n]] for n in places]

    def _parts(self, counts, owners: dict, missing: Collection[str], values) -> dict:
        """Rows of figures for some of the owners, by their names."""
        whose = Whose.ALL
        if len(missing) < len(owners):
            some = [owners[name] for name in missing]
            whose = Whose.SOME_OR_NOBODYS if None in some else Whose.SOME
            values = {**values, "owners": [pk for pk in some if pk]}
        parts = {name: [[] for _ in counts] for name in missing}
        for place, count in enumerate(counts):
            made = partial(self._count, count, whose)
            for row in self.rows((count.__name__, whose), made, values):
                # An owner who has just come is in the next answer.
                if str(row["owner"]) in parts:
                    parts[str(row["owner"])][place].append(
                        {name: in_microseconds(value) for name, value in row.items()}
                    )
        return parts

    def _count(self, count, whose: "Whose") -> QuerySet:
        records = self.records()
        if whose != Whose.ALL:
            owned = Q(Among("owner", "owners"))
            if whose == Whose.SOME_OR_NOBODYS:
                owned |= Q(owner=None)
            records = records.filter(owned)
        return count(records)

    def rows(
        self, key: Hashable, made: Callable[[], QuerySet], values: Mapping = NOTHING
    ) -> list[dict]:
        """What a queryset gives, whose SQL is written once as long as this is there.

        Args:
            key: of the queryset, among those of this report.
            made: makes it, of `values`.
            values: of what is bound in it (core.statements).
        """
        if key not in self._statements:
            self._statements[key] = Statement(made())
        return self._statements[key].dicts(values)

    def people(self, owners: Iterable[str | None]) -> dict[str, dict]:
        """Who these users are, as far as they may be seen."""
        ids = {UUID(owner) for owner in owners if owner}
        names = self.asked.names_of(ids)
        return {str(pk): {"id": pk, "name": names[pk]} for pk in ids}


def who_is_seen(user) -> set[str]:
    """The types of people, who are named, and of teams, which decide what is seen."""
    return {user.record_type(), "team"}


def by_most(rows: Iterable[dict], name: str) -> list[dict]:
    """Rows of owners: who has most first, equal ones in one order always, what is
    nobody's last among them."""
    return sorted(rows, key=lambda row: (-row[name], row["owner"] or "~"))


def made_from(asked: Question, reports: Iterable[type[Report]]) -> tuple[set[str], str]:
    """The versions that answers are made from, and what else they depend on."""
    user = asked.user
    types = set().union(*(report.record_types() for report in reports))
    people = who_is_seen(user)
    keys = [
        f"{name}: {access.visibility_key(user, name)}"
        for name in sorted(types | people)
    ]
    names = people.union(*(report.made_from() for report in reports))
    return names, "; ".join([*keys, asked.key])


def share(part: int, whole: int) -> float | None:
    """Which part of the whole it is, from 0 to 1; None of nothing."""
    return round(part / whole, 4) if whole else None


def in_microseconds(value):
    """A length, as JSON can have it; what is none, as it is."""
    if isinstance(value, datetime.timedelta):
        return value // datetime.timedelta(microseconds=1)
    return value


def average_seconds(length: int, count: int) -> float | None:
    """How long each was, of a sum in microseconds; None of nothing."""
    return round(length / count / 1e6, 3) if count else None
