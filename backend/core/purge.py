"""Removing for good what was deleted long ago. What the journal says of it stays."""

import time
from datetime import datetime, timedelta
from itertools import chain

from django.db import models, transaction
from django.utils import timezone

from core import cache
from core.deletion import references_to
from core.locks import one_at_a_time
from core.models import JobError, JobSkip, Organization
from core.registry import record_types

BATCH_RECORDS = 500
BATCH_ROWS = 5000
SLICE_SECONDS = 20


def purge(seconds: float = SLICE_SECONDS) -> int:
    """Purge in all organizations, for a slice of time; how many rows went."""
    deadline = time.monotonic() + seconds
    purged = 0
    for organization in Organization.objects.all():
        before = timezone.now() - timedelta(days=organization.purge_after_days)
        for batch in (purge_batch, purge_rows_of_jobs):
            while time.monotonic() < deadline:
                count = batch(organization, before)
                if not count:
                    break
                purged += count
    return purged


@transaction.atomic
def purge_batch(
    organization: Organization, before: datetime, limit: int = BATCH_RECORDS
) -> int:
    """Remove up to `limit` records of each type that were deleted before a moment.

    Those that others still refer to wait: what hangs on a record goes before it. Links
    between records go with either.
    """
    one_at_a_time(f"purge: {organization.pk}")
    purged = {}
    for record_type, model in record_types().items():
        rows = model._base_manager.filter(
            organization=organization, deleted_at__lt=before
        )
        references = references_to(model)
        links = [one for one in references if one.model.is_link]
        for reference in [one for one in references if one not in links]:
            referring = reference.model._base_manager.filter(
                **{reference.name: models.OuterRef("pk")}
            )
            rows = rows.exclude(models.Exists(referring))
        ids = list(rows.values_list("pk", flat=True)[:limit])
        if ids:
            for reference in links:
                of_these = {f"{reference.name}__in": ids}
                reference.model._base_manager.filter(**of_these).delete()
            model._base_manager.filter(pk__in=ids).delete()
            purged[record_type] = len(ids)
    if purged:
        cache.mark_until_commit(organization.pk, chain(*map(cache.names_of, purged)))
    return sum(purged.values())


def purge_rows_of_jobs(
    organization: Organization, before: datetime, limit: int = BATCH_ROWS
) -> int:
    """Remove up to `limit` rows that jobs which ended before a moment could not do.

    They hold what stood in a file, be it that of somebody who was deleted since. How
    many there were, the job still says.
    """
    purged = 0
    for model in (JobError, JobSkip):
        old = model.objects.filter(
            job__organization=organization, job__finished_at__lt=before
        )
        ids = old.order_by().values("pk")[:limit]
        purged += model.objects.filter(pk__in=ids).delete()[0]
    return purged
