"""Measures each request, and answers Prometheus."""

import ipaddress
import logging
import secrets
import time

from django.conf import settings
from django.http import HttpResponse
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

from core.metrics import measures, slots

logger = logging.getLogger(__name__)

PATH = "/metrics"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP")


class MetricsMiddleware:
    """Stands before all others, so that what they refuse is counted too.

    It answers /metrics itself: Prometheus asks each replica by its address, which is
    no name that Django would answer to.
    """

    def __init__(self, get_response):
        self.get_response = get_response
        self._children = {}

    def __call__(self, request):
        if request.path_info == PATH and may_read(request):
            return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)
        began = time.perf_counter()
        response = self.get_response(request)
        seconds = time.perf_counter() - began
        method = request.method if request.method in METHODS else "other"
        match = request.resolver_match
        key = (method, match and match.route, response.status_code)
        children = self._children.get(key)
        if children is None:
            children = self._children[key] = _children(*key)
        counter, histogram = children
        counter.inc()
        histogram.observe(seconds)
        return response


def _children(method: str, route: str | None, status: int):
    """The counter and the histogram of such a request."""
    route = "none" if route is None else f"/{route}"
    return (
        measures.REQUESTS.labels(method, route, status),
        measures.REQUEST_SECONDS.labels(method, route),
    )


def may_read(request) -> bool:
    """Whoever has the token, or asks from a network that is allowed, by no proxy.

    Through a socket of this machine comes the web server in front of it: it says for
    whom it asks, unless it decided itself that they may.
    """
    sent = request.META.get("HTTP_AUTHORIZATION", "")
    if settings.METRICS_TOKEN:
        wanted = f"Bearer {settings.METRICS_TOKEN}"
        if secrets.compare_digest(sent.encode(), wanted.encode()):
            return True
    if any(name in request.META for name in FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR") or "127.0.0.1")
    except ValueError:
        return False
    return any(
        address in ipaddress.ip_network(network)
        for network in settings.METRICS_NETWORKS
    )


def exposition() -> bytes:
    """All metrics as Prometheus reads them, of all processes that share a folder."""
    # Its models are there only once Django has loaded them.
    from core.metrics.gauges import Gauges

    gauges = CollectorRegistry()
    gauges.register(Gauges())
    return generate_latest(counted()) + generate_latest(gauges)


def counted() -> CollectorRegistry:
    """What was counted, by all processes that share a folder, or by this one."""
    if not slots.FOLDER:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry
