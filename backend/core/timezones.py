"""The time zones that there are."""

from functools import cache
from zoneinfo import available_timezones


@cache
def timezones() -> frozenset[str]:
    """Their names. To find them takes a look at each of hundreds of files."""
    return frozenset(available_timezones())
