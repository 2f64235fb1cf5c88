from unittest import mock

from django.contrib.auth import get_user_model
from django.db import close_old_connections, connection
from django.test import TransactionTestCase

from core import connections


class ConnectionTests(TransactionTestCase):
    def asked(self) -> bool:
        """Whether a request asks the connection whether it lives."""
        close_old_connections()
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

    def test_one_that_was_silent_for_a_while_is_asked_once(self):
        connection.answered_at -= connections.TRUST_SECONDS
        self.assertTrue(self.asked())
        self.assertFalse(self.asked())
