import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory

from django.test import SimpleTestCase

from measuring.report import Report
from measuring.statistics import (
    Series,
    Summary,
    Thresholds,
    bars,
    histogram,
    percentile,
    table,
)


def series(times, failures=0) -> Series:
    found = Series()
    for time in times:
        found.add(time, 200)
    for _ in range(failures):
        found.add(1.0, 500, "500 Oh")
    return found


class PercentileTests(SimpleTestCase):
    def test_it_is_the_least_value_that_covers_the_share(self):
        hundred = list(range(1, 101))
        self.assertEqual(
            [percentile(hundred, share) for share in (0, 0.5, 0.95, 0.99, 1)],
            [1, 50, 95, 99, 100],
        )

    def test_of_few_values_it_is_one_of_them(self):
        self.assertEqual([percentile([3, 8], s) for s in (0.5, 0.51)], [3, 8])
        self.assertEqual(percentile([7], 0.99), 7)

    def test_of_none_there_is_none(self):
        self.assertTrue(math.isnan(percentile([], 0.5)))


class SummaryTests(SimpleTestCase):
    def test_failures_count_as_requests_but_not_as_times(self):
        summary = Summary.of(series([10, 20, 30], failures=1), seconds=2)
        self.assertEqual(
            (summary.requests, summary.failed, summary.success), (4, 1, 0.75)
        )
        self.assertEqual(summary.per_second, 2)
        self.assertEqual(
            (summary.average, summary.minimum, summary.maximum), (20, 10, 30)
        )
        self.assertEqual((summary.p50, summary.p95), (20, 30))

    def test_nothing_is_null_in_json(self):
        self.assertIsNone(Summary.of(Series(), 1).as_json()["p95"])
        json.dumps(Summary.of(Series(), 1).as_json(), allow_nan=False)

    def test_series_are_joined(self):
        joined = Series().join([series([1, 2]), series([3], failures=2)])
        self.assertEqual(sorted(joined.times), [1, 2, 3])
        self.assertEqual(joined.statuses, {200: 3, 500: 2})
        self.assertEqual(joined.failures, {"500 Oh": 2})


class ThresholdTests(SimpleTestCase):
    summary = Summary.of(series([10] * 99, failures=1), seconds=10)

    def test_what_is_reached_is_not_named(self):
        reached = Thresholds(success=0.99, p95=10, p99=10, per_second=10)
        self.assertEqual(reached.broken_by(self.summary), [])

    def test_each_that_is_not_is(self):
        asked = {"success": 0.999, "p95": 9, "p99": 9, "per_second": 11}
        for name, limit in asked.items():
            nothing = dict.fromkeys(asked)
            [words] = Thresholds(**{**nothing, name: limit}).broken_by(self.summary)
            self.assertTrue(words.startswith(name), words)

    def test_a_run_without_requests_reached_nothing(self):
        nothing = Thresholds(success=None)
        self.assertTrue(nothing.broken_by(Summary.of(Series(), 1)))

    def test_where_all_failed_no_time_was_reached(self):
        failed = Summary.of(series([], failures=3), 1)
        self.assertEqual(len(Thresholds(p95=1e9).broken_by(failed)), 2)


class HistogramTests(SimpleTestCase):
    def test_bounds_double_and_hold_their_own_value(self):
        self.assertEqual(
            histogram([0.5, 1, 1.5, 2, 2.5, 9]),
            [(1, 2), (2, 2), (4, 1), (8, 0), (16, 1)],
        )

    def test_the_most_frequent_has_the_longest_bar(self):
        lines = bars([(1, 10), (2, 5), (4, 0)])
        self.assertEqual([line.count("#") for line in lines], [40, 20, 0])

    def test_of_nothing_there_is_none(self):
        self.assertEqual((histogram([]), bars([])), ([], []))


class TableTests(SimpleTestCase):
    def test_numbers_stand_to_the_right(self):
        self.assertEqual(
            table([["list", 12345, 0.5], ["x", 1, math.nan]], ["", "n", "t"]),
            [
                "           n    t",
                "-----------------",
                "list  12,345  0.5",
                "x          1    -",
            ],
        )


class ReportTests(SimpleTestCase):
    def test_a_page_and_its_numbers_are_written(self):
        report = Report(
            "Load <1>", {"list": series([5, 6], failures=1)}, 2, ["p95 is high"]
        )
        with TemporaryDirectory() as folder:
            numbers, page = report.write(Path(folder) / "new" / "load")
            found = json.loads(numbers.read_text())
            text = page.read_text()
        self.assertEqual(found["all"]["requests"], 3)
        self.assertEqual(found["requests"]["list"]["failed"], 1)
        self.assertEqual(found["not_reached"], ["p95 is high"])
        self.assertEqual(
            found["failures"], [{"request": "list", "failure": "500 Oh", "count": 1}]
        )
        self.assertIn("Load &lt;1&gt;", text)
        self.assertIn("500 Oh", text)
        self.assertIn("p95 is high", report.text())
