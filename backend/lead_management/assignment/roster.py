"""Who can take leads just now, and how many they have."""

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import models
from django.db.models import (
    Case,
    Count,
    Exists,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.utils import timezone

from core.access import Scope, Verb, scope_of
from lead_management.models import Absence, AssignmentRule, Lead


class Reason(models.TextChoices):
    """Why somebody is passed over."""

    INACTIVE = "inactive", "has left"
    NO_RIGHT = "no_right", "may not edit leads"
    ABSENT = "absent", "is absent"
    OFF_HOURS = "off_hours", "is not at work"
    FULL = "full", "has as many open leads as they may"


class Person:
    """Somebody who could get a lead.

    Attributes:
        open_leads: how many they have; only right where it matters, see `Roster`.
    """

    def __init__(self, user, open_leads: int, moment: datetime.datetime):
        self.user = user
        self.open_leads = open_leads
        self.availability = getattr(user, "availability", None)
        self.moment = moment

    def obstacle(self) -> Reason | None:
        """Why they can take no more leads, if they cannot."""
        if self._standing_obstacle:
            return self._standing_obstacle
        limit = self.availability and self.availability.max_open_leads
        return Reason.FULL if limit is not None and self.open_leads >= limit else None

    @cached_property
    def bar(self) -> Reason | None:
        """Why nobody may give them a lead, whatever they have to do."""
        if not self.user.is_active:
            return Reason.INACTIVE
        if scope_of(self.user, Lead.record_type(), Verb.EDIT) == Scope.NONE:
            return Reason.NO_RIGHT
        return None

    @cached_property
    def _standing_obstacle(self) -> Reason | None:
        if self.bar:
            return self.bar
        if self.user.is_away:
            return Reason.ABSENT
        if self.availability and not self.availability.is_at_work(self.moment):
            return Reason.OFF_HOURS
        return None


class Roster:
    """The people whom some rules name, with what they have to do: one query for them.

    Their open leads are counted where somebody has a limit, or a rule goes by it; the
    leads that are to be given away are none of them.
    """

    def __init__(self, rules: Iterable[AssignmentRule], leads: Sequence[Lead]):
        teams = {
            team
            for rule in rules
            for team in (rule.team, rule.fallback_team)
            if team is not None
        }
        self._teams = {team.pk: team.ids_below() for team in teams}
        ids = {pk for rule in rules for pk in (rule.user_id, rule.fallback_user_id)}
        counts = any(
            rule.method == AssignmentRule.Method.LEAST_OPEN or rule.fallback_team_id
            for rule in rules
        )
        now = timezone.now()
        given = Counter(lead.owner_id for lead in leads if lead.is_open)
        below = set().union(*self._teams.values())
        people = get_user_model().objects.filter(Q(pk__in=ids) | Q(team__in=below))
        self._people = {
            user.pk: Person(user, user.open_leads - given[user.pk], now)
            for user in told(people, now, counts).order_by("pk")
        }

    def person(self, pk: UUID) -> Person:
        return self._people[pk]

    def members(self, team_id: UUID, last: UUID | None = None) -> list[Person]:
        """The active people of a team and those below it, in turn.

        Args:
            last: whose turn it was last: whoever comes after them is the first.
        """
        below = self._teams[team_id]
        people = [
            person
            for person in self._people.values()
            if person.user.team_id in below and person.user.is_active
        ]
        waiting = [p for p in people if last is not None and p.user.pk > last]
        return [*waiting, *(p for p in people if p not in waiting)]


def told(people: QuerySet, moment: datetime.datetime, counts: bool) -> QuerySet:
    """The people with what decides whether they can take a lead."""
    absences = Absence.objects.live().filter(
        owner=OuterRef("pk"), starts_at__lte=moment, ends_at__gt=moment
    )
    leads = Lead.objects.open().filter(
        organization=OuterRef("organization"), owner=OuterRef("pk")
    )
    number = leads.order_by().values("owner").annotate(n=Count("pk")).values("n")
    count = Coalesce(Subquery(number), Value(0))
    if not counts:
        limited = Q(availability__max_open_leads__isnull=False)
        count = Case(When(limited, then=count), default=Value(0))
    return people.select_related("role", "availability").annotate(
        is_away=Exists(absences), open_leads=count
    )
