"""Work to measure: people at a running MyCRM, files to import, and exports.

An export in a process of its own, so that its memory can be measured:
python -m measuring.work export ROWS EMAIL
"""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import django

from measuring.servers import BACKEND


def load(url: str, email: str, password: str, *arguments: str) -> dict:
    """What `load_test.py` reports, of people at work in a process of its own."""
    with TemporaryDirectory() as folder:
        stem = Path(folder) / "load"
        subprocess.run(  # noqa: S603 our own
            [
                *(sys.executable, "load_test.py", *arguments, f"--url={url}"),
                *(f"--email={email}", f"--report={stem}"),
            ],
            cwd=BACKEND,
            env=os.environ | {"LOAD_PASSWORD": password},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        return json.loads(stem.with_suffix(".json").read_text())


def write_people(path: Path, rows: int) -> None:
    """A file of contacts that nobody has imported before."""
    stamp = time.time_ns()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("First Name", "Last Name", "Email", "Phone", "City"))
        for number in range(rows):
            email = f"p{stamp}.{number}@import.example.com"
            phone = f"+1 415 555 {number % 10000:04}"
            writer.writerow((f"Ann{number % 500}", "Imported", email, phone, "Bonn"))


def export(rows: int, email: str) -> None:
    """A file of the first contacts of the organization."""
    from django.contrib.auth import get_user_model

    from contact_management.models import Contact
    from core import jobs
    from core.exporting import job as exports
    from core.exporting.wish import Wish

    user = get_user_model().objects.get_by_natural_key(email)
    newest = Contact.objects.visible_to(user).order_by("-created_at")
    count = newest.count()
    since = newest.values_list("created_at", flat=True)[min(rows, count) - 1]
    filters = {"created_at__gte": since.isoformat()}
    job = exports.start(user, Wish("contact", "csv", filters))
    while job.is_active:
        jobs.run(job.pk)
        job.refresh_from_db()
    if job.status != "done" or job.counts["exported"] != min(rows, count):
        raise SystemExit(f"{job.status}: {job.counts}, {job.error}")


if __name__ == "__main__":
    django.setup()
    _, _, asked, who = sys.argv
    export(int(asked), who)
