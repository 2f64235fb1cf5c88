"""Running jobs: each chunk commits with its progress, so nothing is lost or done twice.

A worker claims a job by a lease, works in chunks for a slice of time, and lets go, so
that a long job does not keep others waiting. Every chunk is one transaction that first
locks the job's row and checks the lease: a worker that was given up for dead cannot
write any more. When a worker dies, its lease runs out and `due` names the job again.
"""

import logging
import time
import uuid
from datetime import timedelta

from celery import current_app
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from kombu.pools import producers

from core import cache
from core.metrics import measures
from core.models import Job
from core.redis import Rest

logger = logging.getLogger(__name__)

SLICE_SECONDS = 20
LEASE_SECONDS = 20  # longer than any chunk takes
RESEND_SECONDS = 10
MAX_ATTEMPTS = 5
PAUSE_SECONDS = 0.05
TOGETHER_SECONDS = 1
# A request waits for the broker no longer than this; the sweep has time.
IMPATIENT = {
    "socket_timeout": 0.15,
    "socket_connect_timeout": 0.15,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "connect_retries_timeout": 0.15,
}
_broker_rest = Rest()


# What a chunk may change; the params, which may be long, stay as they are.
PROGRESS = (
    *("status", "state", "total", "done", "counts", "error", "change_set"),
    *("attempts", "lease", "lease_until", "finished_at"),
)


class JobFailed(Exception):
    """The job cannot be done, and trying again would not help.

    Args:
        detail: why, for the person who asked for it.
        line: of the file, where there is one.
    """

    def __init__(self, code: str, detail: str, line: int | None = None):
        super().__init__(detail)
        self.error = {"code": code, "detail": detail, "line": line}


class LeaseLost(Exception):
    """Another worker took the job over."""


class JobHandler:
    """How one kind of job is done. An instance lives for one slice of time."""

    # False while what the instance holds could not be gone on with by another.
    can_pause = True

    def __init__(self, job: Job):
        """`job`: with its owner, if it has one, their role and organization."""

    def step(self, job: Job) -> bool:
        """Do the next chunk, in a transaction, and note the progress on the job.

        Returns:
            Whether the job is finished.
        """
        raise NotImplementedError

    def close(self) -> None:
        """The slice of time is over, in whatever way."""

    @staticmethod
    def clean_up(job: Job) -> None:
        """The job has ended, in whatever way: remove what only it needed."""


HANDLERS: dict[str, type[JobHandler]] = {}


def handles(kind: str):
    """Class decorator: this handler does the jobs of this kind."""

    def register(handler):
        HANDLERS[kind] = handler
        return handler

    return register


def submit(job: Job) -> Job:
    """Save a new job, and wake a worker when the transaction has committed.

    The job may do what its owner may, by the way that they come now.
    """
    job.api_key = job.owner and job.owner.api_key
    job.sent_at = timezone.now()
    job.save(force_insert=True)
    transaction.on_commit(lambda: wake(job.pk))
    return job


def cancel(job: Job) -> None:
    """Stop a locked, active job: now, or after the chunk that a worker is at."""
    job.cancel_requested = True
    if job.lease_until is None or job.lease_until < timezone.now():
        job.status = Job.Status.CANCELLED
        job.finished_at = timezone.now()
        transaction.on_commit(lambda: _ended(job))
    job.save(update_fields=["cancel_requested", "status", "finished_at"])


def wake(job_id) -> None:
    """Tell the workers to look. If the broker is away, the sweep will say it again."""
    from core.tasks import run_job

    tell(run_job, str(job_id))


def tell(task, *arguments, seconds: float | None = None) -> None:
    """Ask a worker for a task that a periodic one would do later anyhow.

    A broker that is away costs 0.15 s, then nothing for a moment, and is no error.
    Connections are kept: to make one takes longer than most of what is told of.

    Args:
        seconds: when to begin, from now; None: at once.
    """
    if _broker_rest:
        return
    try:
        broker = current_app.connection_for_write(transport_options=IMPATIENT)
        with producers[broker].acquire(block=True) as producer:
            task.apply_async(
                arguments, producer=producer, retry=False, countdown=seconds
            )
    except Exception:
        _broker_rest.begin()
        logger.warning(
            "No worker could be told: %s%s", task.name, arguments, exc_info=True
        )


def tell_once(task, *arguments) -> None:
    """As `tell`, but one message for all that is told within a second.

    The task begins when that is over, so it sees what all of them have committed. Where
    no process shares a cache, there is one for each.
    """
    if not settings.REDIS_URL:
        tell(task, *arguments)
    elif cache.is_first(f"told:{task.name}:{arguments}", TOGETHER_SECONDS):
        tell(task, *arguments, seconds=TOGETHER_SECONDS)


def due() -> list[uuid.UUID]:
    """Active jobs that nobody works on and of which no worker was told just now."""
    now = timezone.now()
    jobs = Job.objects.filter(
        Q(lease_until=None) | Q(lease_until__lt=now),
        Q(sent_at=None) | Q(sent_at__lt=now - timedelta(seconds=RESEND_SECONDS)),
        status__in=Job.ACTIVE,
    )
    ids = list(jobs.order_by("created_at").values_list("pk", flat=True)[:1000])
    Job.objects.filter(pk__in=ids).update(sent_at=now)
    return ids


def run(job_id, seconds: float = SLICE_SECONDS) -> bool:
    """Work on a job for a slice of time.

    Returns:
        Whether there is more to do for whoever calls. False also where another worker
        has the job, or it failed and will be tried again by the sweep.
    """
    # It sends letters, of which workers are told here.
    from core.notifications import tell_of_job

    lease = _claim(job_id)
    if lease is None:
        return False
    deadline = time.monotonic() + seconds
    handler = None
    try:
        while True:
            with transaction.atomic():
                job = _locked(job_id, lease)
                if handler is None:
                    handler = HANDLERS[job.kind](job)
                if job.cancel_requested:
                    job.status = Job.Status.CANCELLED
                elif job.attempts > MAX_ATTEMPTS:
                    raise JobFailed("internal_error", "This failed again and again.")
                elif handler.step(job):
                    job.status = Job.Status.DONE
                ended = not job.is_active
                out_of_time = handler.can_pause and time.monotonic() > deadline
                job.attempts = 0
                _renew(job, keep=not (ended or out_of_time))
                job.save(update_fields=PROGRESS)
                if ended:
                    tell_of_job(job)
            if ended:
                _ended(job)
                return False
            if out_of_time:
                return True
            if connection.vendor == "sqlite":
                # It has one lock for all writers, and gives it to whoever asks first.
                time.sleep(PAUSE_SECONDS)
    except LeaseLost:
        logger.info("Job %s went on elsewhere", job_id)
    except JobFailed as failure:
        _fail(job_id, lease, failure.error)
    except Exception:
        logger.exception("Job %s stopped; it will be tried again", job_id)
        _owned(job_id, lease).update(lease=None, lease_until=None)
    finally:
        if handler is not None:
            handler.close()
    return False


def _claim(job_id) -> uuid.UUID | None:
    now = timezone.now()
    lease = uuid.uuid4()
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    claimed = Job.objects.filter(free, pk=job_id, status__in=Job.ACTIVE).update(
        status=Job.Status.RUNNING,
        lease=lease,
        lease_until=now + timedelta(seconds=LEASE_SECONDS),
        attempts=F("attempts") + 1,
        started_at=Coalesce("started_at", now),
    )
    return lease if claimed else None


def _locked(job_id, lease) -> Job:
    job = (
        Job.objects.select_for_update(of=("self",))
        .select_related("owner__organization", "owner__role", "owner__team")
        .select_related("api_key", "change_set")
        .get(pk=job_id)
    )
    if job.owner:
        job.owner.api_key = job.api_key
    if job.change_set:
        job.change_set.actor = job.owner
    if job.lease != lease or not job.is_active:
        raise LeaseLost
    return job


def _renew(job: Job, keep: bool) -> None:
    now = timezone.now()
    job.lease = job.lease if keep else None
    job.lease_until = now + timedelta(seconds=LEASE_SECONDS) if keep else None
    if not job.is_active:
        job.finished_at = now


def _owned(job_id, lease):
    return Job.objects.filter(pk=job_id, lease=lease)


def _fail(job_id, lease, error: dict) -> None:
    from core.notifications import tell_of_job

    with transaction.atomic():
        failed = _owned(job_id, lease).update(
            status=Job.Status.FAILED,
            error=error,
            finished_at=timezone.now(),
            lease=None,
            lease_until=None,
        )
        if failed:
            job = Job.objects.get(pk=job_id)
            tell_of_job(job)
    if failed:
        _ended(job)


def _ended(job: Job) -> None:
    measures.job_ended(job)
    HANDLERS[job.kind].clean_up(job)
