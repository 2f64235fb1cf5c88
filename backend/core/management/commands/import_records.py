from pathlib import Path

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from rest_framework.exceptions import APIException
from tqdm import tqdm

from core import jobs
from core.importing.job import start
from core.importing.options import Mode
from core.importing.rows import Outcome
from core.models import Job
from core.parsers import loads
from core.problems import flatten
from core.registry import importable_types

SHOWN_ERRORS = 20


class Command(BaseCommand):
    help = "Import records of one type from a file, as `POST /api/imports/` does."

    def add_arguments(self, parser):
        parser.add_argument(
            "record_type", metavar="TYPE", choices=sorted(importable_types())
        )
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--user", required=True, metavar="EMAIL", help="whose rights count"
        )
        parser.add_argument("--mode", choices=Mode.values, default=Mode.CREATE)
        parser.add_argument("--mapping", metavar="JSON", help="column to field")
        parser.add_argument("--dry-run", action="store_true")

    def handle(self, record_type, file, user, mode, mapping, dry_run, **options):
        users = get_user_model().objects
        try:
            owner = users.get_by_natural_key(user)
        except users.model.DoesNotExist:
            raise CommandError(f"There is no user {user}.") from None
        try:
            with file.open("rb") as stream:
                job = start(
                    owner,
                    stream,
                    importable_types()[record_type],
                    loads(mapping.encode()) if mapping else None,
                    mode=mode,
                    dry_run=dry_run,
                    file_name=file.name,
                )
        except OSError as error:
            raise CommandError(str(error)) from None
        except APIException as error:
            raise CommandError(flatten(error.detail)[0]["detail"]) from None
        self.follow(job)
        self.report(job)

    def follow(self, job):
        """Work on the job here; a worker that is there may take turns."""
        with tqdm(desc="Importing", unit=" rows") as bar:
            while job.is_active:
                jobs.run(job.pk, seconds=0.5)
                job.refresh_from_db()
                bar.total = job.total
                bar.update(job.done - bar.n)

    def report(self, job):
        if job.status == Job.Status.FAILED:
            line = job.error["line"]
            place = f" (line {line})" if line else ""
            raise CommandError(job.error["detail"] + place)
        counts = ", ".join(f"{job.counts[name]} {name}" for name in Outcome.values)
        self.stdout.write(f"{job.total} rows: {counts}.")
        for error in job.errors.all()[:SHOWN_ERRORS]:
            column = f", {error.column}" if error.column else ""
            self.stdout.write(f"  line {error.line}{column}: {error.message}")
        more = job.errors.count() - SHOWN_ERRORS
        if more > 0:
            self.stdout.write(f"  and {more} more")
        if job.change_set_id:
            self.stdout.write(f"Change set, for undo: {job.change_set_id}")
