"""Export as a job: a file that grows by chunks, and is kept for a while.

A text is gone on with at the byte where the last committed chunk ended, whatever a
worker that died wrote behind it. A workbook is begun anew.
"""

import os
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone
from rest_framework.exceptions import PermissionDenied, ValidationError

from core import security
from core.exporting.formats import (
    CONTENT_TYPES,
    EXTENSIONS,
    MAX_SHEET_ROWS,
    Format,
    Workbook,
)
from core.exporting.wish import Export, Wish, may_have
from core.files import remove, untouched
from core.jobs import MAX_ATTEMPTS, JobFailed, JobHandler, handles, submit
from core.models import Job, SecurityEvent
from core.models.values import to_json
from core.origin import kept_origin
from core.problems import flatten
from core.registry import record_types
from core.renderers import dumps

KIND = "export"


def file_of(job_id) -> Path:
    """Where the file of an export is kept."""
    return Path(settings.MEDIA_ROOT) / "exports" / str(job_id)


def start(user, wish: Wish, **origin) -> Job:
    """Submit an export.

    Args:
        user: whose rights count, for each chunk anew.
        origin: of the request, if known.

    Raises:
        PermissionDenied, ValidationError: as `Export`.
    """
    Export(user, wish)
    return submit(
        Job(
            organization=user.organization,
            owner=user,
            kind=KIND,
            params={**asdict(wish), **origin},
            counts={"exported": 0},
        )
    )


def wish_of(job: Job) -> Wish:
    return Wish(**{name: job.params[name] for name in Wish.__dataclass_fields__})


@handles(KIND)
class ExportHandler(JobHandler):
    """Takes the rows in the order of the list, as each chunk finds them."""

    def __init__(self, job):
        self.wish = wish_of(job)
        self.path = file_of(job.pk)
        self.workbook: Workbook | None = None
        self.can_pause = self.wish.format != Format.XLSX

    def close(self):
        if self.workbook:
            self.workbook.close()

    def step(self, job):
        try:
            # Again for each chunk: rights may be lost while the job waits or runs.
            export = Export(job.owner, self.wish)
        except PermissionDenied as refusal:
            raise JobFailed("permission_denied", str(refusal.detail)) from refusal
        except ValidationError as fault:
            named = ", ".join(
                f"{e['field']}: {e['detail']}" for e in flatten(fault.detail)
            )
            raise JobFailed("invalid", f"It cannot be done any more: {named}") from None
        if job.state.get("rights", export.rights) != export.rights:
            raise JobFailed("rights_changed", "The rights changed while it ran.")
        if self._must_begin(job):
            self._begin(job, export)
        answers, place = export.after(job.state["place"])
        if self.can_pause:
            text = export.text_format(job.state["keys"]).chunk(answers)
            job.state["bytes"] = self._append(job.state["bytes"], text)
        else:
            self._add(job, answers)
        job.done += len(answers)
        job.counts["exported"] = job.done
        job.state["place"] = place and to_place(place)
        if place is not None:
            return False
        self._end(job)
        return True

    def _must_begin(self, job: Job) -> bool:
        if "place" not in job.state:
            return True
        if not self.can_pause:
            return self.workbook is None
        size = self.path.stat().st_size if self.path.exists() else 0
        # A disk that lost what it had: the file is made again.
        return size < job.state["bytes"]

    def _begin(self, job: Job, export: Export) -> None:
        starts = job.state.get("starts", 0) + 1
        if starts > MAX_ATTEMPTS:
            raise JobFailed("internal_error", "This failed again and again.")
        job.total, job.done = export.count(), 0
        if not self.can_pause and job.total >= MAX_SHEET_ROWS:
            raise too_many_rows()
        keys = export.keys()
        job.state = {
            **{"starts": starts, "rights": export.rights, "keys": keys},
            **{"place": None, "bytes": 0},
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.can_pause:
            head = export.text_format(keys).head()
            job.state["bytes"] = self._append(0, head)
        else:
            self.workbook = Workbook(self.path, export.columns(keys))

    def _append(self, position: int, text: str) -> int:
        """Write at this position, whatever stands behind it; where it ends."""
        data = text.encode()
        with self.path.open("r+b" if position else "wb") as file:
            file.truncate(position)
            file.seek(position)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return position + len(data)

    def _add(self, job: Job, answers: list[dict]) -> None:
        if self.workbook.rows + len(answers) > MAX_SHEET_ROWS:
            raise too_many_rows()
        self.workbook.add(answers)

    def _end(self, job: Job) -> None:
        if self.workbook:
            self.workbook.finish()
            job.counts["shortened"] = self.workbook.shortened
        job.total = job.done
        job.state["size"] = self.path.stat().st_size
        note(job, job.owner, came_from=kept_origin(job.params))

    @staticmethod
    def clean_up(job):
        if job.status != Job.Status.DONE:
            file_of(job.pk).unlink(missing_ok=True)


def to_place(place):
    return [to_json(value) for value in place] if isinstance(place, list) else place


def too_many_rows() -> JobFailed:
    return JobFailed(
        "too_many_rows",
        f"A workbook holds at most {MAX_SHEET_ROWS - 1:,} records: take CSV, or filters"
        " that find fewer.",
    )


def note(job: Job, user, request=None, came_from=None, step="made") -> None:
    """Write down as a security event that records left, or were made ready to."""
    wish = wish_of(job)
    chosen = f"{len(wish.ids)} chosen" if wish.ids is not None else wish.filters
    security.note(
        request,
        SecurityEvent.Kind.EXPORT,
        user,
        record_type=wish.record_type,
        came_from=came_from,
        step=step,
        job=job.pk,
        format=wish.format,
        filters=dumps(chosen).decode(),
        fields=",".join(wish.fields) if wish.fields else "all",
        rows=job.done,
    )


# The file


def expires_at(job: Job) -> datetime | None:
    """When the file of a finished export goes; None where there is none."""
    if job.status != Job.Status.DONE:
        return None
    return job.finished_at + timedelta(hours=settings.EXPORT_KEPT_HOURS)


def has_file(job: Job) -> bool:
    expiry = expires_at(job)
    return bool(expiry) and timezone.now() < expiry and file_of(job.pk).exists()


def may_fetch(user, job: Job) -> bool:
    """Whether the file holds nothing that the user may not export now."""
    return may_have(user, job.state["rights"], wish_of(job))


def file_name(job: Job) -> str:
    plural = record_types()[job.params["record_type"]]._meta.verbose_name_plural
    day = job.finished_at.date().isoformat()
    extension = EXTENSIONS[job.params["format"]]
    return f"{plural.replace(' ', '-')}-{day}.{extension}"


def content_type(job: Job) -> str:
    return CONTENT_TYPES[job.params["format"]]


def remove_old_files() -> None:
    """Remove the files that can be fetched no more, and what dead workers left."""
    if old := untouched(file_of("any").parent, settings.EXPORT_KEPT_HOURS * 3600):
        active = Job.objects.filter(kind=KIND, status__in=Job.ACTIVE)
        running = {str(pk) for pk in active.values_list("pk", flat=True)}
        for path in old:
            if path.name not in running:
                remove(path)
