"""Which rule a lead matches: asked of the database, for all rules and leads at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.db.models import Exists, OuterRef
from rest_framework.exceptions import APIException

from core import saved_filters
from core.models import Organization
from core.problems import flatten
from lead_management.models import AssignmentRule, Lead


@dataclass
class Match:
    """The first rule that a lead matches, if any, and why those before it do not."""

    rule: AssignmentRule | None = None
    not_matched: list[tuple[AssignmentRule, str]] = field(default_factory=list)


def first_matches(
    rules: Sequence[AssignmentRule], leads: Sequence[Lead], organization: Organization
) -> dict[UUID, Match]:
    """The match of each lead, by its id.

    One query, whatever the number of leads and rules; none where the first rule is for
    all leads. A rule whose filter is no longer understood, for its custom field was
    archived, matches no lead.

    Args:
        rules: in their order.
        leads: that stand in the database, as this transaction sees it.
    """
    conditions, faults = {}, {}
    asked = [rule for rule in rules_until_all(rules) if rule.filter]
    same_lead = Lead.objects.filter(pk=OuterRef("pk"))
    found = saved_filters.each_narrowed(
        same_lead,
        [rule.filter for rule in asked],
        saved_filters.nobody_of(organization),
    )
    for rule, condition in zip(asked, found, strict=True):
        if isinstance(condition, APIException):
            named = ", ".join(e["field"] or "" for e in flatten(condition.detail))
            faults[rule.pk] = f"its filter is not understood any more: {named}"
        else:
            conditions[rule.pk] = condition
    true_of = _asked(conditions, leads)
    matches = {}
    for lead in leads:
        match = matches[lead.pk] = Match()
        for rule in rules:
            if not rule.filter or rule.pk in true_of[lead.pk]:
                match.rule = rule
                break
            reason = faults.get(rule.pk, "the lead does not match")
            match.not_matched.append((rule, reason))
    return matches


def rules_until_all(rules: Sequence[AssignmentRule]) -> list[AssignmentRule]:
    """The rules that can come to decide: none comes after one that is for all leads."""
    for number, rule in enumerate(rules, 1):
        if not rule.filter:
            return list(rules[:number])
    return list(rules)


def _asked(conditions: dict, leads: Sequence[Lead]) -> dict[UUID, set[UUID]]:
    """The ids of the rules whose condition is true, by lead."""
    if not conditions:
        return {lead.pk: set() for lead in leads}
    names = {f"rule_{n}": pk for n, pk in enumerate(conditions)}
    rows = Lead.objects.filter(pk__in=[lead.pk for lead in leads]).annotate(
        **{name: Exists(conditions[pk]) for name, pk in names.items()}
    )
    return {
        pk: {rule for rule, holds in zip(names.values(), answers, strict=True) if holds}
        for pk, *answers in rows.values_list("pk", *names)
    }
