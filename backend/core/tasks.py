"""What Celery runs. Every task may be lost or come twice: the database knows better."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from core import jobs, letters, logs, notifications, retention
from core.exporting.job import remove_old_files
from core.idempotency import KEPT_HOURS
from core.importing.job import remove_orphans
from core.indexes import merge_pending
from core.metrics import figures
from core.models import Heartbeat, IdempotencyKey
from core.purge import purge, purge_words

WORKER = "worker"


@shared_task
def run_job(job_id: str) -> None:
    """Work on a job for a slice of time, then queue up again behind the others."""
    with logs.job(job_id):
        if jobs.run(job_id):
            jobs.wake(job_id)


@shared_task
def sweep() -> None:
    """Every few seconds: wake workers for waiting jobs, and clear away what is old.

    That it ran shows that beat, broker, worker and database work together, so it is
    also what `/api/health/` looks at.
    """
    now = timezone.now()
    Heartbeat.objects.update_or_create(name=WORKER, defaults={"at": now})
    for job_id in jobs.due():
        jobs.wake(job_id)
    kept_since = now - timedelta(hours=KEPT_HOURS)
    IdempotencyKey.objects.filter(created_at__lt=kept_since).delete()
    remove_orphans()
    remove_old_files()


@shared_task
def merge_indexes() -> None:
    """Every few seconds: keep searches from reading through what is not indexed yet."""
    merge_pending()


@shared_task
def count_figures() -> None:
    """Every few minutes: the numbers of the business, for /metrics."""
    figures.count_all()


@shared_task
def erase_old_logs() -> None:
    """Every hour: look whether a new day made logs too old to be kept."""
    retention.start_due()


@shared_task
def purge_deleted() -> None:
    """Every hour: remove for good what was deleted, or told, long ago."""
    purge()
    notifications.forget()
    letters.forget()
    purge_words()


@shared_task
def mail_notifications() -> None:
    """Twice a minute: a letter to each user who wants e-mail of what is new."""
    notifications.post_due()


@shared_task
def send_letter(pk: str) -> None:
    letters.send(pk)


@shared_task
def send_letters() -> None:
    """Every few seconds: what no worker was told of, or no mail server took."""
    letters.send_due()
