"""What is counted as it happens.

Several processes count in one folder if PROMETHEUS_MULTIPROC_DIR names one, which
`run.sh` and the containers do; otherwise each process has numbers of its own.
"""

import time
from pathlib import Path

from prometheus_client import Counter, Histogram, Summary, metrics, values

from core.metrics import slots

if slots.FOLDER:
    Path(slots.FOLDER).mkdir(parents=True, exist_ok=True)
    values.ValueClass = values.MultiProcessValue(slots.slot)
# When a counter was made tells nothing here, and would be a third of all lines.
metrics.disable_created_metrics()

REQUESTS = Counter(
    "mycrm_requests", "Requests answered.", ["method", "route", "status"]
)
REQUEST_SECONDS = Histogram(
    "mycrm_request_seconds",
    "Time from the first middleware to the answer.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
QUERY_SECONDS = Summary(
    "mycrm_database_query_seconds", "Queries, and the time spent in them."
)
DATABASE_ERRORS = Counter(
    "mycrm_database_errors", "Queries that failed, by the kind of error.", ["error"]
)
CACHE_READS = Counter(
    "mycrm_cache_reads",
    "Looks into the cache: hit, miss, marked (a write was going on) or unavailable.",
    ["result"],
)
JOBS = Counter("mycrm_jobs", "Jobs that ended.", ["kind", "status"])
JOB_SECONDS = Histogram(
    "mycrm_job_seconds",
    "Time from the request for a job to its end.",
    ["kind"],
    buckets=(1, 5, 15, 60, 300, 1800, 7200),
)
TASK_SECONDS = Summary(
    "mycrm_task_seconds", "Celery tasks, and how they ended.", ["task", "state"]
)
CHANGES = Counter(
    "mycrm_changes", "Changes of records in the journal.", ["record_type", "verb"]
)

# A label's child is found faster here than by its names.
cache_reads = {
    result: CACHE_READS.labels(result)
    for result in ("hit", "miss", "marked", "unavailable")
}


def job_ended(job) -> None:
    """Count a job that reached its end, whatever it is."""
    JOBS.labels(job.kind, job.status).inc()
    if job.finished_at:
        seconds = (job.finished_at - job.created_at).total_seconds()
        JOB_SECONDS.labels(job.kind).observe(seconds)


def changed(counts: dict[tuple[str, str], int]) -> None:
    """Count changes that were committed, by record type and verb."""
    for names, number in counts.items():
        CHANGES.labels(*names).inc(number)


def timed_query(execute, sql, params, many, context):
    """A wrapper of Django's database connections that times each query."""
    began = time.perf_counter()
    try:
        return execute(sql, params, many, context)
    except Exception as error:
        DATABASE_ERRORS.labels(type(error).__name__).inc()
        raise
    finally:
        QUERY_SECONDS.observe(time.perf_counter() - began)


def time_queries(connection, **_) -> None:
    """Receiver of `connection_created`: a connection's wrappers outlive it."""
    if timed_query not in connection.execute_wrappers:
        connection.execute_wrappers.append(timed_query)
