"""What a Redis that is away, frozen or slow may cost a request: next to nothing twice.

django-redis asks again for each key of each request, and waits its whole time-out each
time. Here a process that has waited once waits only briefly for a moment after. It
says everything still: a Redis that was frozen does it when it thaws, and one that is
well again is made use of at once.
"""

import time
from contextlib import contextmanager

import redis
from redis.commands.core import Script
from redis.exceptions import ConnectionError, NoScriptError, TimeoutError

REST_SECONDS = 2
BRIEF_SECONDS = 0.02


class Rest:
    """Whether a server is left alone, because it failed a moment ago.

    What fails meanwhile does not make it longer: the server is tried in earnest then.
    """

    def __init__(self):
        self.until = 0.0

    def __bool__(self):
        return time.monotonic() < self.until

    def begin(self) -> None:
        if not self:
            self.until = time.monotonic() + REST_SECONDS


rest = Rest()  # of the cache's Redis


@contextmanager
def _noting_failure():
    try:
        yield
    except (ConnectionError, TimeoutError):
        rest.begin()
        raise


def _brief_at_rest(name):
    return property(
        lambda self: BRIEF_SECONDS if rest else getattr(self, name),
        lambda self, seconds: setattr(self, name, seconds),
    )


class Impatient:
    """Mixin for a connection of redis-py."""

    socket_timeout = _brief_at_rest("_socket_timeout")
    socket_connect_timeout = _brief_at_rest("_socket_connect_timeout")

    def connect_check_health(self, *args, **kwargs):
        with _noting_failure():
            super().connect_check_health(*args, **kwargs)

    def send_packed_command(self, *args, **kwargs):
        if self._sock and self._sock.gettimeout() != self.socket_timeout:
            self._sock.settimeout(self.socket_timeout)
        with _noting_failure():
            super().send_packed_command(*args, **kwargs)

    def read_response(self, *args, **kwargs):
        with _noting_failure():
            return super().read_response(*args, **kwargs)


def said_once(script: Script, keys: list[str], arguments: tuple, client: redis.Redis):
    """What a script gives that nothing depends on, where it matters how long it takes.

    As `script(keys, arguments, client)` at two thirds of its processor time, and not
    said again where it fails: who does not learn what is in the cache does without.

    Raises:
        RedisError: as there.
    """
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_command("EVALSHA", script.sha, len(keys), *keys, *arguments)
        return connection.read_response()
    except NoScriptError:
        # It is not known there yet.
        return script(keys, arguments, client)
    finally:
        pool.release(connection)


class ConnectionPool(redis.ConnectionPool):
    """For CACHES."""

    def __init__(self, connection_class=redis.Connection, **kwargs):
        impatient = type("Connection", (Impatient, connection_class), {})
        # Without a greeting, whose answer would be waited for, what a new connection is
        # for is said at once.
        super().__init__(impatient, protocol=2, driver_info=None, **kwargs)
