"""Scoring models for tests."""

from core.jobs import run
from core.models import Job
from core.testing import system_changes
from lead_management.models import Lead, ScoringModel
from lead_management.scoring import publication
from lead_management.scoring.rescoring import rescore


def fit(name: str, points: int, **filter) -> dict:
    return {"name": name, "group": "fit", "filter": filter, "points": points}


def engagement(name: str, points: int, /, at_least=1, at_most=10, **filter) -> dict:
    rule = {"name": name, "group": "engagement", "filter": filter, "points": points}
    return {**rule, "at_least": at_least, "at_most": at_most}


EVERY_LEAD = fit("Every lead", 10)


def make_model(organization, *rules, **values) -> ScoringModel:
    """A draft with these rules."""
    model = ScoringModel()
    values = {"name": "Rules", "rules": list(rules or [EVERY_LEAD]), **values}
    with system_changes(organization) as changes:
        changes.save(model, **values)
    return model


def start(model) -> Job:
    """The job that publishes a draft, which nobody has worked on yet."""
    with system_changes(model.organization) as changes:
        return publication.start(changes, model)


def publish(model) -> ScoringModel:
    job = start(model)
    run(job.pk)
    model.refresh_from_db()
    return model


def publish_rules(organization, *rules, **values) -> ScoringModel:
    return publish(make_model(organization, *rules, **values))


def shown_score(lead) -> int | None:
    """The score that lists show, once all that is due is computed."""
    rescore(lead.organization_id)
    leads = Lead.objects.with_scores(lead.organization_id)
    return leads.get(pk=lead.pk).lead_score
