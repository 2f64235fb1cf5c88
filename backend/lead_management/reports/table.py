"""A report as one table, from which its page, CSV and workbook are made."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

# How the values of a column are shown.
TEXT, NUMBER, SHARE, MONEY, DAYS = "text", "number", "share", "money", "days"
SECONDS_OF_A_DAY = 24 * 60 * 60


@dataclass(frozen=True)
class Column:
    title: str
    kind: str = NUMBER


@dataclass
class Table:
    """What a report tells.

    Attributes:
        bars: the places of the columns that are drawn, each as a chart of its own.
    """

    columns: list[Column]
    rows: list[list] = field(default_factory=list)
    bars: list[int] = field(default_factory=list)


def money_columns(
    rows: Iterable[dict], key: str, titles: dict[str, str]
) -> tuple[list[Column], Callable[[dict], list]]:
    """A column for each currency, for no two add up, and what a row has in them.

    Args:
        key: where a row has its list of sums, each with a `currency`.
        titles: of what a sum holds, by its name.
    """
    sums = [one for row in rows for one in row.get(key, ())]
    places = [
        (currency, name)
        for currency in sorted({one["currency"] for one in sums})
        for name in titles
        if any(name in one for one in sums)
    ]
    columns = [
        Column(f"{titles[name]} ({currency})", MONEY if name != "deals" else NUMBER)
        for currency, name in places
    ]

    def cells(row: dict) -> list:
        of = {one["currency"]: one for one in row.get(key, ())}
        return [of.get(currency, {}).get(name, 0) for currency, name in places]

    return columns, cells


def days(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / SECONDS_OF_A_DAY, 1)


def person(told: dict | None) -> str:
    return (told or {}).get("name") or "Nobody"
