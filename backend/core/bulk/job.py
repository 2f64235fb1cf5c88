"""A bulk change as a job: which records, and how far it has come.

The records are taken by their ids, a chunk at a time. A record is looked at when its
chunk comes: one that does not match by then is left, one that was made after the start
is too. The id of the last record is where the next chunk begins, so that after a crash,
or where the change itself makes records match no more, none is missed or taken twice.
"""

from uuid import UUID

from django.db.models import QuerySet
from rest_framework.exceptions import APIException, PermissionDenied

from core import access, saved_filters
from core.bulk.changes import BulkChange, Tally
from core.bulk.serializers import change_from
from core.jobs import JobFailed, JobHandler, handles, submit
from core.models import ChangeSet, Job, JobError, Record
from core.origin import kept_origin
from core.problems import flatten
from core.registry import record_types

KIND = "bulk"
CHUNK_RECORDS = 1000
COUNTS = ("matched", "changed", "unchanged", "refused", "failed", "not_found")
MAX_MESSAGE = 500


def start(user, model, selection: dict, change: dict, **params) -> Job:
    """Submit a bulk change.

    Args:
        user: whose rights count, for each chunk anew.
        selection: `filter`, a saved filter, or `ids`.
        change: as the API takes it.
        params: `dry_run`, and if known `reason` and the request's origin.

    Raises:
        ValidationError: the filter or the change is none of this record type.
    """
    selected(user, model, selection)
    change_from(model, change, user)
    return submit(new_job(user, model, selection, change, **params))


def new_job(user, model, selection: dict, change: dict, **params) -> Job:
    return Job(
        organization=user.organization,
        owner=user,
        kind=KIND,
        params={
            "record_type": model.record_type(),
            "change": change,
            **selection,
            **params,
        },
        counts=dict.fromkeys(COUNTS, 0),
    )


def selected(user, model, selection: dict) -> QuerySet:
    """The records that a bulk change is about, as far as the user sees them."""
    if "ids" in selection:
        return model.objects.visible_to(user).filter(pk__in=selection["ids"])
    return saved_filters.listed(model, selection["filter"], user)


def trial(job: Job) -> list[JobError]:
    """Do a dry run of a single chunk on a job that is not saved; gives its errors."""
    handler = BulkHandler(job)
    handler.step(job)
    job.status = Job.Status.DONE
    return handler.errors


@handles(KIND)
class BulkHandler(JobHandler):
    """Takes the records in the order of their ids."""

    def __init__(self, job):
        self.model = record_types()[job.params["record_type"]]
        self.ids = sorted(UUID(pk) for pk in job.params.get("ids", ()))
        self.errors: list[JobError] = []

    def step(self, job):
        try:
            # Again for each chunk: rights may be lost while the job waits or runs.
            access.require_some(job.owner, self.model.record_type(), access.Verb.VIEW)
            change = change_from(self.model, job.params["change"], job.owner)
            if job.total is None:
                self._begin(job)
            if not job.total:
                return True
            records, asked = self._next(job)
        except PermissionDenied as refusal:
            raise JobFailed("permission_denied", str(refusal.detail)) from refusal
        except APIException as fault:
            errors = flatten(fault.detail)
            named = ", ".join(f"{e['field']}: {e['detail']}" for e in errors)
            raise JobFailed("invalid", f"It cannot be done any more: {named}") from None
        self.errors = []
        if records:
            self._take(job, change, records)
        job.counts["matched"] += len(records)
        job.counts["not_found"] += asked - len(records)
        finished = asked < CHUNK_RECORDS
        job.done = job.total if finished else min(job.done + asked, job.total)
        if not job._state.adding:
            JobError.objects.bulk_create(self.errors)
        return finished

    def _begin(self, job):
        """Fix how many records there are, and the last of them: later ones are out."""
        if self.ids:
            job.total = len(self.ids)
            return
        found = selected(job.owner, self.model, job.params)
        last = found.order_by("-pk").values_list("pk", flat=True).first()
        job.total = found.order_by().count()
        job.state["until"] = last and str(last)

    def _next(self, job) -> tuple[list[Record], int]:
        """The next records, locked, and how many the chunk asks for."""
        after = job.state.get("after")
        if self.ids:
            chunk = [pk for pk in self.ids if after is None or pk > UUID(after)]
            chunk = chunk[:CHUNK_RECORDS]
            found = selected(job.owner, self.model, {"ids": chunk})
        else:
            found = selected(job.owner, self.model, job.params)
            found = found.filter(pk__lte=job.state["until"])
            if after:
                found = found.filter(pk__gt=after)
        found = found.order_by("pk").select_related(found.owner_path)
        records = list(found.select_for_update(of=("self",))[:CHUNK_RECORDS])
        for record in records:
            record.organization = job.owner.organization
        taken = chunk if self.ids else [record.pk for record in records]
        if taken:
            job.state["after"] = str(taken[-1])
        return records, len(taken)

    def _take(self, job: Job, change: BulkChange, records: list[Record]) -> None:
        dry_run = job.params["dry_run"]
        change_set = job.change_set or ChangeSet(
            organization=job.organization,
            actor=job.owner,
            source=ChangeSet.Source.BULK,
            reason=job.params.get("reason") or self._reason(job),
            **kept_origin(job.params),
        )
        with change_set.writing(trial=dry_run) as changes:
            tally = change.take(changes, records)
        if changes.touched and not dry_run:
            job.change_set = change_set
        self._count(job, tally)

    def _reason(self, job: Job) -> str:
        change = job.params["change"]
        names = [*change.get("set", {}), *(name for name in change if name != "set")]
        text = f"Bulk change of {self.model._meta.verbose_name_plural}"
        return f"{text}: {', '.join(names)}"[:500]

    def _count(self, job: Job, tally: Tally) -> None:
        job.counts["changed"] += tally.changed
        job.counts["unchanged"] += tally.unchanged
        job.counts["failed"] += tally.failed
        job.counts["refused"] += tally.refused.total()
        for reason, count in tally.refused.items():
            job.counts[reason] = job.counts.get(reason, 0) + count
        self.errors = [
            JobError(
                job=job,
                column=fault.field,
                code=fault.code,
                message=fault.detail[:MAX_MESSAGE],
                row={"record_type": job.params["record_type"], "id": fault.record_id},
            )
            for fault in tally.faults
        ]
