"""Numbers of the business: how many records there are, over all organizations.

To count a large table takes long, so a worker counts now and then, keeps the numbers in
the database, and /metrics tells those.
"""

from collections.abc import Callable
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from core.models import Figure, Heartbeat
from core.registry import record_types

HEARTBEAT = "figures"


@dataclass(frozen=True)
class Kind:
    text: str
    label: str
    count: Callable[[], dict[str, float]]


FIGURES: dict[str, Kind] = {}


def figure(name: str, text: str, label: str):
    """Decorator: this function counts what the gauge of this name shows.

    The function returns a number for each value of `label`, of which there are few.
    """

    def register(function):
        FIGURES[name] = Kind(text, label, function)
        return function

    return register


@figure("mycrm_records", "Records, without the deleted ones.", "record_type")
def count_records() -> dict[str, float]:
    return {
        name: model._base_manager.filter(deleted_at=None).count()
        for name, model in record_types().items()
    }


def count_all() -> None:
    """Count everything anew, and forget what is counted no more."""
    rows = [
        Figure(name=name, label=label, value=value)
        for name, kind in FIGURES.items()
        for label, value in kind.count().items()
    ]
    with transaction.atomic():
        Figure.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["name", "label"],
            update_fields=["value"],
        )
        known = {(row.name, row.label) for row in rows}
        for row in Figure.objects.all():
            if (row.name, row.label) not in known:
                row.delete()
        Heartbeat.objects.update_or_create(
            name=HEARTBEAT, defaults={"at": timezone.now()}
        )
