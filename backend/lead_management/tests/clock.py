"""A clock that tests set."""

import datetime
from contextlib import contextmanager
from unittest import mock


class Clock:
    def __init__(self, moment: datetime.datetime):
        self.moment = moment

    def shift(self, by: datetime.timedelta) -> None:
        self.moment += by


@contextmanager
def stopped_at(moment: datetime.datetime):
    """Let the time be this for Django, until the clock that is given is shifted."""
    clock = Clock(moment)

    class Stopped(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return clock.moment

    with mock.patch("django.utils.timezone.datetime", Stopped):
        yield clock
