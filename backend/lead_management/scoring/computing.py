"""Scores of many leads at once.

One query for each rule and chunk of leads, which gives the leads or the activities that
the rule means; points, decay and caps are then worked out in memory. A query for each
lead would be twenty times as many; one statement for all rules would not be made of the
list's own filters.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from uuid import UUID

from django.db import transaction
from django.db.models import Min
from django.utils import timezone
from rest_framework.exceptions import ValidationError

from core import cache
from core.among import Among
from core.saved_filters import nobody_of
from lead_management.models import Activity, Lead, LeadScore, ScoringModel
from lead_management.models.scoring_model import MAX_SCORE
from lead_management.scoring.rules import Group, rows_of

logger = logging.getLogger(__name__)

# After so many half-lives next to nothing is left of an activity.
LIVES = 10
# How long a score that decays may be shown as it was.
DECAY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Contribution:
    """What a rule gave to a lead: by an activity at a moment, or by its fields."""

    rule: int
    points: float
    at: datetime | None = None

    def to_json(self) -> list:
        return [self.rule, self.points, self.at and self.at.isoformat()]

    @classmethod
    def from_json(cls, values: list) -> "Contribution":
        rule, points, at = values
        return cls(rule, points, at and datetime.fromisoformat(at))


@dataclass
class Score:
    """What the rules make of one lead."""

    contributions: list[Contribution] = field(default_factory=list)
    total: int = 0


class Computation:
    """Computes by one version of the scoring model, for some seconds.

    What its rules ask is worked out once, the first time that they are asked.
    """

    def __init__(self, model: ScoringModel):
        self.model = model
        self.half_life = (
            timedelta(days=model.half_life_days) if model.half_life_days else None
        )

    @cached_property
    def rows(self) -> list:
        """The leads or activities that each rule means."""
        nobody = nobody_of(self.model.organization)
        return [self._rows_of(rule, nobody) for rule in self.model.rules]

    def _rows_of(self, rule: dict, nobody):
        """A rule that asks what is no more, such as a custom field, means nothing."""
        try:
            return rows_of(rule, nobody)
        except ValidationError as error:
            logger.warning("Rule '%s' of %s: %s", rule["name"], self.model, error)
            return None

    def of(self, leads: Mapping[UUID, datetime]) -> dict[UUID, Score]:
        """The scores of leads.

        Args:
            leads: by id the moment as of which their activities count.
        """
        scores = {pk: Score() for pk in leads}
        for place, rule in enumerate(self.model.rules):
            rows = self.rows[place]
            if rows is None:
                continue
            if rule["group"] == Group.FIT:
                found = rows.filter(Among("pk", leads)).values_list("pk", flat=True)
                given = ((pk, Contribution(place, rule["points"])) for pk in found)
            else:
                given = self._engagement(place, rule, rows, leads)
            for pk, contribution in given:
                scores[pk].contributions.append(contribution)
        for score in scores.values():
            score.total = self.total(score.contributions)
        return scores

    def _engagement(self, place, rule, rows, leads):
        moments: dict[UUID, list] = {}
        rows = rows.filter(Among("lead", leads), occurred_at__lte=max(leads.values()))
        for pk, at in rows.order_by().values_list("lead_id", "occurred_at"):
            if at <= leads[pk]:
                moments.setdefault(pk, []).append(at)
        for pk, found in moments.items():
            if len(found) < rule["at_least"]:
                continue
            found.sort(reverse=True)
            for at in found[: rule["at_most"]]:
                left = self._left(leads[pk] - at)
                if left:
                    yield pk, Contribution(place, round(rule["points"] * left, 2), at)

    def _left(self, age: timedelta) -> float:
        """The part of its points that an activity of this age has left."""
        if self.half_life is None:
            return 1
        lives = age / self.half_life
        return 0.5**lives if lives <= LIVES else 0

    def total(self, contributions: list[Contribution]) -> int:
        whole = sum(counted for _, counted in self.groups(contributions).values())
        return min(max(int(whole + 0.5), 0), MAX_SCORE)

    def groups(self, contributions: list[Contribution]) -> dict[Group, tuple]:
        """By group the sum of its points, and how much of it counts under the cap."""
        caps = {
            Group.FIT: self.model.fit_cap,
            Group.ENGAGEMENT: self.model.engagement_cap,
        }
        sums = dict.fromkeys(Group, 0)
        for one in contributions:
            sums[Group(self.model.rules[one.rule]["group"])] += one.points
        return {
            group: (points, min(max(points, -caps[group]), caps[group]))
            for group, points in sums.items()
        }

    def decays(self, contributions: list[Contribution]) -> bool:
        return self.half_life is not None and any(one.at for one in contributions)


def compute(computation: Computation, rows: list[LeadScore]) -> bool:
    """Compute these rows of its version, and store them.

    Nothing is locked meanwhile; `LeadScore.store` sees to what changed.

    Returns:
        Whether one of them shows another score than before.
    """
    since = {row.pk: row.due_at for row in rows}
    shown_before = {row.pk: row.computed_at and row.total for row in rows}
    now = timezone.now()
    scores = computation.of({row.lead_id: now for row in rows})
    overrides = _overrides(scores, now)
    planned = _planned(scores, now)
    for row in rows:
        score = scores[row.lead_id]
        shown, until = overrides.get(row.lead_id, (score.total, None))
        row.total, row.computed_total = shown, score.total
        row.contributions = [one.to_json() for one in score.contributions]
        row.computed_at = now
        changes_at = [until, planned.get(row.lead_id)]
        if computation.decays(score.contributions):
            changes_at.append(now + timedelta(seconds=DECAY_SECONDS))
        row.due_at = min(filter(None, changes_at), default=None)
        row.claimed_until = None
    with transaction.atomic():
        stored = LeadScore.store(rows, since)
        changed = {row.lead_id for row in stored if row.total != shown_before[row.pk]}
        if changed:
            organization = computation.model.organization_id
            cache.mark_until_commit(organization, _names_of_scores(changed))
    return bool(changed)


def _names_of_scores(lead_ids: set[UUID]) -> set[str]:
    """The names of the versions that are over with new scores of these leads.

    The leads stay whose they are until the transaction ends. Where somebody is about to
    change that, scores of all people are over.
    """
    if len(lead_ids) > cache.FEW_RECORDS:
        return cache.names_of(LeadScore.record_type())
    locked = Lead.objects.filter(pk__in=lead_ids).order_by()
    locked = locked.select_for_update(of=("self",), no_key=True, skip_locked=True)
    owners = list(locked.values_list("owner", flat=True))
    known = lead_ids if len(owners) == len(lead_ids) else None
    return cache.names_of(LeadScore.record_type(), known, owners=owners)


def _overrides(lead_ids, now) -> dict[UUID, tuple[int, datetime]]:
    """The overrides that hold, by lead: the score, and until when."""
    leads = Lead.objects.filter(Among("pk", lead_ids), score_override_until__gt=now)
    columns = ("pk", "score_override", "score_override_until")
    return {pk: (score, until) for pk, score, until in leads.values_list(*columns)}


def _planned(lead_ids, now) -> dict[UUID, datetime]:
    """When the next activity that is only planned yet will count, by lead."""
    planned = Activity.objects.live().filter(occurred_at__gt=now)
    activities = planned.filter(Among("lead", lead_ids))
    found = activities.order_by().values("lead").annotate(at=Min("occurred_at"))
    return dict(found.values_list("lead", "at"))
