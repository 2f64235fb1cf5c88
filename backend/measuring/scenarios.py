"""How many people are at work when, in a load test."""

from dataclasses import dataclass

from measuring.statistics import Thresholds


@dataclass(frozen=True)
class Scenario:
    """How many people there are when: (second, people) points, joined by lines.

    People who are there at the start of the clock are waited for.
    """

    points: tuple[tuple[float, int], ...]
    thresholds: Thresholds

    @property
    def seconds(self) -> float:
        return self.points[-1][0]

    def people_at(self, second: float) -> int:
        before = self.points[0]
        for point in self.points:
            if second < point[0]:
                share = (second - before[0]) / (point[0] - before[0])
                return round(before[1] + share * (point[1] - before[1]))
            before = point
        return before[1]


SCENARIOS = {
    "smoke": Scenario(((0, 3), (10, 3)), Thresholds(success=1, p95=1000)),
    "light": Scenario(((0, 50), (60, 50)), Thresholds(p95=200)),
    "medium": Scenario(((0, 250), (120, 250)), Thresholds(p95=200)),
    "heavy": Scenario(((0, 1000), (180, 1000)), Thresholds(p95=200)),
    "spike": Scenario(
        ((0, 50), (30, 50), (35, 500), (65, 500), (70, 50), (100, 50)),
        Thresholds(p95=500),
    ),
    "soak": Scenario(((0, 200), (3600, 200)), Thresholds(p95=200)),
}
