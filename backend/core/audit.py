"""The audit log: the journal and the security events read as one, the newest first.

What a creation made is not rebuilt, for that costs a read of the record and of its
changes for each row; the record's history shows it.
"""

from dataclasses import dataclass
from functools import partial

import django_filters as filters
from django.db.models import Model, QuerySet

from core import merging
from core.access import field_rights, owner_filter
from core.filters import AddressFilter, MomentFilter, PersonFilter
from core.history import summary_of
from core.merging import Place, Stream
from core.models import Change, ChangeSet, SecurityEvent

RIGHT = "auditlog"
KINDS = ("change", "security")
ACTIONS = Change.Verb.choices + SecurityEvent.Kind.choices


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


def page(request, rows: list[QuerySet]) -> dict:
    """The page that the request asks for; `rows`: what to show of each of LOGS."""
    return merging.page(request, streams(rows), partial(entries, user=request.user))


def streams(rows: list[QuerySet]) -> list[Stream]:
    return [Stream(queryset) for queryset in rows]


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
