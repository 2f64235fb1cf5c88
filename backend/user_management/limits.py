"""How often a password, a code or a reset may be tried, counted before it is checked.

A try takes a place in each of its limits, in all or in none, in one atomic step; a
right one gives its places back. So whatever runs in parallel, no more are checked than
there are places. Redis counts if there is one, otherwise the database: the processes of
the server share no memory. When the counter is away nobody is let in.
"""

import hashlib
import math
from collections.abc import Mapping
from datetime import timedelta

from allauth.account.adapter import get_adapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal.ratelimit import truncate_ip
from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone
from redis.exceptions import RedisError

from core.exceptions import RETRY_SECONDS
from user_management.auth import refusal
from user_management.models import Attempts

WINDOW_SECONDS = 5 * 60
PER_ACCOUNT = 5
# More than an account's: an office may sign in from behind one address.
PER_ADDRESS = 50

# KEYS: the counters. ARGV: seconds they live, then the places of each.
# Returns the milliseconds to wait, 0 if the places were taken.
TAKE = """
local wait = 0
for i, key in ipairs(KEYS) do
  if tonumber(redis.call('GET', key) or 0) >= tonumber(ARGV[i + 1]) then
    wait = math.max(wait, redis.call('PTTL', key))
  end
end
if wait > 0 then return wait end
for _, key in ipairs(KEYS) do
  if redis.call('INCR', key) == 1 then redis.call('EXPIRE', key, ARGV[1]) end
end
return 0
"""

# KEYS: the counters. A window that ended in between has no place to give back.
GIVE_BACK = """
for _, key in ipairs(KEYS) do
  if tonumber(redis.call('GET', key) or 0) > 0 then redis.call('DECR', key) end
end
"""


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
        except (DatabaseError, RedisError) as error:
            raise self._refusal(
                503, "unavailable", "Signing in does not work just now.", RETRY_SECONDS
            ) from error

    def _refusal(self, status, code, detail, wait: float) -> ImmediateHttpResponse:
        refused = refusal(self.request, status, code, detail)
        refused.response["Retry-After"] = str(math.ceil(wait))
        return refused


def forget() -> None:
    """Remove the counters in the database whose time is over."""
    Attempts.objects.filter(ends_at__lt=timezone.now()).delete()


def _key(*parts: str) -> str:
    # What somebody typed may be of any length, and may have been their password.
    return hashlib.sha256("\n".join(parts).encode(errors="replace")).hexdigest()


def _take(places: Mapping[str, int]) -> float:
    if settings.REDIS_URL:
        script = _redis().register_script(TAKE)
        names = [f"mycrm:attempts:{key}" for key in places]
        return script(keys=names, args=[WINDOW_SECONDS, *places.values()]) / 1000
    with transaction.atomic():
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


def _give_back(keys: list[str]) -> None:
    if settings.REDIS_URL:
        names = [f"mycrm:attempts:{key}" for key in keys]
        _redis().register_script(GIVE_BACK)(keys=names)
        return
    with transaction.atomic():
        for row in Attempts.objects.select_for_update().filter(
            key__in=keys, count__gt=0
        ):
            row.count -= 1
            row.save()


def _redis():
    from django_redis import get_redis_connection

    return get_redis_connection("default")
