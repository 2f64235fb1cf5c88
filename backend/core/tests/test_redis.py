import socket
import tempfile
import time
import uuid
from unittest import mock, skipUnless

from django.conf import settings
from django.test import SimpleTestCase, override_settings
from redis.exceptions import ConnectionError, TimeoutError

from core import jobs
from core.redis import BRIEF_SECONDS, REST_SECONDS, ConnectionPool, Rest, rest
from core.tasks import sweep

PATIENT_SECONDS = 0.05


class FrozenTests(SimpleTestCase):
    """A server that takes connections and says nothing."""

    def setUp(self):
        self.enterContext(mock.patch.object(rest, "until", 0.0))
        self.listen()
        self.addCleanup(self.server.close)

    def listen(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.server.getsockname()[1]}"

    def connect(self, database=0):
        pool = ConnectionPool.from_url(
            f"{self.url}?db={database}",
            socket_timeout=PATIENT_SECONDS,
            socket_connect_timeout=PATIENT_SECONDS,
        )
        connection = pool.get_connection()
        self.addCleanup(connection.disconnect)
        return connection

    def wait_for_answer(self, connection) -> float:
        """Ask, in vain. How long an answer was waited for, in seconds."""
        connection.send_command("GET", "key")
        seconds = connection._sock.gettimeout()
        with self.assertRaises(TimeoutError):
            connection.read_response()
        return seconds

    def test_its_whole_time_out_is_waited_for_once(self):
        first, second = self.connect(), self.connect()
        self.assertEqual(self.wait_for_answer(first), PATIENT_SECONDS)
        # So it is on a new connection, and on one from before.
        self.assertEqual(self.wait_for_answer(first), BRIEF_SECONDS)
        self.assertEqual(self.wait_for_answer(second), BRIEF_SECONDS)
        rest.until = 0.0
        self.assertEqual(self.wait_for_answer(first), PATIENT_SECONDS)
        self.assertTrue(rest)

    def test_a_new_connection_counts_as_well(self):
        with self.assertRaises(TimeoutError):
            self.connect(database=1)  # which is an answer to wait for
        self.assertTrue(rest)

    def test_one_that_is_not_there_counts_as_well(self):
        self.server.close()
        with self.assertRaises(ConnectionError):
            self.connect()
        self.assertTrue(rest)

    def test_what_was_sent_meanwhile_is_there_when_it_thaws(self):
        rest.begin()
        connection = self.connect()
        self.wait_for_answer(connection)
        taken, _ = self.server.accept()
        with taken:
            self.assertIn(b"GET", taken.recv(1000))


class FrozenUnixTests(FrozenTests):
    """The same by a Unix socket."""

    def listen(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.server = socket.create_server(f"{folder}/s", family=socket.AF_UNIX)
        self.url = f"unix://{folder}/s"


class RestTests(SimpleTestCase):
    def test_it_ends_by_itself_however_often_it_is_begun(self):
        rest = Rest()
        self.assertFalse(rest)
        with mock.patch("core.redis.time.monotonic") as now:
            now.return_value = 100
            rest.begin()
            now.return_value = 100 + REST_SECONDS - 1
            self.assertTrue(rest)
            rest.begin()
            now.return_value = 100 + REST_SECONDS
            self.assertFalse(rest)


class BrokerTests(SimpleTestCase):
    def setUp(self):
        self.enterContext(mock.patch.object(jobs, "_broker_rest", Rest()))

    def test_a_broker_that_failed_is_left_alone_for_a_moment(self):
        with mock.patch.object(sweep, "apply_async", side_effect=OSError) as sent:
            with self.assertLogs("core.jobs", "WARNING"):
                jobs.tell(sweep)
            jobs.tell(sweep)
            self.assertEqual(sent.call_count, 1)
            jobs._broker_rest.until = 0.0
            with self.assertLogs("core.jobs", "WARNING"):
                jobs.tell(sweep)
            self.assertEqual(sent.call_count, 2)

    @skipUnless(settings.REDIS_URL, "needs Redis")
    def test_what_is_told_within_a_second_is_told_once(self):
        first, second = uuid.uuid4().hex, uuid.uuid4().hex
        with (
            mock.patch.object(sweep, "apply_async") as sent,
            mock.patch.object(jobs, "TOGETHER_SECONDS", 0.2),
        ):
            for told in (first, first, second, first):
                jobs.tell_once(sweep, told)
            asked = [(call.args, call.kwargs["countdown"]) for call in sent.mock_calls]
            self.assertEqual(asked, [(((first,),), 0.2), (((second,),), 0.2)])
            time.sleep(0.3)
            jobs.tell_once(sweep, first)
            self.assertEqual(sent.call_count, 3)

    @override_settings(REDIS_URL="")
    def test_without_redis_each_is_told_at_once(self):
        with mock.patch.object(sweep, "apply_async") as sent:
            for _ in range(2):
                jobs.tell_once(sweep, "one")
        self.assertEqual([c.kwargs["countdown"] for c in sent.mock_calls], [None, None])

    def test_the_connection_to_the_broker_is_kept(self):
        with mock.patch.object(sweep, "apply_async") as sent:
            jobs.tell(sweep)
            jobs.tell(sweep)
        first, second = (call.kwargs["producer"] for call in sent.call_args_list)
        self.assertIs(first, second)
