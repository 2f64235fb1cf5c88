"""Retention: what was logged is erased once it is older than its organization keeps.

A job for each organization, once a day, erases in batches of rows: changes, then the
change sets of which none is left and to which nothing else points, then security
events. What the job is about to erase it first notes on the organization, so that
nobody undoes half of a change set (`require_kept`).
"""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Exists, OuterRef, Q, QuerySet

from core.append_only import erasing
from core.exceptions import Conflict
from core.jobs import JobFailed, JobHandler, handles, submit
from core.models import Change, ChangeSet, Job, Organization, SecurityEvent

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
        before = organization.kept_since()
        active = Job.objects.filter(organization=organization, kind=KIND)
        if active.filter(status__in=Job.ACTIVE).exists():
            continue
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
            if erased := _erase(rows):
                job.counts[name] += erased
                job.done += erased
                return False
        if job.done:
            SecurityEvent.objects.create(
                organization=organization,
                kind=SecurityEvent.Kind.ERASURE,
                detail={"before": self.before.date().isoformat(), **job.counts},
            )
        return True


def _expired(
    organization: Organization, before: datetime
) -> Iterator[tuple[str, QuerySet]]:
    """What is to be erased, in this order, by the name of its count."""
    old = {"organization": organization, "created_at__lt": before}
    yield "changes", Change.objects.filter(**old)
    yield "change_sets", _unreferenced(ChangeSet.objects.filter(**old))
    yield "security_events", SecurityEvent.objects.filter(**old)
    if _keeps_longest(organization):
        # Sign-ins to accounts that nobody has are kept as long as any log is.
        old["organization"] = None
        yield "security_events", SecurityEvent.objects.filter(**old)


def _unreferenced(change_sets: QuerySet) -> QuerySet:
    """Those without changes, jobs, undos or anything else that points at them."""
    for field in ChangeSet._meta.get_fields(include_hidden=True):
        if field.auto_created and not field.concrete:
            pointing = {field.field.name: OuterRef("pk")}
            rows = field.related_model._base_manager.filter(**pointing)
            change_sets = change_sets.filter(~Exists(rows))
    return change_sets


def _keeps_longest(organization: Organization) -> bool:
    longer = Q(audit_retention_days=None)
    longer |= Q(audit_retention_days__gt=organization.audit_retention_days)
    return not Organization.objects.filter(longer).exists()


def _erase(rows: QuerySet) -> int:
    """Erase the oldest of these rows, one batch; the number of them."""
    batch = rows.order_by("created_at", "id").values("pk")[:BATCH_ROWS]
    with erasing():
        erased, _ = rows.model._base_manager.filter(pk__in=batch).delete()
    return erased
