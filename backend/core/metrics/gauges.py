"""What is asked when somebody looks: queues, heartbeats, whether the parts are there.

Every process answers these alike, so a dead worker hides nothing. The questions are few
and cheap, by indexes that hold only what is active.
"""

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime

from celery import current_app
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily

from core.metrics.figures import FIGURES
from core.models import Figure, Heartbeat, Job

# What waits: a name, and what gives how many there are and since when the oldest.
QUEUES: dict[str, Callable[[], tuple[int, datetime | None]]] = {}
BROKER_SECONDS = 0.5


def queue(name: str):
    """Decorator: what this function counts is a queue of this name.

    The function returns how many wait, and since when the first of them.
    """

    def register(function):
        QUEUES[name] = function
        return function

    return register


class Gauges:
    """A collector for a registry of prometheus_client."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            yield from list(self._of_database())
            is_up = 1
        except DatabaseError:
            is_up = 0
        yield _gauge("mycrm_database_up", "Whether the database answers.", is_up)
        yield from self._of_broker()
        disk = shutil.disk_usage(settings.DATA_DIR)
        text = "The disk with the data folder."
        yield _gauge("mycrm_disk_bytes", text, disk.total)
        yield _gauge("mycrm_disk_free_bytes", text, disk.free)

    def _of_database(self):
        now = timezone.now()
        yield from _queues(now)
        beats = GaugeMetricFamily(
            "mycrm_heartbeat_age_seconds",
            "Since when a part of the program did not do its work.",
            labels=["name"],
        )
        for beat in Heartbeat.objects.all():
            beats.add_metric([beat.name], (now - beat.at).total_seconds())
        yield beats
        yield from _figures()
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(*), current_setting('max_connections')::int"
                    " FROM pg_stat_activity WHERE backend_type = 'client backend'"
                )
                used, allowed = cursor.fetchone()
            text = "Connections to the PostgreSQL server."
            yield _gauge("mycrm_database_connections", text, used)
            text = "Connections that the PostgreSQL server allows."
            yield _gauge("mycrm_database_connections_allowed", text, allowed)

    def _of_broker(self):
        waiting = GaugeMetricFamily(
            "mycrm_broker_messages",
            "Messages that no worker has taken yet.",
            labels=["queue"],
        )
        try:
            with current_app.connection_for_read(
                connect_timeout=BROKER_SECONDS,
                transport_options={
                    "socket_timeout": BROKER_SECONDS,
                    "socket_connect_timeout": BROKER_SECONDS,
                    "max_retries": 0,
                },
            ) as broker:
                broker.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
                channel = broker.default_channel
                for name in current_app.amqp.queues:
                    waiting.add_metric([name], channel._size(name))
            is_up = 1
        except Exception:
            # Its transports raise errors of their own, of many kinds.
            is_up = 0
        yield waiting
        yield _gauge("mycrm_broker_up", "Whether the broker answers.", is_up)


def _queues(now: datetime):
    counts = GaugeMetricFamily(
        "mycrm_waiting", "What waits for a worker, by queue.", labels=["queue"]
    )
    ages = GaugeMetricFamily(
        "mycrm_oldest_waiting_seconds",
        "How long the first of what waits has waited.",
        labels=["queue"],
    )
    running = GaugeMetricFamily(
        "mycrm_jobs_running", "Jobs that have begun.", labels=["kind"]
    )
    jobs = (
        Job.objects.filter(status__in=Job.ACTIVE)
        .order_by()
        .values("kind", "status")
        .annotate(number=Count("pk"), since=Min("created_at"))
    )
    queues = {name: function() for name, function in QUEUES.items()}
    queues["jobs"] = (0, None)
    for row in jobs:
        if row["status"] == Job.Status.QUEUED:
            queues[f"job_{row['kind']}"] = (row["number"], row["since"])
            total, since = queues["jobs"]
            oldest = min(filter(None, (since, row["since"])))
            queues["jobs"] = (total + row["number"], oldest)
        else:
            running.add_metric([row["kind"]], row["number"])
    for name, (number, since) in queues.items():
        counts.add_metric([name], number)
        age = max(0.0, (now - since).total_seconds()) if since else 0.0
        ages.add_metric([name], age)
    yield from (counts, ages, running)
    stalled = Job.objects.filter(status__in=Job.ACTIVE, lease_until__lt=now).count()
    text = "Jobs whose worker was lost and that no other one has taken yet."
    yield _gauge("mycrm_jobs_stalled", text, stalled)


def _figures():
    families = {
        name: GaugeMetricFamily(name, figure.text, labels=[figure.label])
        for name, figure in FIGURES.items()
    }
    for row in Figure.objects.all():
        if row.name in families:
            families[row.name].add_metric([row.label], row.value)
    yield from families.values()


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
