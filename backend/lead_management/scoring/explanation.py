"""Why a lead has its score, as far as the reader sees what it comes from."""

from django.utils import timezone

from core import access
from core.access import Scope, Verb
from core.history import summary_of
from core.models import Change
from lead_management.models import Activity, Lead, LeadScore
from lead_management.scoring.computing import Computation, Contribution
from lead_management.scoring.rules import Group


def explained(lead: Lead, user) -> dict:
    """The score of a lead by the published model, with everything it is made of."""
    published = LeadScore.published_models(lead.organization_id)
    rows = lead.scores.filter(scoring_model__in=published)
    row = rows.select_related("scoring_model__organization").first()
    override = _override_of(lead)
    if row is None:
        return {
            "total": None,
            "grade": None,
            "computed_total": None,
            "override": override,
            "groups": [],
            "contributions": [],
            "scoring_model": None,
            "computed_at": None,
            "is_current": False,
        }
    model = row.scoring_model
    contributions = [Contribution.from_json(values) for values in row.contributions]
    computation = Computation(model)
    waiting = row.due_at is not None and row.due_at <= timezone.now()
    return {
        "total": row.total,
        "grade": model.grade_of(row.total),
        "computed_total": row.computed_total,
        "override": override,
        "groups": [
            {
                "group": group.value,
                "points": round(points, 2),
                "counted": round(counted, 2),
            }
            for group, (points, counted) in computation.groups(contributions).items()
        ],
        "contributions": [
            _told(model.rules[one.rule], one, user) for one in contributions
        ],
        "scoring_model": {name: getattr(model, name) for name in model.summary_fields},
        "computed_at": row.computed_at,
        "is_current": row.computed_at is not None and not waiting,
    }


def _told(rule: dict, contribution: Contribution, user) -> dict:
    is_shown = shows(rule, user)
    return {
        "group": rule["group"],
        "rule": rule["name"] if is_shown else None,
        "points": contribution.points,
        "at": contribution.at if is_shown else None,
    }


def shows(rule: dict, user) -> bool:
    """Whether the reader may know that a rule holds: it tells what a field holds."""
    model = Lead if rule["group"] == Group.FIT else Activity
    record_type = model.record_type()
    if access.scope_of(user, record_type, Verb.VIEW) == Scope.NONE:
        return False
    hidden = access.hidden_fields(user, record_type)
    if not hidden:
        return True
    if "search" in rule["filter"] or (model is Activity and "occurred_at" in hidden):
        return False
    return not any(name.partition("__")[0] in hidden for name in rule["filter"])


def _override_of(lead: Lead) -> dict | None:
    """What somebody set in the place of the score, while it holds."""
    if not lead.is_overridden:
        return None
    return {
        "score": lead.score_override,
        "reason": lead.score_override_reason,
        "until": lead.score_override_until,
        "set_by": summary_of(_setter(lead)),
    }


def _setter(lead: Lead):
    """Whoever set the present override, as the journal has it."""
    changes = Change.objects.filter(
        record_id=lead.pk, after__has_key="score_override_until"
    )
    change = changes.order_by("-version").select_related("change_set__actor").first()
    return change and change.change_set.actor
