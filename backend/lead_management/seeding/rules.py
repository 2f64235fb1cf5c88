"""The first rules of an organization: which leads are good ones, and who gets them."""

from datetime import timedelta

from django.contrib.auth import get_user_model
from django.utils import timezone

from core.access import Scope, Verb, scope_of
from core.models import Changes
from lead_management.models import (
    Absence,
    AssignmentRule,
    Availability,
    Lead,
    ScoringModel,
)
from lead_management.scoring import publication

OFFICE_HOURS = {
    day: [["08:00", "12:00"], ["13:00", "18:00"]]
    for day in ("mon", "tue", "wed", "thu", "fri")
}


def fit(name: str, points: int, **filter) -> dict:
    return {"name": name, "group": "fit", "points": points, "filter": filter}


def engagement(name: str, points: int, at_most: int, **filter) -> dict:
    rule = {"name": name, "group": "engagement", "points": points, "filter": filter}
    return {**rule, "at_most": at_most}


SCORING = [
    fit("Was recommended", 20, lead_source="referral"),
    fit("Met at a trade show", 15, lead_source="trade_show"),
    fit("Cold call", -5, lead_source="cold_call"),
    fit("Decides", 15, job_title__icontains="manager"),
    fit("Worth 10,000 or more", 15, estimated_value__gte=10_000),
    fit("Worth 30,000 or more", 10, estimated_value__gte=30_000),
    fit("Urgent", 10, priority__in=["high", "urgent"]),
    fit("Not qualified", -30, status__in=["unqualified", "lost"]),
    engagement("Met", 20, 2, kind="meeting"),
    engagement("Called", 10, 3, kind="call"),
    engagement("Wrote", 5, 3, kind="email"),
    engagement("Wants a proposal", 15, 1, outcome="Asked for a proposal"),
    engagement("Not reached", -5, 3, outcome="Left a message"),
]


def score(changes: Changes, organization) -> None:
    """Those who have no scoring model get one, which a worker publishes."""
    if ScoringModel.objects.filter(organization=organization).exists():
        return
    model = ScoringModel()
    changes.save(model, name="First rules", rules=SCORING)
    publication.start(changes, model)


def share_out(changes: Changes, organization) -> None:
    """Those who have no rules get some that give new leads to who sells."""
    people = get_user_model().objects.select_related("role", "team")
    people = people.filter(organization=organization, is_active=True)
    sellers = [
        user
        for user in people.filter(team__name="Sales").order_by("pk")
        if scope_of(user, Lead.record_type(), Verb.EDIT) != Scope.NONE
    ]
    if not sellers or AssignmentRule.objects.filter(organization=organization):
        return
    first, *others = sellers
    changes.save(
        AssignmentRule(),
        name="Big ones",
        position=1,
        filter={"estimated_value__gte": "40000"},
        method="user",
        user=first,
    )
    changes.save(
        AssignmentRule(),
        name="All others",
        position=2,
        method="round_robin",
        team=first.team,
        fallback="user",
        fallback_user=first,
    )
    for seller in others[:1]:
        limits = {"max_open_leads": 250, "working_hours": OFFICE_HOURS}
        changes.save(Availability(user=seller), **limits)
    for seller in others[-1:]:
        start = timezone.now() + timedelta(days=7)
        changes.save(
            Absence(owner=seller),
            starts_at=start,
            ends_at=start + timedelta(days=7),
            note="Holiday",
        )
