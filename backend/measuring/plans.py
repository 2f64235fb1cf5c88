"""What the database does for each thing that a list can be asked.

The lists, their filters and their orderings are taken from the declarations of the
views, so a new record type or field is asked too.
"""

import datetime
import decimal
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import django_filters as filters
from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import connection, models
from django.test.utils import CaptureQueriesContext
from django.utils.http import urlencode
from django.utils.module_loading import module_has_submodule

from core.models import Record
from core.routers import Router
from core.testing import client_of
from core.views.journaled import JournaledViewSet

# A table of fewer rows is read as a whole in less time than an index is looked up.
BIG = 10_000
# Filters whose names are no fields: where their values are found.
FURTHER = {"any_email": "email", "any_phone": "phone_e164"}


@dataclass
class Look:
    """One request, and what the database did for it."""

    path: str
    status: int
    queries: int
    # The big tables that were read from the first row to the last.
    scanned: list[str] = field(default_factory=list)
    milliseconds: float = 0.0


def lists() -> Iterator[tuple[str, type]]:
    """The address and the view of every list, by the routers."""
    for app in apps.get_app_configs():
        if module_has_submodule(app.module, "urls"):
            router = getattr(import_module(f"{app.name}.urls"), "router", None)
            if isinstance(router, Router):
                for prefix, view, _ in router.registry:
                    yield f"/api/{prefix}/", view


def questions(path: str, view: type, user) -> Iterator[str]:
    """Everything that this list can be asked, one thing at a time."""
    yield path
    yield f"{path}?cursor="
    if issubclass(view, JournaledViewSet):
        for name in view.ordering_fields:
            yield f"{path}?ordering={name}"
            yield f"{path}?ordering=-{name}"
        if text := a_word(view, user):
            yield f"{path}?{urlencode({'search': text})}"
    for name, one in view.filterset_class.base_filters.items():
        value = value_for(view.model, name, one, user)
        if value is not None:
            yield f"{path}?{urlencode({name: value})}"
    row = issubclass(view.model, Record) and in_the_middle(
        view.model.objects.visible_to(user)
    )
    if row:
        for end in ("", "history/", "timeline/"):
            yield f"{path}{row.pk}/{end}"


def a_word(view, user) -> str | None:
    """A word that a few rows hold."""
    if not issubclass(view.model, Record):
        return None
    row = in_the_middle(view.model.objects.visible_to(user))
    words = re.findall(r"\w{4,}", row.search_text) if row else []
    return max(words, key=len, default=None)


def in_the_middle(rows: models.QuerySet) -> models.Model | None:
    count = rows.count()
    return rows.order_by("pk")[count // 2] if count else None


def fields_of(model) -> set[str]:
    return {field.name for field in model._meta.get_fields()}


def value_for(model, name: str, one: filters.Filter, user) -> Any:
    """A value that a row has; None where there is none."""
    path = FURTHER.get(name, one.field_name)
    if isinstance(one, filters.ChoiceFilter) and name not in fields_of(model):
        return one.extra["choices"][0][0]
    try:
        of_model = model._meta.get_field(path)
    except FieldDoesNotExist:
        return None
    rows = model.objects.all()
    if hasattr(rows, "visible_to"):
        rows = rows.visible_to(user)
    blank = {f"{path}__isnull": True} if of_model.null else None
    if of_model.get_internal_type() in ("CharField", "TextField", "EmailField"):
        blank = {path: ""}
    elif of_model.get_internal_type() == "JSONField":
        blank = {path: []}
    row = in_the_middle(rows.exclude(**blank) if blank else rows)
    value = getattr(row, of_model.attname) if row else None
    lookup = one.lookup_expr
    if lookup == "isnull":
        return "true"
    if lookup == "has" and value:
        first = value[0] if isinstance(value, list) else next(iter(value))
        return first["value"] if isinstance(first, dict) else first
    if lookup == "icontains" and value:
        return str(value)[:20]
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, bool):
        return str(value).lower()
    simple = str | int | decimal.Decimal | datetime.date
    if value is None or isinstance(value, dict | list):
        return None
    return value if isinstance(value, simple) else str(value)


class Database:
    """Asks MyCRM within this process, and looks at what comes to the database."""

    def __init__(self, user):
        self.client = client_of(user)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples >= %s",
                [BIG],
            )
            self.big = {name for (name,) in cursor.fetchall()}

    def look(self, path: str) -> Look:
        seconds = []

        def timed(execute, *arguments):
            start = time.perf_counter()
            found = execute(*arguments)
            # What Django notes is rounded to a millisecond, which most take less than.
            seconds.append(time.perf_counter() - start)
            return found

        with (
            CaptureQueriesContext(connection) as queries,
            connection.execute_wrapper(timed),
        ):
            response = self.client.get(path)
        statements = [
            query["sql"]
            for query in queries
            if query["sql"].lstrip("( ").startswith(("SELECT", "WITH", "EXECUTE"))
        ]
        look = Look(path, response.status_code, len(queries))
        look.milliseconds = 1000 * sum(seconds)
        for statement in statements:
            look.scanned += self.scans(statement)
        return look

    def scans(self, statement: str) -> list[str]:
        """The big tables that a statement reads as a whole."""
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN (FORMAT JSON) " + statement.replace("%", "%%"), [])
            plan = cursor.fetchone()[0]
        plan = json.loads(plan) if isinstance(plan, str) else plan
        return [
            node["Relation Name"]
            for node in nodes(plan[0]["Plan"])
            if node["Node Type"] == "Seq Scan" and node["Relation Name"] in self.big
        ]


def nodes(plan: dict) -> Iterator[dict]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)
