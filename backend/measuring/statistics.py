"""Numbers about many requests."""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

BAR = 40


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least value that at least this share of all values do not exceed.

    Args:
        ordered: the values, in ascending order.
        share: 0.95 for the 95th percentile.
    """
    if not ordered:
        return math.nan
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


@dataclass
class Series:
    """The requests of one kind.

    Attributes:
        times: of all that were answered as expected, in milliseconds.
        failures: how many were answered otherwise, by what came.
    """

    times: array = field(default_factory=lambda: array("d"))
    statuses: Counter = field(default_factory=Counter)
    failures: Counter = field(default_factory=Counter)

    def add(self, milliseconds: float, status: int, failure: str = "") -> None:
        self.statuses[status] += 1
        if failure:
            self.failures[failure] += 1
        else:
            self.times.append(milliseconds)

    def join(self, others: "Iterable[Series]") -> "Series":
        for other in others:
            self.times.extend(other.times)
            self.statuses.update(other.statuses)
            self.failures.update(other.failures)
        return self


@dataclass(frozen=True)
class Summary:
    """What a series comes to; times in milliseconds, shares from 0 to 1."""

    requests: int
    failed: int
    success: float
    per_second: float
    average: float
    minimum: float
    maximum: float
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, series: Series, seconds: float) -> "Summary":
        """Args: seconds: how long the requests were sent."""
        times = sorted(series.times)
        failed = series.failures.total()
        count = len(times) + failed
        return cls(
            requests=count,
            failed=failed,
            success=len(times) / count if count else math.nan,
            per_second=count / seconds,
            average=sum(times) / len(times) if times else math.nan,
            minimum=times[0] if times else math.nan,
            maximum=times[-1] if times else math.nan,
            p50=percentile(times, 0.5),
            p95=percentile(times, 0.95),
            p99=percentile(times, 0.99),
        )

    def as_json(self) -> dict:
        """Its numbers; null where there is none."""
        return {
            name: None if math.isnan(value) else round(value, 4)
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class Thresholds:
    """What a run has to reach; None: nothing is asked.

    Attributes:
        success: the least share of requests that are answered as expected.
        p95, p99: the most milliseconds.
        per_second: the least requests a second.
    """

    success: float | None = 0.9999
    p95: float | None = None
    p99: float | None = None
    per_second: float | None = None

    def broken_by(self, summary: Summary) -> list[str]:
        """What was not reached, in words; nothing if all was."""
        if not summary.requests:
            return ["Nothing was asked."]
        at_least = (("success", self.success), ("per_second", self.per_second))
        at_most = (("p95", self.p95), ("p99", self.p99))
        # A number that is not there was not reached.
        return [
            f"{name} is {getattr(summary, name):.4g}, below {limit:g}"
            for name, limit in at_least
            if limit is not None and not getattr(summary, name) >= limit
        ] + [
            f"{name} is {getattr(summary, name):.4g} ms, above {limit:g} ms"
            for name, limit in at_most
            if limit is not None and not getattr(summary, name) <= limit
        ]


def histogram(times: Iterable[float]) -> list[tuple[float, int]]:
    """How many took how long: (upper bound in milliseconds, count), doubling."""
    counts = Counter(max(math.ceil(math.log2(t)), 0) if t > 0 else 0 for t in times)
    if not counts:
        return []
    return [
        (2.0**power, counts[power]) for power in range(min(counts), max(counts) + 1)
    ]


def bars(buckets: Sequence[tuple[float, int]]) -> list[str]:
    """A histogram in lines for the terminal."""
    most = max((count for _, count in buckets), default=0)
    return [
        f"{bound:8g} ms |{'#' * math.ceil(BAR * count / most):<{BAR}}| {count}"
        for bound, count in buckets
    ]


def table(rows: Sequence[Sequence], head: Sequence[str]) -> list[str]:
    """Rows in columns: the first to the left, numbers to the right."""
    cells = [[shown(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def shown(cell) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:,.4g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
