"""Removing for good what was deleted long ago, and what was left of it elsewhere.

What the journal says of it stays.
"""

import random
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain
from uuid import UUID

from django.db import models, transaction
from django.utils import timezone

from core import cache, search
from core.deletion import references_to
from core.locks import one_at_a_time
from core.models import JobError, JobSkip, Organization, SearchWord
from core.registry import record_types, searched_types

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


def purge_words(seconds: float = SLICE_SECONDS) -> None:
    """Forget words that no record holds any more, for a slice of time.

    Which words a change took from a record, nobody notes: they are looked through. It
    begins anywhere, and goes round once, so that in time each has its turn.
    """
    deadline = time.monotonic() + seconds
    forgotten = set()
    for found in _words_from_anywhere():
        if time.monotonic() > deadline:
            break
        if not search.is_held(*found):
            search.forget(*found)
            forgotten.add(found)
    # Whoever wrote such a word at this very time took it for known. If that is not
    # committed by now either, the word is learned with the next record that has it.
    for organization_id, word in forgotten:
        if search.is_held(organization_id, word):
            search.learn(organization_id, {word})
    # What was found by them, or by those that came near them.
    for organization_id in {organization_id for organization_id, _ in forgotten}:
        names = chain(*map(cache.names_of, searched_types()))
        cache.lift(cache.mark(organization_id, names))


def _words_from_anywhere() -> Iterator[tuple[UUID, str]]:
    """Each organization and word, in the order of their rows."""
    words = SearchWord.objects.filter(shortened=models.F("word")).order_by("pk")
    last = words.last()
    start = random.randint(0, last.pk) if last else 0  # noqa: S311
    for part in (words.filter(pk__gt=start), words.filter(pk__lte=start)):
        place = 0
        while rows := list(part.filter(pk__gt=place)[:BATCH_RECORDS]):
            yield from ((row.organization_id, row.word) for row in rows)
            place = rows[-1].pk
