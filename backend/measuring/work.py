"""Work of a worker, in a process of its own, so that its memory can be measured.

python -m measuring.work export ROWS EMAIL
"""

import sys

import django


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
