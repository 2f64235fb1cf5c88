"""What deals are worth together: a sum for each currency, for no two add up."""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from django.db.models import Count, DecimalField, ExpressionWrapper, F, QuerySet, Sum
from django.db.models.functions import Coalesce

from core.fields import CENT

MONEY = DecimalField(max_digits=30, decimal_places=2)


def sums(deals: QuerySet, *by: str) -> QuerySet:
    """How many deals there are and what they are worth, by currency.

    Args:
        by: the fields, or annotations, that they are grouped by before that.
    """
    probability = Coalesce("probability", "stage__probability")
    weighted = ExpressionWrapper(F("amount") * probability, output_field=MONEY)
    rows = deals.order_by().values(*by, "currency")
    return rows.annotate(
        deals=Count("pk"), amounts=Sum("amount"), hundredfold=Sum(weighted)
    )


def totals(rows: Iterable[dict], by: str, hidden: frozenset[str]) -> dict[object, dict]:
    """What `sums` come to together, rows of JSON too.

    Args:
        by: of what they are grouped by, that which each total is of.
        hidden: the fields of deals that the reader does not see.

    Returns:
        `{"deals", "sums"}` by value. The sums are of the deals with an amount, one for
        each currency. They are not there without the amount or the currency, and have
        nothing `weighted` without the probability.
    """
    found, worth = {}, defaultdict(dict)
    for row in rows:
        value = row[by]
        found.setdefault(value, nothing(hidden))["deals"] += row["deals"]
        if row["amounts"] is not None:
            amount, hundredfold = worth[value].get(row["currency"], (0, 0))
            amount += Decimal(row["amounts"])
            hundredfold += Decimal(row["hundredfold"])
            worth[value][row["currency"]] = amount, hundredfold
    for value, by_currency in worth.items():
        if "sums" not in found[value]:
            continue
        for currency, (amount, hundredfold) in sorted(by_currency.items()):
            one = {"currency": currency, "amount": cents(amount)}
            if "probability" not in hidden:
                one["weighted"] = cents(hundredfold / 100)
            found[value]["sums"].append(one)
    return found


def nothing(hidden: frozenset[str]) -> dict:
    """The total of no deals."""
    if hidden.isdisjoint(("amount", "currency")):
        return {"deals": 0, "sums": []}
    return {"deals": 0}


def cents(value) -> Decimal:
    """A sum as money: SQLite adds up as floating-point numbers."""
    return Decimal(value).quantize(CENT)
