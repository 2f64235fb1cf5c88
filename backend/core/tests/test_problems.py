import errno

from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.db.models import ProtectedError
from django.test import SimpleTestCase
from rest_framework import exceptions, serializers

from contact_management.models import Contact
from core.middleware import BusyMiddleware
from core.problems import handle


class View:
    model = Contact


class ProblemTests(SimpleTestCase):
    """The net below the checks: what an exception that came through is told as."""

    def answer(self, error):
        return handle(error, {"view": View()})

    def test_a_database_that_is_away_is_503_and_says_when_to_come_again(self):
        for error in (OperationalError("gone"), InterfaceError("closed")):
            with self.subTest(error), self.assertLogs("core.problems", "WARNING"):
                response = self.answer(error)
                self.assertEqual(response.status_code, 503)
                self.assertEqual(response["Retry-After"], "2")
                self.assertEqual(response.data["code"], "unavailable")

    def test_what_the_database_cannot_store_is_400_and_logged_as_a_bug(self):
        for error in (DataError("x"), OverflowError("x"), RecursionError("x")):
            with self.subTest(error), self.assertLogs("core.problems", "ERROR"):
                response = self.answer(error)
                self.assertEqual(response.status_code, 400)
                self.assertEqual(response.data["code"], "invalid")
                self.assertNotIn("x", response.data["detail"].split())

    def test_a_rule_of_the_database_is_409_and_logged_as_a_bug(self):
        for error in (ProtectedError("x", set()), IntegrityError("x")):
            with self.subTest(error), self.assertLogs("core.problems", "ERROR"):
                response = self.answer(error)
                self.assertEqual(response.status_code, 409)
                self.assertEqual(response.data["code"], "conflict")

    def test_a_database_that_is_locked_is_503_outside_of_our_views_too(self):
        middleware = BusyMiddleware(get_response=None)
        with self.assertLogs("core.problems", "WARNING"):
            response = middleware.process_exception(None, OperationalError("locked"))
        self.assertEqual(response.status_code, 503)
        self.assertEqual(response["Retry-After"], "2")
        self.assertEqual(response["Content-Type"], "application/problem+json")
        self.assertIsNone(middleware.process_exception(None, KeyError("x")))

    def test_a_full_disk_is_507_in_our_views_and_outside(self):
        middleware = BusyMiddleware(get_response=None)
        for number in (errno.ENOSPC, errno.EDQUOT):
            full = OSError(number, "No room")
            with self.subTest(number), self.assertLogs("core.problems", "ERROR"):
                answer = self.answer(full)
                self.assertEqual(answer.status_code, 507)
                self.assertEqual(answer.data["code"], "storage_full")
                page = middleware.process_exception(None, full)
                self.assertEqual(page.status_code, 507)
                self.assertEqual(page["Content-Type"], "application/problem+json")
        self.assertIsNone(self.answer(OSError(errno.EACCES, "Not yours")))

    def test_what_nobody_expected_is_not_dressed_up(self):
        self.assertIsNone(self.answer(KeyError("x")))

    def test_nested_errors_have_dotted_names(self):
        class Line(serializers.Serializer):
            amount = serializers.IntegerField()

        class Order(serializers.Serializer):
            lines = Line(many=True)
            tags = serializers.ListField(child=serializers.CharField())

        order = Order(data={"lines": [{"amount": 1}, {"amount": "x"}], "tags": [[]]})
        self.assertFalse(order.is_valid())
        response = self.answer(exceptions.ValidationError(order.errors))
        found = {(e["field"], e["code"]) for e in response.data["errors"]}
        self.assertEqual(found, {("lines.1.amount", "invalid"), ("tags.0", "invalid")})

    def test_an_error_of_the_whole_names_no_field(self):
        response = self.answer(ValidationError("Give more.", code="too_little"))
        self.assertEqual(
            response.data["errors"],
            [{"field": None, "code": "too_little", "detail": "Give more."}],
        )
        self.assertEqual(response.data["detail"], "Give more.")
