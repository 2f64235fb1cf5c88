"""Import as a job: the file, and how far its rows have come."""

import os
import shutil
from dataclasses import asdict
from pathlib import Path

from django.conf import settings
from django.db import connection
from rest_framework.exceptions import ErrorDetail, PermissionDenied, ValidationError

from core import access
from core.batches import batched
from core.files import remove, untouched
from core.importing.ahead import ReadAhead
from core.importing.choices import layout_of, read_choices
from core.importing.mapping import ColumnMap
from core.importing.memory import Memory
from core.importing.options import Mode, Options
from core.importing.reading import (
    copied_rows,
    copy_rows,
    sampled_rows,
)
from core.importing.rows import Chunk, Outcome, RowImport
from core.importing.table import Layout, UnreadableFile
from core.importing.uploads import remove_old_uploads
from core.jobs import MAX_ATTEMPTS, JobFailed, JobHandler, handles, submit
from core.models import ChangeSet, Job, JobError, JobSkip, Upload
from core.origin import kept_origin
from core.registry import record_types

KIND = "import"
CHUNK_ROWS = 1000
ORPHAN_SECONDS = 24 * 3600
MAX_UNKNOWN_OWNERS = 100


def folder_of(job_id) -> Path:
    """What an import keeps outside of the database."""
    return Path(settings.MEDIA_ROOT) / "imports" / str(job_id)


def file_of(job_id) -> Path:
    """Where the uploaded file of an import waits for its worker."""
    return folder_of(job_id) / "file"


def start(
    user,
    source,
    model,
    mapping: dict | None,
    *,
    mode=Mode.CREATE,
    match="",
    blank="ignore",
    owner=None,
    tags=(),
    auto_assign=False,
    encoding="",
    sheet="",
    save_mapping_as="",
    dry_run=False,
    file_name="",
    **origin,
) -> Job:
    """Submit an import of a file.

    Args:
        user: who imports, whose rights count for each row.
        source: a file, open for reading in binary, or an Upload of the user's.
        mapping: column name to field; None for the saved one, or a suggestion.
        owner: the user who gets all rows; None for what the rows say.
        auto_assign: as of core.importing.options.
        save_mapping_as: keep where the columns go under this name.
        origin: of the request, if known.

    Raises:
        PermissionDenied: the user may not import this record type.
        ValidationError: names what cannot be done.
    """
    require_rights(user, model, mode)
    owner = owner and str(owner.pk)
    options = Options(mode, match, blank, owner or "", tuple(tags), auto_assign)
    job = Job(organization=user.organization, owner=user, kind=KIND)
    try:
        path = _file_for(job, source)
        layout = layout_of(path, user, model, encoding, sheet)
        rows = sampled_rows(path, layout)[0] if mapping is None else ()
        choices = read_choices(user, layout, model, mapping, options, rows)
        if save_mapping_as:
            choices.save_as(save_mapping_as, user, **origin)
        job.counts = dict.fromkeys(Outcome.values, 0)
        job.params = {
            "record_type": model.record_type(),
            "layout": asdict(layout),
            "columns": asdict(choices.column_map),
            "options": asdict(options),
            "mode": mode,
            "dry_run": dry_run,
            "file_name": file_name,
            **origin,
        }
        return submit(job)
    except BaseException:
        shutil.rmtree(folder_of(job.pk), ignore_errors=True)
        raise


def _file_for(job: Job, source) -> Path:
    """A copy of the file for the job alone; of an upload, another name for it."""
    path = file_of(job.pk)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, Upload):
        try:
            os.link(source.path, path)
        except FileNotFoundError:
            detail = ErrorDetail("The file is gone: upload it again.", "file_gone")
            raise ValidationError({"upload": detail}) from None
        except OSError:  # the disk cannot do that
            shutil.copyfile(source.path, path)
        return path
    source.seek(0)  # a repeated transaction has read it before
    with path.open("wb") as copy:
        shutil.copyfileobj(source, copy)
    return path


def require_rights(user, model, mode: str) -> None:
    """Raise PermissionDenied where the user's role does not let them import."""
    access.require_some(user, model.record_type(), access.Verb.IMPORT)
    if mode != Mode.UPDATE:
        access.require_some(user, model.record_type(), access.Verb.CREATE)


def _let_disk_wait() -> None:
    """Let this transaction be done before it is on the disk.

    Its rows and the progress of the job are in it together: a database that breaks down
    just then has neither, and the job does them again. Nobody was told that it is done:
    the last chunk, and with it all before, waits for the disk.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit TO OFF")


@handles(KIND)
class ImportHandler(JobHandler):
    """Reads the whole file strictly first: nothing of a broken file is imported."""

    def __init__(self, job):
        params = job.params
        self.path = file_of(job.pk)
        self.layout = Layout(**params["layout"])
        self.options = Options(**params.get("options", {"mode": params["mode"]}))
        self.memory = None
        folder = folder_of(job.pk)
        # A file that is gone is said to be so by whoever opens it.
        remembers = params["dry_run"] or self.options.mode == Mode.CREATE
        if remembers and folder.exists():
            self.memory = Memory(folder / "memory.sqlite3", job.done)
        self.importer = RowImport(
            job.owner,
            record_types()[params["record_type"]],
            ColumnMap.from_json(params["columns"]),
            self.options,
            self.memory,
            trial=params["dry_run"],
        )
        self.copy = folder / "rows"
        self.copying = None
        self.ahead = None

    def close(self):
        if self.ahead:
            self.ahead.close()
        if self.memory:
            self.memory.close()
        if self.copying:
            self.copying.close()

    def step(self, job):
        try:
            # Again for each chunk: rights may be lost while the job waits or runs.
            require_rights(job.owner, self.importer.model, self.importer.mode)
            if job.total is None or not self.copy.exists():
                self._read_all(job)
                return job.total == 0
            if self.ahead is None:
                parts = batched(copied_rows(self.copy, job.done), CHUNK_ROWS)
                self.ahead = ReadAhead(parts, self.importer.read)
            rows, chunk = self.ahead.take()
            if not self.importer.of(job.owner) or chunk is None:
                chunk = self.importer.read(rows)
        except UnreadableFile as fault:
            raise JobFailed(fault.code, fault.detail, fault.line) from fault
        except PermissionDenied as refusal:
            raise JobFailed("permission_denied", str(refusal.detail)) from refusal
        except FileNotFoundError:
            raise JobFailed("file_gone", "The uploaded file is gone.") from None
        is_last = job.done + len(rows) >= job.total or not rows
        if not is_last:
            _let_disk_wait()
        self._import(job, chunk)
        job.done += len(rows)
        return is_last

    def _read_all(self, job: Job) -> None:
        """Go through the whole file, some of the rows in each step."""
        if self.copying is None:
            job.state["starts"] = job.state.get("starts", 0) + 1
            if job.state["starts"] > MAX_ATTEMPTS:
                raise JobFailed("internal_error", "This failed again and again.")
            self.copying = copy_rows(self.path, self.layout, self.copy)
        count, self.can_pause = next(self.copying)
        if self.can_pause:
            job.total = count

    def _import(self, job: Job, chunk: Chunk):
        change_set = job.change_set or ChangeSet(
            organization=job.organization,
            actor=job.owner,
            source=ChangeSet.Source.IMPORT,
            reason=f"Import of {job.params['file_name']}"[:500],
            **kept_origin(job.params),
        )
        with change_set.writing(trial=job.params["dry_run"]) as changes:
            result = self.importer.take(changes, chunk, job.done, self.ahead.begin)
        if changes.touched and not job.params["dry_run"]:
            job.change_set = change_set
        for outcome, count in result.counts.items():
            job.counts[outcome] += count
        noted = job.state.setdefault("skipped_because", {})
        for skip in result.skips:
            skip.job = job
            noted[skip.reason] = noted.get(skip.reason, 0) + 1
        self._note_owners(job, result.unknown_owners)
        noted = job.state.setdefault("not_found", {})
        for column, count in result.not_found.items():
            noted[column] = noted.get(column, 0) + count
        for error in result.errors:
            error.job = job
        JobError.objects.bulk_create(result.errors, batch_size=CHUNK_ROWS)
        JobSkip.objects.bulk_create(result.skips, batch_size=CHUNK_ROWS)

    @staticmethod
    def _note_owners(job, unknown):
        noted = job.state.setdefault("unknown_owners", {})
        for email, count in unknown.items():
            if email in noted or len(noted) < MAX_UNKNOWN_OWNERS:
                noted[email] = noted.get(email, 0) + count

    @staticmethod
    def clean_up(job):
        shutil.rmtree(folder_of(job.pk), ignore_errors=True)


def remove_orphans() -> None:
    """Remove files whose job ended, or that nobody imported, long ago."""
    if old := untouched(folder_of("any").parent, ORPHAN_SECONDS):
        active = Job.objects.filter(status__in=Job.ACTIVE)
        waiting = {str(pk) for pk in active.values_list("pk", flat=True)}
        for path in old:
            if path.name not in waiting:
                remove(path)
    remove_old_uploads(ORPHAN_SECONDS)
