"""Numbers of the business that /metrics tells (core.metrics.figures)."""

from django.db.models import Count

from core.metrics.figures import figure
from lead_management.models import Deal, Lead


@figure("mycrm_leads", "Leads that are not deleted.", "status")
def count_leads() -> dict[str, float]:
    return _count(Lead, "status")


@figure("mycrm_deals", "Deals that are not deleted.", "kind")
def count_deals() -> dict[str, float]:
    return _count(Deal, "stage__kind")


def _count(model, field: str) -> dict[str, float]:
    rows = model._base_manager.filter(deleted_at=None).order_by().values_list(field)
    return dict(rows.annotate(Count("pk")))
