from django.test import SimpleTestCase

from measuring.scenarios import SCENARIOS, Scenario
from measuring.statistics import Thresholds


class ScenarioTests(SimpleTestCase):
    def test_people_come_and_go_along_lines_between_the_points(self):
        scenario = Scenario(((0, 50), (30, 50), (40, 150), (60, 0)), Thresholds())
        people = [scenario.people_at(second) for second in (0, 29, 35, 40, 50, 60, 99)]
        self.assertEqual(people, [50, 50, 100, 150, 75, 0, 0])
        self.assertEqual(scenario.seconds, 60)

    def test_a_spike_ends_with_as_many_as_before(self):
        spike = SCENARIOS["spike"]
        self.assertEqual(spike.people_at(0), spike.people_at(spike.seconds))
        self.assertEqual(max(spike.people_at(s) for s in range(100)), 500)

    def test_each_asks_for_nearly_no_failures(self):
        for name, scenario in SCENARIOS.items():
            self.assertGreaterEqual(scenario.thresholds.success, 0.9999, name)
