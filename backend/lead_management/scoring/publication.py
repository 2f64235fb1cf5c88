"""Publishing a version: its scores are made beside those shown, then it takes over.

First every lead gets a row that waits to be computed, then the rows are computed, a
chunk in each transaction. Leads that come or change meanwhile have their rows made due
like any other. When none waits for its first score, one transaction retires the old
version and publishes the new: each statement of a reader sees the one or the other.
"""

from django.db import transaction
from django.utils import timezone
from rest_framework.exceptions import PermissionDenied

from core import access, cache
from core.exceptions import Conflict
from core.jobs import JobFailed, JobHandler, handles, submit
from core.models import Changes, ChangeSet, Job
from core.origin import kept_origin
from core.saved_filters import nobody_of
from lead_management.models import Lead, LeadScore, ScoringModel
from lead_management.scoring.computing import Computation, compute
from lead_management.scoring.rescoring import CHUNK_ROWS
from lead_management.scoring.rules import checked_rules

KIND = "score_publication"
BEGIN_ROWS = 20_000
Status = ScoringModel.Status


def start(changes: Changes, model: ScoringModel, **params) -> Job:
    """Let a locked draft be published.

    Args:
        params: if known the `reason` and the request's origin.

    Raises:
        Conflict: it is no draft, or another version is being computed.
        ValidationError: its rules are none any more.
    """
    if model.status != Status.DRAFT:
        raise Conflict(f"This version is {model.status}.", "not_draft")
    others = ScoringModel.objects.filter(organization=model.organization_id)
    if others.filter(status=Status.COMPUTING).exists():
        raise Conflict("Another version is being computed.", "computing")
    checked_rules(model.rules, nobody_of(model.organization))
    changes.save(model, status=Status.COMPUTING)
    job = Job(
        organization_id=model.organization_id,
        owner=changes.actor,
        kind=KIND,
        params={"scoring_model": str(model.pk), **params},
        counts={"computed": 0},
    )
    return submit(job)


@handles(KIND)
class PublicationHandler(JobHandler):
    def __init__(self, job):
        models = ScoringModel.objects.select_related("organization")
        self.computation = Computation(models.get(pk=job.params["scoring_model"]))

    def step(self, job):
        model = self.computation.model
        if job.total is None:
            leads = Lead.objects.live().filter(organization=job.organization)
            job.total = leads.count()
            # Of an attempt before, by rules that may have been others.
            LeadScore.objects.filter(scoring_model=model).delete()
        if LeadScore.begin(model, LeadScore.without(model).order_by("pk")[:BEGIN_ROWS]):
            return False
        rows = LeadScore.objects.filter(scoring_model=model, computed_at=None)
        rows = list(rows.order_by("pk")[:CHUNK_ROWS])
        if rows:
            compute(self.computation, rows)
            job.counts["computed"] += len(rows)
            job.done = min(job.done + len(rows), job.total)
            return False
        job.done = job.total
        self._take_over(job, model)
        return True

    def _take_over(self, job: Job, model: ScoringModel) -> None:
        change_set = ChangeSet(
            organization=job.organization,
            actor=job.owner,
            source=ChangeSet.Source.API,
            reason=job.params.get("reason") or f"Scores by version {model}",
            **kept_origin(job.params),
        )
        try:
            if job.owner:
                verb = access.Verb.EDIT
                access.require_some(job.owner, ScoringModel.record_type(), verb)
            with change_set.writing() as changes:
                shown = LeadScore.published_models(job.organization_id)
                for old in shown.select_for_update(of=("self",)):
                    changes.save(old, status=Status.RETIRED)
                now = timezone.now()
                changes.save(model, status=Status.PUBLISHED, published_at=now)
        except PermissionDenied as refusal:
            raise JobFailed("permission_denied", str(refusal.detail)) from refusal
        job.change_set = change_set
        scores = cache.names_of(LeadScore.record_type())
        cache.mark_until_commit(job.organization_id, scores)

    @staticmethod
    @transaction.atomic
    def clean_up(job):
        """What was not published is a draft again, without scores."""
        models = ScoringModel.objects.select_for_update(of=("self",))
        model = models.filter(pk=job.params["scoring_model"]).first()
        if model is None or model.status != Status.COMPUTING:
            return
        system = ChangeSet(
            organization_id=model.organization_id,
            source=ChangeSet.Source.SYSTEM,
            reason="The version was not published",
        )
        with system.writing() as changes:
            changes.save(model, status=Status.DRAFT)
