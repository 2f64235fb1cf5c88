from pathlib import Path
from tempfile import TemporaryDirectory

from django.test import SimpleTestCase

from measuring import baseline
from measuring.baseline import NOISE, Measure


class BaselineTests(SimpleTestCase):
    def test_what_became_much_worse_is_named(self):
        slower = Measure("part", "time", 9, "ms", ratio=2 * NOISE)
        fewer = Measure("part", "rate", 9, "1/s", ratio=1, is_better_higher=True)
        stored = {"part: time": 1, "part: rate": 2 * NOISE}
        for measure in (slower, fewer):
            [words] = measure.complaints(stored)
            self.assertIn("3.00 times worse", words)

    def test_what_became_better_or_a_little_worse_is_not(self):
        stored = {"part: time": 1.0}
        for ratio in (0.1, 1, NOISE):
            measure = Measure("part", "time", 9, ratio=ratio)
            self.assertEqual(measure.complaints(stored), [])

    def test_what_is_not_in_the_baseline_is_not_compared(self):
        measure = Measure("part", "new", 9, ratio=5)
        self.assertIsNone(measure.change({}))
        self.assertEqual(measure.complaints({}), [])

    def test_a_limit_holds_without_a_baseline(self):
        self.assertEqual(Measure("part", "stale", 0, limit=0).complaints({}), [])
        [words] = Measure("part", "stale", 1, limit=0).complaints({})
        self.assertIn("above 0", words)
        self.assertTrue(Measure("part", "x", float("nan"), limit=1).complaints({}))

    def test_ratios_are_kept(self):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "baseline.json"
            self.assertEqual(baseline.read(path), {})
            measures = [Measure("p", "a", 1, ratio=2), Measure("p", "b", 1)]
            baseline.write(path, measures)
            self.assertEqual(baseline.read(path), {"p: a": 2})

    def test_the_reference_is_a_time(self):
        self.assertGreater(baseline.reference_seconds(rounds=1), 0)
