"""Retention: what was logged is erased once it is older than its organization keeps.

A job for each organization, once a day, erases in batches of rows: changes, security
events, and then the change sets to which no change is left and nothing else points.
What the job is about to erase it first notes on the organization, so that nobody
undoes half of a change set (`require_kept`).
"""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from core.append_only import erasing
from core.exceptions import Conflict
from core.jobs import JobFailed, JobHandler, handles, submit
from core.locks import one_at_a_time
from core.models import Change, ChangeSet, Job, Organization, SecurityEvent
from core.models.values import to_json

KIND = "audit_erasure"
BATCH_ROWS = 5000


def require_kept(change_set: ChangeSet) -> None:
    """Raise Conflict where changes of this set are, or are being, erased.

    To be asked after the changes were read: what was not noted by then was all there.
    """
    organizations = Organization.objects.filter(pk=change_set.organization_id)
    before = organizations.values_list("erased_before", flat=True).get()
    if before and change_set.created_at < before:
        raise Conflict("What was changed then is no longer kept.", "erased")


def start_due() -> None:
    """Submit a job for each organization that has logs older than it wants."""
    for organization in Organization.objects.exclude(audit_retention_days=None):
        with transaction.atomic():
            one_at_a_time(f"retention: {organization.pk}")
            _start(organization)


def _start(organization: Organization) -> None:
    before = organization.kept_since()
    active = Job.objects.filter(organization=organization, kind=KIND)
    if active.filter(status__in=Job.ACTIVE).exists():
        return
    if any(rows.exists() for _, rows in _expired(organization, before)):
        submit(
            Job(
                organization=organization,
                kind=KIND,
                params={"before": before.isoformat()},
                counts={"changes": 0, "change_sets": 0, "security_events": 0},
            )
        )


@handles(KIND)
class ErasureHandler(JobHandler):
    """Changes and events, the oldest first; then sets, from the newest to the oldest.

    So an undo goes before what it undid. The state tells the last set looked at.
    """

    def __init__(self, job):
        self.before = datetime.fromisoformat(job.params["before"])

    def step(self, job):
        organization = Organization.objects.get(pk=job.organization_id)
        kept_since = organization.kept_since()
        if kept_since is None or kept_since < self.before:
            raise JobFailed("kept_longer", "The audit log is to be kept longer now.")
        noted = organization.erased_before
        if noted is None or noted < self.before:
            organization.erased_before = self.before
            organization.save(update_fields=["erased_before"])
            return False
        for name, rows in _expired(organization, self.before):
            if self._erase(job, name, rows.order_by("created_at", "id")):
                return False
        if self._erase_change_sets(job):
            return False
        if job.done:
            SecurityEvent.objects.create(
                organization=organization,
                kind=SecurityEvent.Kind.ERASURE,
                detail={"before": self.before.date().isoformat(), **job.counts},
            )
        return True

    @staticmethod
    def _erase(job: Job, name: str, rows: QuerySet) -> int:
        """Erase the first of these rows, one batch; the number of them."""
        batch = rows.model._base_manager.filter(pk__in=rows.values("pk")[:BATCH_ROWS])
        with erasing():
            # Django's own delete() would read all that points at the rows once more.
            # The database checks it in any case.
            erased = batch._raw_delete(batch.db)
        job.counts[name] += erased
        job.done += erased
        return erased

    def _erase_change_sets(self, job: Job) -> bool:
        """Erase those of the next sets to which nothing points; whether there were any.

        What points at them is asked for one batch at a time: all at once would read
        the whole journal.
        """
        sets = ChangeSet.objects.filter(
            organization=job.organization_id, created_at__lt=self.before
        )
        if "moment" in job.state:
            moment, pk = job.state["moment"], job.state["id"]
            sets = sets.filter(
                Q(created_at__lt=moment) | Q(created_at=moment, id__lt=pk),
                created_at__lte=moment,
            )
        places = sets.order_by("-created_at", "-id").values_list("created_at", "id")
        batch = list(places[:BATCH_ROWS])
        if not batch:
            return False
        moment, pk = batch[-1]
        job.state = {"moment": to_json(moment), "id": str(pk)}
        left = {pk for _, pk in batch}
        while free := left - _referenced(left):
            self._erase(job, "change_sets", ChangeSet.objects.filter(pk__in=free))
            left -= free
        return True


def _expired(
    organization: Organization, before: datetime
) -> Iterator[tuple[str, QuerySet]]:
    """What is to be erased beside change sets, by the name of its count."""
    old = {"organization": organization, "created_at__lt": before}
    yield "changes", Change.objects.filter(**old)
    yield "security_events", SecurityEvent.objects.filter(**old)
    if _keeps_longest(organization):
        # Sign-ins to accounts that nobody has are kept as long as any log is.
        old["organization"] = None
        yield "security_events", SecurityEvent.objects.filter(**old)


def _keeps_longest(organization: Organization) -> bool:
    longer = Q(audit_retention_days=None)
    longer |= Q(audit_retention_days__gt=organization.audit_retention_days)
    return not Organization.objects.filter(longer).exists()


def _referenced(change_sets: set[UUID]) -> set[UUID]:
    """Those that still have changes, or to which undos, jobs or other rows point."""
    found = set()
    for field in ChangeSet._meta.get_fields(include_hidden=True):
        if field.auto_created and not field.concrete:
            name = field.field.attname
            rows = field.related_model._base_manager.filter(
                **{f"{name}__in": change_sets}
            )
            found.update(rows.order_by().values_list(name, flat=True).distinct())
    return found
