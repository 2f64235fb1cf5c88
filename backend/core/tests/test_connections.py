import time
from unittest import mock

from django.contrib.auth import get_user_model
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection
from django.test import TransactionTestCase

from core import connections


def receivers(signal) -> list:
    return signal._live_receivers(None)[0]


class ConnectionTests(TransactionTestCase):
    def asked(self) -> bool:
        """Whether a request asks the connection whether it lives."""
        connections.trust()
        with mock.patch.object(connection, "is_usable", return_value=True) as asked:
            get_user_model().objects.exists()
        return asked.called

    def setUp(self):
        get_user_model().objects.exists()
        for name, value in (("health_check_enabled", True), ("close_at", None)):
            self.enterContext(mock.patch.object(connection, name, value))

    def test_one_that_answered_just_now_is_not_asked(self):
        self.assertFalse(self.asked())
        self.assertFalse(self.asked())

    def test_each_request_trusts(self):
        connection.health_check_done = False
        self.client.get("/api/health/live/")
        self.assertTrue(connection.health_check_done)

    def test_one_that_failed_is_asked_however_lately_it_answered(self):
        connection.errors_occurred = True
        with mock.patch.object(connection, "is_usable", return_value=True) as asked:
            connections.trust()
        self.assertTrue(asked.called)
        self.assertFalse(connection.errors_occurred)

    def test_one_that_is_too_old_is_closed_however_lately_it_answered(self):
        connection.close_at = time.monotonic() - 1
        with mock.patch.object(connection, "close") as closed:
            connections.trust()
        self.assertTrue(closed.called)

    def test_django_looks_after_those_that_end_with_their_request(self):
        for age, receives in ((0, True), (60, False)):
            with (
                self.subTest(age),
                mock.patch.dict(connection.settings_dict, CONN_MAX_AGE=age),
            ):
                for signal in (request_started, request_finished):
                    signal.connect(close_old_connections)
                connections.take_over()
                for signal in (request_started, request_finished):
                    self.assertIs(close_old_connections in receivers(signal), receives)
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)

    def test_one_that_was_silent_for_a_while_is_asked_once(self):
        connection.answered_at -= connections.TRUST_SECONDS
        self.assertTrue(self.asked())
        self.assertFalse(self.asked())
