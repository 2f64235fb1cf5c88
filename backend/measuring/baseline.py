"""A stored baseline, in ratios that other machines can be compared by."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# So much worse than the baseline, or so much better, is the machine's mood.
NOISE = 1.5
REFERENCE = {"rows": [{"id": n, "name": f"Name {n}", "tags": ["a"]} for n in range(25)]}


def reference_seconds(rounds: int = 7) -> float:
    """How long this machine takes for a fixed piece of work of Python's.

    Times divided by it say how fast a program is, whatever it runs on. The best of some
    rounds, for what others do on the machine only slows it.
    """
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(100):
            json.loads(json.dumps(REFERENCE))
        best = min(best, time.perf_counter() - start)
    return best / 100


@dataclass(frozen=True)
class Measure:
    """One number, as it came out.

    Attributes:
        ratio: what is compared with the baseline; None: nothing is.
        is_better_higher: of the ratio.
        limit: the most that the value may be; None: anything.
    """

    part: str
    name: str
    value: float
    unit: str = ""
    ratio: float | None = None
    is_better_higher: bool = False
    limit: float | None = None

    @property
    def key(self) -> str:
        return f"{self.part}: {self.name}"

    def change(self, baseline: dict[str, float]) -> float | None:
        """How many times worse than in the baseline; below 1 it is better."""
        before = baseline.get(self.key)
        if before is None or not self.ratio or not before:
            return None
        return before / self.ratio if self.is_better_higher else self.ratio / before

    def complaints(self, baseline: dict[str, float]) -> list[str]:
        found = []
        if self.limit is not None and not self.value <= self.limit:
            found.append(
                f"{self.key} is {self.value:.6g} {self.unit}, above {self.limit:g}"
            )
        change = self.change(baseline)
        if change is not None and change > NOISE:
            found.append(f"{self.key} is {change:.2f} times worse than the baseline")
        return found


def read(path: Path) -> dict[str, float]:
    return json.loads(path.read_text()) if path.exists() else {}


def write(path: Path, measures: Iterable[Measure]) -> None:
    ratios = {m.key: round(m.ratio, 4) for m in measures if m.ratio is not None}
    path.write_text(json.dumps(ratios, indent=2, sort_keys=True) + "\n")
