"""The runner of the tests."""

from unittest import mock

from django.test import TransactionTestCase
from django.test.runner import DiscoverRunner

from core.append_only import erasing


class Runner(DiscoverRunner):
    """Lets the tear-down of a TransactionTestCase empty the journal."""

    def run_suite(self, suite, **kwargs):
        tear_down = TransactionTestCase._fixture_teardown

        def erasing_tear_down(test):
            with erasing():
                tear_down(test)

        with mock.patch.object(
            TransactionTestCase, "_fixture_teardown", erasing_tear_down
        ):
            return super().run_suite(suite, **kwargs)
