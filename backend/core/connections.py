"""Connections to the database that answered just now are not asked for a sign of life.

Django asks each one once in a request whether it lives (CONN_HEALTH_CHECKS), by a query
that takes half as long as reading a record. Where the database went away within this
short time, a request fails as those do that it was busy with: 503, to be sent again.
"""

import time

from django.db import connections

TRUST_SECONDS = 1.0


def note_answer(execute, sql, params, many, context):
    """A wrapper of Django's database connections that keeps when each last answered."""
    found = execute(sql, params, many, context)
    context["connection"].answered_at = time.monotonic()
    return found


def note_answers(connection, **_) -> None:
    """Receiver of `connection_created`: a connection's wrappers outlive it."""
    connection.answered_at = time.monotonic()
    if note_answer not in connection.execute_wrappers:
        connection.execute_wrappers.append(note_answer)


class TrustMiddleware:
    """Stands before all that asks the database, after Django began the request."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        trust()
        return self.get_response(request)


def trust() -> None:
    now = time.monotonic()
    for connection in connections.all(initialized_only=True):
        if connection.connection and now - connection.answered_at < TRUST_SECONDS:
            connection.health_check_done = True
