"""Keeping scores up to date: whatever is due is computed, by whichever worker comes.

The rows themselves say what is due, so nothing is lost with a broker or a worker: a
message only says "look". Rows that one worker has claimed are left to it.
"""

import time
from datetime import timedelta
from functools import partial

from django.db import transaction
from django.utils import timezone

from core.jobs import tell_once
from lead_management.models import LeadScore, ScoringModel
from lead_management.scoring.computing import Computation, compute

CHUNK_ROWS = 1000
SLICE_SECONDS = 20
CLAIM_SECONDS = 60
# Rows of a version that was replaced are kept a while: a reader may be at them.
KEPT_MINUTES = 10
REMOVED_ROWS = 5000


def tell_workers(organization_id) -> None:
    """Let a worker look, once the transaction has committed: at all of a second."""
    from lead_management.tasks import rescore_leads

    transaction.on_commit(partial(tell_once, rescore_leads, str(organization_id)))


def rescore(organization_id, seconds: float = SLICE_SECONDS) -> int:
    """Compute the scores of an organization that are due, for a slice of time.

    Returns:
        How many were computed.
    """
    deadline = time.monotonic() + seconds
    models = ScoringModel.objects.select_related("organization")
    models = models.filter(
        organization=organization_id, status__in=ScoringModel.CURRENT
    )
    computed = 0
    for computation in [Computation(model) for model in models]:
        while time.monotonic() < deadline:
            count = rescore_chunk(computation)
            if not count:
                break
            computed += count
    return computed


def rescore_chunk(computation: Computation, limit: int = CHUNK_ROWS) -> int:
    rows = claimed(computation.model, limit)
    if rows:
        compute(computation, rows)
    return len(rows)


@transaction.atomic
def claimed(model: ScoringModel, limit: int) -> list[LeadScore]:
    """The next rows that are due, which no other worker takes meanwhile."""
    rows = LeadScore.objects.filter(scoring_model=model).due()
    rows = rows.select_for_update(of=("self",), skip_locked=True)
    rows = list(rows.order_by("due_at")[:limit])
    until = timezone.now() + timedelta(seconds=CLAIM_SECONDS)
    taken = LeadScore.objects.filter(pk__in=[row.pk for row in rows])
    taken.update(claimed_until=until)
    return rows


def rescore_now(lead) -> None:
    """Compute the scores of one lead in this transaction."""
    rows = LeadScore.objects.current().filter(lead=lead)
    for row in rows.select_related("scoring_model__organization"):
        compute(Computation(row.scoring_model), [row])


def organizations_due() -> list:
    """Those with scores that are due."""
    rows = LeadScore.objects.current().due().order_by()
    return list(rows.values_list("scoring_model__organization", flat=True).distinct())


def tidy(seconds: float = SLICE_SECONDS) -> None:
    """Remove the rows of versions that were replaced, and make those that are missing.

    A lead that was being made just while a version was published may have none of it.
    """
    deadline = time.monotonic() + seconds
    before = timezone.now() - timedelta(minutes=KEPT_MINUTES)
    old = LeadScore.objects.exclude(scoring_model__status__in=ScoringModel.CURRENT)
    old = old.filter(scoring_model__updated_at__lt=before)
    while time.monotonic() < deadline:
        ids = list(old.values_list("pk", flat=True)[:REMOVED_ROWS])
        if not ids:
            break
        LeadScore.objects.filter(pk__in=ids).delete()
    for model in ScoringModel.objects.filter(status=ScoringModel.Status.PUBLISHED):
        LeadScore.begin(model, LeadScore.without(model))
