"""How often a password, a code or a reset may be tried, counted before it is checked.

A try takes a place in each of its limits, in all or in none, in one atomic step; a
right one gives its places back. So whatever runs in parallel, no more are checked than
there are places. The database counts, not the cache: that drops what it has no room
for, and may be away or flushed at any time. Without the database nobody is let in.
"""

import hashlib
import math
from collections.abc import Mapping
from datetime import timedelta

from allauth.account.adapter import get_adapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal.ratelimit import truncate_ip
from django.db import DatabaseError, transaction
from django.utils import timezone

from core.exceptions import RETRY_SECONDS
from user_management.auth import refusal
from user_management.models import Attempts

WINDOW_SECONDS = 5 * 60
PER_ACCOUNT = 5
# More than an account's: an office may sign in from behind one address.
PER_ADDRESS = 50


class Try:
    """Takes a place for the account and one for the address of the request.

    Args:
        kind: what is tried; each kind has its own counters.
        account: who it is about, known to us or not.
        request: None for a command, which has no address.

    Raises:
        ImmediateHttpResponse: 429 if there is no place, 503 if nothing counts.
    """

    def __init__(self, request, kind: str, account: str):
        self.request = request
        places = {_key(kind, "account", account.lower()): PER_ACCOUNT}
        if request is not None:
            address = truncate_ip(get_adapter().get_client_ip(request))
            places[_key(kind, "address", address)] = PER_ADDRESS
        self.keys = sorted(places)
        wait = self._count(_take, {key: places[key] for key in self.keys})
        if wait:
            raise self._refusal(
                429, "too_many_attempts", "Too many attempts. Try again later.", wait
            )

    def give_back(self) -> None:
        self._count(_give_back, self.keys)

    def _count(self, action, argument):
        try:
            return action(argument)
        except DatabaseError as error:
            raise self._refusal(
                503, "unavailable", "Signing in does not work just now.", RETRY_SECONDS
            ) from error

    def _refusal(self, status, code, detail, wait: float) -> ImmediateHttpResponse:
        refused = refusal(self.request, status, code, detail)
        refused.response["Retry-After"] = str(math.ceil(wait))
        return refused


def forget() -> None:
    """Remove the counters whose time is over."""
    Attempts.objects.filter(ends_at__lt=timezone.now()).delete()


def _key(*parts: str) -> str:
    # What somebody typed may be of any length, and may have been their password.
    return hashlib.sha256("\n".join(parts).encode(errors="replace")).hexdigest()


@transaction.atomic
def _take(places: Mapping[str, int]) -> float:
    """Take a place of each; the seconds to wait where there is none, else 0."""
    now = timezone.now()
    rows = []
    # In the order of their keys: so no two requests wait for each other.
    for key in places:
        row, _ = Attempts.objects.select_for_update().get_or_create(
            key=key, defaults={"ends_at": now}
        )
        if row.ends_at <= now:
            row.count = 0
            row.ends_at = now + timedelta(seconds=WINDOW_SECONDS)
        rows.append(row)
    full = [row.ends_at - now for row in rows if row.count >= places[row.key]]
    if full:
        return max(full).total_seconds()
    for row in rows:
        row.count += 1
        row.save()
    return 0


@transaction.atomic
def _give_back(keys: list[str]) -> None:
    mine = Attempts.objects.select_for_update().filter(key__in=keys, count__gt=0)
    for row in mine.order_by("key"):
        row.count -= 1
        row.save()
