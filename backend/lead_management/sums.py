"""What deals are worth together: a sum for each currency, for no two add up."""

from decimal import Decimal

from django.db.models import Count, DecimalField, ExpressionWrapper, F, QuerySet, Sum
from django.db.models.functions import Coalesce

from core.fields import CENT

MONEY = DecimalField(max_digits=30, decimal_places=2)


def totals(deals: QuerySet, by: str, hidden: frozenset[str]) -> dict[object, dict]:
    """How many deals there are and what they are worth, in one query.

    Args:
        by: the field, or annotation, whose values they are grouped by.
        hidden: the fields of deals that the reader does not see.

    Returns:
        `{"deals", "sums"}` by value. The sums are of the deals with an amount, one for
        each currency. They are not there without the amount or the currency, and have
        nothing `weighted` without the probability.
    """
    probability = Coalesce("probability", "stage__probability")
    weighted = ExpressionWrapper(F("amount") * probability, output_field=MONEY)
    rows = deals.order_by().values(by, "currency")
    rows = rows.annotate(
        deals=Count("pk"), amounts=Sum("amount"), weighted=Sum(weighted)
    )
    found = {}
    for row in rows.order_by("currency"):
        total = found.setdefault(row[by], nothing(hidden))
        total["deals"] += row["deals"]
        if "sums" in total and row["amounts"] is not None:
            one = {"currency": row["currency"], "amount": cents(row["amounts"])}
            if "probability" not in hidden:
                one["weighted"] = cents(Decimal(row["weighted"]) / 100)
            total["sums"].append(one)
    return found


def nothing(hidden: frozenset[str]) -> dict:
    """The total of no deals."""
    if hidden.isdisjoint(("amount", "currency")):
        return {"deals": 0, "sums": []}
    return {"deals": 0}


def cents(value) -> Decimal:
    """A sum as money: SQLite adds up as floating-point numbers."""
    return Decimal(value).quantize(CENT)
