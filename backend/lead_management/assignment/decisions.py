"""Who gets which lead, and why.

Decisions of an organization are made one after the other: its rules are locked until
the transaction ends that writes what was decided. So turns are taken evenly, and nobody
gets more than they may, however many leads come at once.

The rules are locked in the order of their ids, and last, when the leads are written or
locked already: who holds them waits for nobody. Only a batch goes on to write more. It
may then wait for a unique value of somebody who waits for the rules; the database ends
one of the two, and that request is done again.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from core.exceptions import Conflict
from core.models import Changes, Organization
from lead_management.assignment.matching import Match, first_matches
from lead_management.assignment.roster import Person, Reason, Roster
from lead_management.models import AssignmentDecision, AssignmentRule, Lead

Method, Fallback = AssignmentRule.Method, AssignmentRule.Fallback
Outcome = AssignmentDecision.Outcome
OWNED_AS_BEFORE = (Outcome.KEPT, Outcome.UNMATCHED)


@dataclass
class Decision:
    """Who gets a lead, and what it follows from.

    Attributes:
        assignee: the user who gets it; None for nobody.
        was_named: whether the rule was asked for, and not found.
    """

    lead: Lead
    match: Match
    outcome: Outcome = Outcome.UNMATCHED
    assignee: Any = None
    passed_over: list[tuple[Any, Reason]] = field(default_factory=list)
    was_named: bool = False

    @property
    def rule(self) -> AssignmentRule | None:
        return self.match.rule

    @property
    def leaves_owner(self) -> bool:
        return self.outcome in OWNED_AS_BEFORE

    def explanation(self) -> str:
        """The reasons, in sentences."""
        told = [f"Rule '{rule}': {why}." for rule, why in self.match.not_matched]
        if rule := self.rule:
            whom = rule.user or rule.team
            came = "was asked for" if self.was_named else "matches"
            told.append(f"Rule '{rule}' {came}: {rule.get_method_display()}, {whom}.")
        told += [f"{user} {reason.label}." for user, reason in self.passed_over]
        if self.outcome == Outcome.FALLBACK:
            told.append(f"Nobody can take it: {self.rule.get_fallback_display()}.")
        goes = f"It goes to {self.assignee}." if self.assignee else None
        told.append(goes or f"{self.outcome.label.capitalize()}.")
        return " ".join(told)

    def as_row(self) -> AssignmentDecision:
        """The entry of the log, but for what it is part of."""
        return AssignmentDecision(
            organization_id=self.lead.organization_id,
            lead=self.lead,
            rule=self.rule,
            assignee=self.assignee,
            outcome=self.outcome,
            explanation=self.explanation(),
            not_matched=[
                {"rule": str(rule.pk), "reason": reason}
                for rule, reason in self.match.not_matched
            ],
            passed_over=[
                {"user": str(user.pk), "reason": str(reason)}
                for user, reason in self.passed_over
            ],
        )


def assign_new(leads: Sequence[Lead], changes: Changes) -> None:
    """Give new leads, just written under these changes, the owners that rules choose.

    It is part of their making. Each says by `auto_assign` what it wants: true, or the
    id of the rule that is to be taken.
    """
    wishes = defaultdict(list)
    for lead in leads:
        if lead.is_open:
            wishes[lead.auto_assign].append(lead)
    for wish, wanting in wishes.items():
        decisions = decide(wanting, changes.change_set.organization, wish)
        by_owner = defaultdict(list)
        for decision in decisions:
            if not decision.leaves_owner:
                by_owner[decision.assignee].append(decision.lead)
        for owner, owned in by_owner.items():
            changes.complete(owned, owner=owner)
        note(decisions, changes)


def assign_again(lead: Lead, changes: Changes, wish: bool | str = True) -> None:
    """Give a locked lead to whom the rules choose now, by the right to assign it.

    Raises:
        Conflict: it is over with the lead, or there is no rule.
    """
    if not lead.is_open:
        raise Conflict("Only an open lead is assigned.", "not_open")
    decisions = decide([lead], changes.change_set.organization, wish)
    if not decisions:
        raise Conflict("There is no active rule.", "no_rule")
    [decision] = decisions
    if not decision.leaves_owner:
        changes.save(lead, owner=decision.assignee)
    note(decisions, changes)


def note(decisions: Sequence[Decision], changes: Changes) -> None:
    """Write decisions into the log, as part of these changes."""
    rows = [decision.as_row() for decision in decisions]
    for row in rows:
        row.change_set = changes.change_set.pk
    AssignmentDecision.objects.bulk_create(rows, batch_size=1000)


def decide(
    leads: Sequence[Lead], organization: Organization, wish: bool | str = True
) -> list[Decision]:
    """Decide about leads, in their order, and take the turns that this takes.

    Nothing else is written. Without a rule nothing is decided.

    Args:
        leads: that stand in the database, as this transaction sees it.
        wish: True, or the id of the rule that is to be taken, whatever it asks.
    """
    rules = AssignmentRule.objects.active_in(organization)
    rules = rules.select_related("team", "fallback_team")
    if wish is not True:
        rules = rules.filter(pk=wish)
    rules = list(rules)
    if not (rules and leads):
        return []
    if wish is True:
        matches = first_matches(rules, leads, organization)
    else:
        matches = {lead.pk: Match(rules[0]) for lead in leads}
    decisions = [
        Decision(lead, matches[lead.pk], was_named=wish is not True) for lead in leads
    ]
    matched = {d.rule for d in decisions if d.rule}
    if matched:
        _fill(decisions, matched, organization)
    return decisions


def _fill(decisions, rules: set[AssignmentRule], organization) -> None:
    """Find who takes each lead that matched a rule."""
    roster = Roster(rules)
    turns = _locked_turns(organization)
    roster.count([decision.lead for decision in decisions])
    before = dict(turns)
    for decision in decisions:
        if decision.rule:
            _choose(decision, roster, turns)
    for rule in rules:
        if turns[rule.pk] != before[rule.pk]:
            row = AssignmentRule._base_manager.filter(pk=rule.pk)
            row.update(last_assignee=turns[rule.pk])


def _locked_turns(organization) -> dict:
    """Whose turn was the last one under each rule, from now on nobody else's to take.

    All rules are locked, for who is full by one of them takes no lead by another; those
    too that were switched off since they were read.
    """
    rules = AssignmentRule.objects.filter(organization=organization).order_by("pk")
    locked = rules.select_for_update(of=("self",), no_key=True)
    return dict(locked.values_list("pk", "last_assignee"))


def _choose(decision: Decision, roster: Roster, turns: dict) -> None:
    rule = decision.rule
    if rule.method == Method.USER:
        candidates = [roster.person(rule.user_id)]
    else:
        candidates = roster.members(rule.team_id, turns[rule.pk])
    by_count = rule.method == Method.LEAST_OPEN
    person = _free(candidates, decision, by_count)
    if person:
        decision.outcome = Outcome.ASSIGNED
        if rule.method != Method.USER:
            turns[rule.pk] = person.user.pk
    else:
        person = _fall_back(decision, roster)
    if person:
        decision.assignee = person.user
        person.open_leads += 1


def _free(people: list[Person], decision: Decision, by_count: bool) -> Person | None:
    """The first of these people who can take a lead, or who has the fewest."""
    free = []
    for person in people:
        if obstacle := person.obstacle():
            decision.passed_over.append((person.user, obstacle))
        elif by_count:
            free.append(person)
        else:
            return person
    return min(free, key=attrgetter("open_leads"), default=None)


def _fall_back(decision: Decision, roster: Roster) -> Person | None:
    """What the rule has for a lead that nobody can take; sets the outcome."""
    rule, person = decision.rule, None
    if rule.fallback == Fallback.KEEP:
        decision.outcome = Outcome.KEPT
        return None
    if rule.fallback == Fallback.USER:
        person = roster.person(rule.fallback_user_id)
        if person.bar:
            decision.passed_over.append((person.user, person.bar))
            person = None
    elif rule.fallback == Fallback.TEAM:
        person = _free(roster.members(rule.fallback_team_id), decision, by_count=True)
    decision.outcome = Outcome.FALLBACK if person else Outcome.QUEUED
    return person
