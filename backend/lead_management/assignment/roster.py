"""Who can take leads just now, and how many they have."""

import datetime
from collections import Counter
from collections.abc import Collection, Sequence
from functools import cached_property
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import models
from django.db.models import Count, Exists, OuterRef, Q
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
        limit: how many open leads they may have; None for any number.
        open_leads: how many they have, where it matters.
    """

    def __init__(self, user, moment: datetime.datetime):
        self.user = user
        self.moment = moment
        self.availability = getattr(user, "availability", None)
        self.limit = self.availability and self.availability.max_open_leads
        self.open_leads = 0

    def obstacle(self) -> Reason | None:
        """Why they can take no more leads, if they cannot."""
        if self._standing_obstacle:
            return self._standing_obstacle
        is_full = self.limit is not None and self.open_leads >= self.limit
        return Reason.FULL if is_full else None

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
    """The people whom some rules name.

    Who they are is read before the rules are locked, and what they have to do after.
    """

    def __init__(self, rules: Collection[AssignmentRule]):
        teams = {
            team
            for rule in rules
            for team in (rule.team, rule.fallback_team)
            if team is not None
        }
        self._teams = {team.pk: team.ids_below() for team in teams}
        ids = {pk for rule in rules for pk in (rule.user_id, rule.fallback_user_id)}
        below = set().union(*self._teams.values())
        people = get_user_model().objects.filter(Q(pk__in=ids) | Q(team__in=below))
        now = timezone.now()
        away = Absence.objects.live().filter(
            owner=OuterRef("pk"), starts_at__lte=now, ends_at__gt=now
        )
        people = people.select_related("role", "availability")
        people = people.annotate(is_away=Exists(away)).order_by("pk")
        self._people = {user.pk: Person(user, now) for user in people}
        for rule in rules:
            if rule.user_id:
                rule.user = self._people[rule.user_id].user
        self._goes_by_count = any(
            rule.method == AssignmentRule.Method.LEAST_OPEN or rule.fallback_team_id
            for rule in rules
        )

    def count(self, leads: Sequence[Lead]) -> None:
        """Count the open leads of who has a limit, or of all if a rule goes by it.

        Args:
            leads: that are to be given away, and so are nobody's.
        """
        counted = [
            pk
            for pk, person in self._people.items()
            if self._goes_by_count or person.limit is not None
        ]
        if not counted:
            return
        found = Lead.objects.open().filter(
            organization=leads[0].organization_id, owner__in=counted
        )
        numbers = dict(found.order_by().values_list("owner").annotate(Count("pk")))
        given = Counter(lead.owner_id for lead in leads)
        for pk in counted:
            self._people[pk].open_leads = numbers.get(pk, 0) - given[pk]

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
