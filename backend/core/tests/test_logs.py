"""What production logs: JSON that tells where a line belongs, and of no person."""

import io
import json
import logging.config
from unittest import mock

from django.db import IntegrityError
from django.test import RequestFactory, SimpleTestCase, TestCase

from core import logs, origin
from core.middleware import ActorMiddleware, RequestIdMiddleware
from core.testing import make_organization, make_role, make_user


class LogTestCase:
    def written(self, action) -> list[dict]:
        """The lines that an action logs, as production would write them."""
        stream = io.StringIO()
        configuration = logs.configuration("INFO")
        formatter = configuration["formatters"]["json"]
        handler = logging.StreamHandler(stream)
        handler.setFormatter(
            formatter["()"](**{k: v for k, v in formatter.items() if k != "()"})
        )
        logger = logging.getLogger("mycrm.test")
        logger.propagate = False
        logger.setLevel("INFO")
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        action(logger)
        return [json.loads(line) for line in stream.getvalue().splitlines()]


class PersonalDataTests(LogTestCase, SimpleTestCase):
    def test_masks_what_may_be_of_a_person(self):
        for text, written in [
            ("To ada@example.com: no", "To [e-mail]: no"),
            ("<Ada.L+x@mail.example.co.uk>", "<[e-mail]>"),
            ("/api/contacts/?search=Ada+Lovelace", "/api/contacts/?[query]"),
            ("called +44 20 7946 0958 twice", "called [number] twice"),
            ("Did it work? Yes", "Did it work? Yes"),
            ("took 1500 ms of 30000", "took 1500 ms of 30000"),
            (
                "Job 01a225d2-c952-7706-9f59-40e6231e2d2d went on",
                "Job 01a225d2-c952-7706-9f59-40e6231e2d2d went on",
            ),
            ("at 2026-11-29 05:43:34", "at 2026-11-29 05:43:34"),
        ]:
            with self.subTest(text):
                (line,) = self.written(lambda logger, text=text: logger.info(text))
                self.assertEqual(line["event"], written)

    def test_an_error_comes_without_values(self):
        def fail(logger):
            try:
                raise IntegrityError(
                    'duplicate key value violates unique constraint "one_email"\n'
                    "DETAIL:  Key (last_name)=(Lovelace) already exists."
                )
            except IntegrityError as error:
                logger.warning("The database refused: %s", error, exc_info=True)

        (line,) = self.written(fail)
        expected = 'duplicate key value violates unique constraint "one_email"'
        self.assertEqual(line["event"], f"The database refused: {expected}")
        self.assertEqual(line["error"], f"IntegrityError: {expected}")
        self.assertRegex(line["traceback"][-1], r"test_logs\.py:\d+ fail$")
        self.assertNotIn("Lovelace", json.dumps(line))

    def test_what_a_message_was_made_of_is_left_out(self):
        def log(logger):
            logger.info("A task failed", extra={"data": {"args": ["ada@example.com"]}})

        (line,) = self.written(log)
        self.assertEqual(set(line), {"time", "level", "logger", "event"})
        self.assertEqual((line["level"], line["logger"]), ("info", "mycrm.test"))


class OriginTests(LogTestCase, TestCase):
    @classmethod
    def setUpTestData(cls):
        organization = make_organization()
        role = make_role(organization, "nothing", {})
        cls.user = make_user(organization, "ada", role)

    def answer(self, view, **headers):
        request = RequestFactory().get("/api/contacts/?search=Ada", **headers)
        stack = RequestIdMiddleware(ActorMiddleware(view))
        return stack(request)

    def test_a_line_names_request_user_and_organization(self):
        def log(logger):
            def view(request):
                request.user = self.user
                logger.info("Hello")
                return mock.MagicMock()

            self.answer(view, HTTP_X_REQUEST_ID="one")
            logger.info("Afterwards")

        during, after = self.written(log)
        self.assertEqual(
            {name: during[name] for name in ("request_id", "method", "path")},
            {"request_id": "one", "method": "GET", "path": "/api/contacts/"},
        )
        self.assertEqual(during["user"], str(self.user.pk))
        self.assertEqual(during["organization"], str(self.user.organization_id))
        self.assertNotIn("request_id", after)

    def test_nobody_is_looked_up_for_the_log(self):
        def view(request):
            self.assertEqual(origin.actor(request), ("", ""))
            return mock.MagicMock()

        with self.assertNumQueries(0):
            self.answer(view)

    def test_a_task_is_named(self):
        task = mock.MagicMock()
        task.name, task.request.id = "core.tasks.run_job", "id of the task"
        with (
            mock.patch("core.logs.current_task", task),
            logs.job("01a225d2-c952-7706-9f59-40e6231e2d2d"),
        ):
            (line,) = self.written(lambda logger: logger.info("Hello"))
        self.assertEqual(line["task"], "core.tasks.run_job")
        self.assertEqual(line["task_id"], "id of the task")
        self.assertEqual(line["job_id"], "01a225d2-c952-7706-9f59-40e6231e2d2d")


class AddressTests(SimpleTestCase):
    def test_counts_only_our_own_proxies(self):
        for proxies, header, address in [
            (0, "6.6.6.6", "127.0.0.1"),
            (1, "6.6.6.6, 10.0.0.1", "10.0.0.1"),
            (2, "6.6.6.6, 10.0.0.1, 10.0.0.2", "10.0.0.1"),
            (1, "", "127.0.0.1"),
            (2, "10.0.0.1", "127.0.0.1"),
        ]:
            request = RequestFactory().get("/", HTTP_X_FORWARDED_FOR=header)
            with self.subTest(proxies=proxies), self.settings(NUM_PROXIES=proxies):
                self.assertEqual(origin.client_address(request), address)
