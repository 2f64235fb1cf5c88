"""Import as a job: the file, and how far its rows have come."""

import shutil
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from django.conf import settings
from rest_framework.exceptions import ErrorDetail, PermissionDenied, ValidationError

from core import access
from core.importing.mapping import BadMapping, ColumnMap, unknown_target
from core.importing.reading import (
    Layout,
    UnreadableFile,
    count_rows,
    detect,
    read_rows,
)
from core.importing.rows import (
    Mode,
    Outcome,
    RowImport,
    known_headers,
    targets,
)
from core.job_errors import leads_to_hidden
from core.jobs import JobFailed, JobHandler, handles, submit
from core.models import ChangeSet, Job, JobError
from core.origin import kept_origin
from core.registry import record_types

KIND = "import"
CHUNK_ROWS = 1000
ORPHAN_SECONDS = 24 * 3600
MAX_UNKNOWN_OWNERS = 100


def file_of(job_id) -> Path:
    """Where the uploaded file of an import waits for its worker."""
    return Path(settings.MEDIA_ROOT) / "imports" / str(job_id)


def start(user, file, model, mapping: dict | None, *, mode, **params) -> Job:
    """Submit an import of a file.

    Args:
        user: who imports, whose rights count for each row.
        file: open for reading in binary.
        mapping: column name to field; None to have it suggested.
        params: `dry_run`, `file_name`, and if known the request's origin.

    Raises:
        PermissionDenied: the user may not import this record type.
        ValidationError: of `file` or `mapping`, where it cannot be read.
    """
    require_rights(user, model, mode)
    job = Job(organization=user.organization, owner=user, kind=KIND)
    path = file_of(job.pk)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file.seek(0)  # a repeated transaction has read it before
        with path.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        layout, column_map = read_layout(path, model, mapping, user)
        job.counts = dict.fromkeys(Outcome.values, 0)
        job.params = {
            "record_type": model.record_type(),
            "layout": asdict(layout),
            "columns": asdict(column_map),
            "mode": mode,
            **params,
        }
        return submit(job)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def require_rights(user, model, mode: str) -> None:
    """Raise PermissionDenied where the user's role does not let them import."""
    access.require_some(user, model.record_type(), access.Verb.IMPORT)
    if mode != Mode.UPDATE:
        access.require_some(user, model.record_type(), access.Verb.CREATE)


def read_layout(path, model, mapping, user):
    """How a file is written, and where its columns go.

    Raises:
        ValidationError: of `file` or `mapping`, where that cannot be found out.
    """
    try:
        layout = detect(path)
    except UnreadableFile as fault:
        raise ValidationError({"file": ErrorDetail(fault.detail, fault.code)}) from None
    headers = known_headers(model, user)
    if mapping is not None and not (
        isinstance(mapping, dict)
        and all(isinstance(target, str | None) for target in mapping.values())
    ):
        detail = ErrorDetail("Give an object of texts.", "not_an_object")
        raise ValidationError({"mapping": detail})
    try:
        if mapping is None:
            column_map = ColumnMap.suggest(layout.columns, headers)
        else:
            column_map = ColumnMap.given(
                layout.columns, mapping, targets(model, user), headers
            )
        rights = access.field_rights(user, model.record_type())
        for column, target in column_map.as_dict().items():
            if target and leads_to_hidden(target, rights):
                raise unknown_target(column, target)
    except BadMapping as fault:
        raise ValidationError(
            {"mapping": ErrorDetail(fault.detail, fault.code)}
        ) from None
    if not any(column_map.targets):
        names = ", ".join(layout.columns[:20])
        detail = f"No column is known: say where they go. The file has: {names}."
        raise ValidationError({"mapping": ErrorDetail(detail, "nothing_mapped")})
    return layout, column_map


@handles(KIND)
class ImportHandler(JobHandler):
    """Reads the whole file strictly first: nothing of a broken file is imported."""

    def __init__(self, job):
        params = job.params
        self.path = file_of(job.pk)
        self.layout = Layout(**params["layout"])
        columns = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in params["columns"].items()
        }
        self.importer = RowImport(
            job.owner,
            record_types()[params["record_type"]],
            ColumnMap(**columns),
            params["mode"],
            remember=params["dry_run"],
        )
        self.rows = None

    def step(self, job):
        try:
            # Again for each chunk: rights may be lost while the job waits or runs.
            require_rights(job.owner, self.importer.model, self.importer.mode)
            self.importer.of(job.owner)
            if job.total is None:
                job.total = count_rows(self.path, self.layout)
                return job.total == 0
            if self.rows is None:
                self.rows = read_rows(self.path, self.layout, skip=job.done)
            rows = list(islice(self.rows, CHUNK_ROWS))
        except UnreadableFile as fault:
            raise JobFailed(fault.code, fault.detail, fault.line) from fault
        except PermissionDenied as refusal:
            raise JobFailed("permission_denied", str(refusal.detail)) from refusal
        except FileNotFoundError:
            raise JobFailed("file_gone", "The uploaded file is gone.") from None
        self._import(job, rows)
        job.done += len(rows)
        return job.done >= job.total or not rows

    def _import(self, job: Job, rows):
        change_set = job.change_set or ChangeSet(
            organization=job.organization,
            actor=job.owner,
            source=ChangeSet.Source.IMPORT,
            reason=f"Import of {job.params['file_name']}"[:500],
            **kept_origin(job.params),
        )
        with change_set.writing(trial=job.params["dry_run"]) as changes:
            result = self.importer.take(changes, rows)
        if changes.touched and not job.params["dry_run"]:
            job.change_set = change_set
        for outcome, count in result.counts.items():
            job.counts[outcome] += count
        noted = job.state.setdefault("skipped_because", {})
        for reason, count in result.skips.items():
            noted[reason] = noted.get(reason, 0) + count
        self._note_owners(job, result.unknown_owners)
        for error in result.errors:
            error.job = job
        JobError.objects.bulk_create(result.errors, batch_size=CHUNK_ROWS)

    @staticmethod
    def _note_owners(job, unknown):
        noted = job.state.setdefault("unknown_owners", {})
        for email, count in unknown.items():
            if email in noted or len(noted) < MAX_UNKNOWN_OWNERS:
                noted[email] = noted.get(email, 0) + count

    @staticmethod
    def clean_up(job):
        file_of(job.pk).unlink(missing_ok=True)


def remove_orphans() -> None:
    """Remove uploads whose job ended, or never came to be, long ago."""
    folder = file_of("any").parent
    limit = time.time() - ORPHAN_SECONDS
    old = [path for path in folder.glob("*") if path.stat().st_mtime < limit]
    if old:
        active = Job.objects.filter(status__in=Job.ACTIVE)
        waiting = {str(pk) for pk in active.values_list("pk", flat=True)}
        for path in old:
            if path.name not in waiting:
                path.unlink(missing_ok=True)
