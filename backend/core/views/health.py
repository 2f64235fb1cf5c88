"""Whether MyCRM is well: for people, for load balancers, for whoever starts it.

- `live`: this process answers. If it does not, start it again.
- `ready`: it can serve, so send it requests. The database is there and has all its
  tables. Redis is not asked: without it the answers come slower, and jobs wait.
- `/api/health/` itself: all parts are there, so that nobody needs to be called.
"""

import logging
import time
from datetime import timedelta

from celery import current_app
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from core.models import Heartbeat
from core.tasks import WORKER

logger = logging.getLogger(__name__)

# Six sweeps: a worker that is busy with a chunk is not dead.
WORKER_SECONDS = 30
START_SECONDS = 60


_is_migrated = False


def check_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def check_cache() -> None:
    if settings.REDIS_URL:
        from django_redis import get_redis_connection

        get_redis_connection("default").ping()


def check_broker() -> None:
    with current_app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=1, timeout=1)


def check_worker() -> None:
    """A sweep ran lately: beat, broker, worker and database work together."""
    since = timezone.now() - timedelta(seconds=WORKER_SECONDS)
    if time.time() - settings.STARTED_AT < START_SECONDS:
        # All of it was started just now, and the worker takes longest.
        return
    if not Heartbeat.objects.filter(name=WORKER, at__gte=since).exists():
        raise TimeoutError("no sweep ran lately")


def check_migrations() -> None:
    """The tables are those of this version. Once they are, they stay so."""
    global _is_migrated
    if not _is_migrated:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise RuntimeError("migrations are missing")
        _is_migrated = True


CHECKS = {
    "database": check_database,
    "cache": check_cache,
    "broker": check_broker,
    "worker": check_worker,
}


READY_CHECKS = {"database": check_database, "migrations": check_migrations}


class LiveSerializer(serializers.Serializer):
    status = serializers.ChoiceField(["ok"])


class ReadySerializer(serializers.Serializer):
    status = serializers.ChoiceField(["ok", "unavailable"])
    database = serializers.CharField()
    migrations = serializers.CharField()


class HealthSerializer(serializers.Serializer):
    status = serializers.ChoiceField(["ok", "unavailable"])
    database = serializers.CharField()
    cache = serializers.CharField()
    broker = serializers.CharField()
    worker = serializers.CharField()


class CheckView(APIView):
    """Open to everybody, and silent about details."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def answer(self, checks):
        answer = {name: self._result(check) for name, check in checks.items()}
        well = set(answer.values()) <= {"ok"}
        answer = {"status": "ok" if well else "unavailable", **answer}
        response = Response(answer, 200 if well else 503)
        response["Cache-Control"] = "no-store"
        return response

    @staticmethod
    def _result(check) -> str:
        try:
            check()
        except Exception as error:
            logger.warning("Health: %s: %s", check.__name__, error)
        else:
            return "ok"
        return "unavailable"


class HealthView(CheckView):
    """200 if all is well, else 503, which says what is not."""

    @extend_schema(responses={200: HealthSerializer, 503: HealthSerializer})
    def get(self, request):
        return self.answer(CHECKS)


class LiveView(CheckView):
    """200 if this process answers; nothing else is asked."""

    @extend_schema(responses={200: LiveSerializer})
    def get(self, request):
        return self.answer({})


class ReadyView(CheckView):
    """200 if requests can be served, else 503: database and its tables."""

    @extend_schema(responses={200: ReadySerializer, 503: ReadySerializer})
    def get(self, request):
        return self.answer(READY_CHECKS)
