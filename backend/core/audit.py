"""The audit log: the journal and the security events read as one, the newest first.

A page takes its rows from either log by an index of that log, and merges them here: a
UNION in the database would sort both whole. What a creation made is not rebuilt, for
that costs a read of the record and of its changes for each row; the record's history
shows it.
"""

from dataclasses import dataclass
from datetime import datetime

import django_filters as filters
from django.db.models import Model, Q, QuerySet

from core.access import field_rights, owner_filter
from core.exceptions import bad_parameter
from core.filters import AddressFilter, MomentFilter, PersonFilter
from core.history import summary_of
from core.models import Change, ChangeSet, SecurityEvent
from core.pagination import (
    Cursor,
    cursor_links,
    number_links,
    page_size,
    whole_number,
)

RIGHT = "auditlog"
KINDS = ("change", "security")
ACTIONS = Change.Verb.choices + SecurityEvent.Kind.choices
# A numbered page costs as much as all pages before it; a cursor does not.
MAX_DEPTH = 10_000


class ChoiceHere(filters.ChoiceFilter):
    """A choice of which a log knows only some: by others nothing is found in it."""

    def __init__(self, name, *, choices, here, **kwargs):
        self.here = here
        self.column = name
        super().__init__(name, choices=choices, **kwargs)

    def filter(self, queryset, value):
        if value and value not in self.here:
            return queryset.none()
        return super().filter(queryset, value) if self.column else queryset


def filterset_of(model, kind, actor, action, sources, change_set=""):
    declared = {
        "kind": ChoiceHere(None, choices=[(k, k) for k in KINDS], here=(kind,)),
        "actor": PersonFilter(actor),
        "api_key": filters.UUIDFilter(f"{change_set}api_key"),
        "record_type": filters.CharFilter("record_type"),
        "record_id": filters.UUIDFilter("record_id"),
        "action": ChoiceHere(
            action,
            choices=ACTIONS,
            here=dict(model._meta.get_field(action).choices),
        ),
        "source": ChoiceHere(
            f"{change_set}source" if sources else None,
            choices=ChangeSet.Source.choices,
            here=sources,
        ),
        "address": AddressFilter(f"{change_set}address"),
        **{
            f"created_at__{lookup}": MomentFilter("created_at", lookup)
            for lookup in ("gt", "gte", "lt", "lte")
        },
    }
    meta = type("Meta", (), {"model": model, "fields": []})
    return type(f"{kind}Filter", (filters.FilterSet,), {**declared, "Meta": meta})


@dataclass(frozen=True)
class Log:
    """One of the logs; `actor` and `related` are paths from its rows."""

    model: type[Model]
    actor: str
    related: tuple[str, ...]
    filterset: type[filters.FilterSet]

    def visible_to(self, user, verb: str) -> QuerySet:
        return self.model.objects.filter(
            owner_filter(user, RIGHT, verb, self.actor),
            organization=user.organization_id,
        )


LOGS = (
    Log(
        Change,
        "change_set__actor",
        ("change_set__actor", "change_set__api_key"),
        filterset_of(
            Change,
            "change",
            "change_set__actor",
            "verb",
            ChangeSet.Source.values,
            "change_set__",
        ),
    ),
    Log(
        SecurityEvent,
        "user",
        ("user", "api_key"),
        filterset_of(SecurityEvent, "security", "user", "kind", ()),
    ),
)

# The place of a row: its time, the number of its log, its id. Later is greater.
Place = tuple[datetime, int, int]


def page(request, rows: list[QuerySet]) -> dict:
    """The page that the request asks for; `rows`: what to show of each of LOGS."""
    size = page_size(request)
    if "cursor" in request.query_params:
        if "page" in request.query_params:
            raise bad_parameter("page", "Give a page or a cursor, not both.")
        return _cursor_page(request, rows, size)
    number = whole_number(request, "page", 1)
    if number * size > MAX_DEPTH:
        detail = f"Pages end at {MAX_DEPTH} entries; use a cursor."
        raise bad_parameter("page", detail, "max_value")
    count = sum(queryset.count() for queryset in rows)
    links = number_links(request, number, size, count)
    found = places(rows, number * size)[(number - 1) * size :]
    return {**links, "results": entries(found, request.user)}


def _cursor_page(request, rows, size) -> dict:
    cursor = Cursor.decode(request)
    backwards = cursor is not None and cursor.backwards
    start = None
    if cursor:
        moment, log, pk = cursor.values
        start = (datetime.fromisoformat(moment), log, pk)
    found = places(rows, size + 1, start, backwards)
    more = len(found) > size
    found = found[:size]
    if backwards:
        found.reverse()
    return {
        **cursor_links(request, cursor, found, more),
        "results": entries(found, request.user),
    }


def places(
    rows: list[QuerySet], size: int, start: Place | None = None, backwards=False
) -> list[Place]:
    """The next `size` places after `start`: the newest first, or backwards."""
    found = []
    sign = "" if backwards else "-"
    for log, queryset in enumerate(rows):
        if start:
            queryset = queryset.filter(_beyond(log, start, backwards))
        ordered = queryset.order_by(f"{sign}created_at", f"{sign}id")
        keys = ordered.values_list("created_at", "id")[:size]
        found += [(moment, log, pk) for moment, pk in keys]
    return sorted(found, reverse=not backwards)[:size]


def _beyond(log: int, start: Place, backwards: bool) -> Q:
    moment, start_log, pk = start
    side = "gt" if backwards else "lt"
    after = Q((f"created_at__{side}", moment))
    if log == start_log:
        # The first bound, though implied, is where the index is entered.
        bound = Q((f"created_at__{side}e", moment))
        return bound & (after | Q((f"id__{side}", pk)))
    same_moment_too = log > start_log if backwards else log < start_log
    return Q((f"created_at__{side}e", moment)) if same_moment_too else after


def entries(found: list[Place], user) -> list[dict]:
    """What stands at these places, as far as the user may see it.

    But for what was erased just now.
    """
    shown = {}
    for number, log in enumerate(LOGS):
        ids = [pk for _, at, pk in found if at == number]
        rows = log.model.objects.select_related(*log.related).in_bulk(ids)
        for pk, row in rows.items():
            shown[number, pk] = _entry(row, user)
    return [shown[log, pk] for _, log, pk in found if (log, pk) in shown]


def _entry(row: Change | SecurityEvent, user) -> dict:
    if isinstance(row, Change):
        origin = row.change_set
        rights = field_rights(user, row.record_type)
        before, after = rights.shown_change(row.before or {}, row.after or {})
        told = {
            "id": f"change-{row.pk}",
            "kind": "change",
            "action": row.verb,
            "actor": summary_of(origin.actor),
            "version": row.version,
            "before": before,
            "after": after,
            "detail": {},
            "source": origin.source,
            "reason": origin.reason,
            "change_set": origin.pk,
        }
    else:
        origin = row
        told = {
            "id": f"security-{row.pk}",
            "kind": "security",
            "action": row.kind,
            "actor": summary_of(row.user),
            "version": None,
            "before": {},
            "after": {},
            "detail": row.detail,
            "source": None,
            "reason": "",
            "change_set": None,
        }
    return {
        **told,
        "api_key": summary_of(origin.api_key),
        "record_type": row.record_type,
        "record_id": row.record_id,
        "address": origin.address,
        "user_agent": origin.user_agent,
        "request_id": origin.request_id,
        "created_at": row.created_at,
    }
