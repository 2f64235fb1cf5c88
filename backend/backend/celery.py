"""The Celery application: `celery --app backend worker`.

A job is a row of the database; a message only wakes a worker. So messages may be
lost or doubled without harm, and the sweep, the one periodic task here, wakes the
workers again for every job that still waits.
"""

import gc
import os
import time

from celery import Celery
from celery.signals import task_postrun, task_prerun, worker_init, worker_ready
from django.conf import settings
from prometheus_client import start_http_server

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings")

app = Celery("backend")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect
def serve_metrics(**_) -> None:
    """A worker that shares no folder with a web server tells its numbers itself."""
    if settings.METRICS_PORT:
        from core.metrics.middleware import counted

        start_http_server(settings.METRICS_PORT, registry=counted())


@worker_init.connect
def keep_what_is_loaded(**_) -> None:
    """Nothing that a worker begins with is ever garbage, but each full collection would
    go through all of it: a tenth of the time of an import."""
    gc.collect()
    gc.freeze()


@worker_ready.connect
def work_at_once(**_) -> None:
    """Whoever looks at `/api/health/` or /metrics need not wait for Beat."""
    app.send_task("core.tasks.sweep")
    app.send_task("core.tasks.count_figures")


@task_prerun.connect
def note_start(task, **_) -> None:
    task.request.began = time.perf_counter()


@task_postrun.connect
def measure_task(task, state=None, **_) -> None:
    from core.metrics.measures import TASK_SECONDS

    seconds = time.perf_counter() - task.request.began
    TASK_SECONDS.labels(task.name, state or "LOST").observe(seconds)
