"""The days that a report is about."""

import datetime
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from django.db import models


class Preset(models.TextChoices):
    """Periods by their names, of whole days; weeks begin on Monday."""

    THIS_WEEK = "this_week"
    LAST_WEEK = "last_week"
    THIS_MONTH = "this_month"
    LAST_MONTH = "last_month"
    THIS_QUARTER = "this_quarter"
    LAST_QUARTER = "last_quarter"
    THIS_YEAR = "this_year"
    LAST_YEAR = "last_year"
    ALL_TIME = "all_time"


@dataclass(frozen=True)
class Period:
    """Days from one to another, both included; None: without an end there.

    The days are those of the organization, so that colleagues read the same figures
    wherever they are.
    """

    first: datetime.date | None
    last: datetime.date | None
    zone: ZoneInfo

    @classmethod
    def named(cls, preset: str, today: datetime.date, zone: ZoneInfo) -> "Period":
        if preset == Preset.ALL_TIME:
            return cls(None, None, zone)
        which, _, unit = preset.partition("_")
        first = start_of(unit, today)
        last = start_of(unit, first + LONGER_THAN[unit]) - DAY
        if which == "last":
            last = first - DAY
            first = start_of(unit, last)
        return cls(first, last, zone)

    def told(self) -> dict:
        return {"from": self.first, "to": self.last}

    def moments(self, path: str) -> dict:
        """The condition on a moment, as look-ups."""
        found = {}
        if self.first:
            found[f"{path}__gte"] = start_of_day(self.first, self.zone)
        if self.last:
            found[f"{path}__lt"] = start_of_day(self.last + DAY, self.zone)
        return found

    def dates(self, path: str) -> dict:
        """The condition on a date, as look-ups."""
        ends = {f"{path}__gte": self.first, f"{path}__lte": self.last}
        return {lookup: day for lookup, day in ends.items() if day}


DAY = datetime.timedelta(days=1)
# By unit, what leads from its first day into the next one.
LONGER_THAN = {
    "week": datetime.timedelta(days=7),
    "month": datetime.timedelta(days=31),
    "quarter": datetime.timedelta(days=93),
    "year": datetime.timedelta(days=366),
}


def start_of(unit: str, day: datetime.date) -> datetime.date:
    """The first day of the week, month, quarter or year that a day is in."""
    match unit:
        case "week":
            return day - day.weekday() * DAY
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    return day.replace(month=1, day=1)


def start_of_day(day: datetime.date, zone: ZoneInfo) -> datetime.datetime:
    return datetime.datetime.combine(day, datetime.time(), zone)
