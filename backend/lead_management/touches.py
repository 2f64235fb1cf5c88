"""How long leads wait: to touch one is to speak to it, to move it, or to make it."""

from django.db.models import QuerySet
from django.db.models.functions import Coalesce, Greatest

from lead_management.models.lead import OPEN


def waiting(leads: QuerySet) -> QuerySet:
    """Those that are open, with the moment of their last touch as `touched`."""
    touched = Greatest(
        Coalesce("last_contacted_at", "created_at"), "status_since", "created_at"
    )
    return leads.filter(status__in=OPEN).annotate(touched=touched)
