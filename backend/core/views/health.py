"""Whether the parts that MyCRM needs are there, for load balancers and people."""

import logging
from datetime import timedelta

from celery import current_app
from django.conf import settings
from django.db import connection
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
    if not Heartbeat.objects.filter(name=WORKER, at__gte=since).exists():
        raise TimeoutError("no sweep ran lately")


CHECKS = {
    "database": check_database,
    "cache": check_cache,
    "broker": check_broker,
    "worker": check_worker,
}


class HealthSerializer(serializers.Serializer):
    status = serializers.ChoiceField(["ok", "unavailable"])
    database = serializers.CharField()
    cache = serializers.CharField()
    broker = serializers.CharField()
    worker = serializers.CharField()


class HealthView(APIView):
    """200 if all is well, else 503; open to everybody, and silent about details."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(responses={200: HealthSerializer, 503: HealthSerializer})
    def get(self, request):
        answer = {name: self._result(check) for name, check in CHECKS.items()}
        well = set(answer.values()) == {"ok"}
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
