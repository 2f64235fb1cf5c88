"""The report of a load test: in the terminal, as JSON, and as a page."""

import json
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from measuring.statistics import Series, Summary, bars, histogram, shown, table

COLUMNS = {
    "requests": "requests",
    "failed": "failed",
    "per_second": "1/s",
    "average": "avg",
    "minimum": "min",
    "maximum": "max",
    "p50": "p50",
    "p95": "p95",
    "p99": "p99",
}
PAGE = """<!doctype html>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd; }}
th:first-child, td:first-child {{ text-align: left; }}
.bar {{ background: #4a7; height: 1rem; }}
.failed {{ color: #b00; }}
</style>
<h1>{title}</h1>
<p>{lead}</p>
<p class="failed">{broken}</p>
<table><tr>{head}</tr>{rows}</table>
<h2>How long answers took</h2>
<table>{bars}</table>
<h2>Failures</h2>
<table>{failures}</table>
"""


class Report:
    """What a run was, and what came of it.

    Args:
        title: what was run.
        seconds: how long.
        broken: thresholds that were not reached, in words.
    """

    def __init__(
        self,
        title: str,
        series: dict[str, Series],
        seconds: float,
        broken: list[str],
        **settings,
    ):
        self.title = title
        self.seconds = seconds
        self.broken = broken
        self.settings = settings
        self.of_all = Series().join(series.values())
        self.summaries = {
            name: Summary.of(one, seconds) for name, one in sorted(series.items())
        }
        self.summary = Summary.of(self.of_all, seconds)
        self.failures = {
            (name, failure): count
            for name, one in sorted(series.items())
            for failure, count in one.failures.most_common()
        }

    def lead(self) -> str:
        one = self.summary
        return (
            f"{one.requests:,} requests in {self.seconds:.0f} s:"
            f" {one.per_second:,.0f} a second, {100 * one.success:.3f} % as expected,"
            f" average {shown(one.average)} ms, p95 {shown(one.p95)} ms."
        )

    def rows(self) -> list[list]:
        named = {**self.summaries, "all": self.summary}
        return [
            [name, *(getattr(one, column) for column in COLUMNS)]
            for name, one in named.items()
        ]

    def text(self) -> str:
        lines = [self.title, "", *table(self.rows(), ["", *COLUMNS.values()])]
        lines += ["", *bars(histogram(self.of_all.times)), "", self.lead()]
        lines += [f"{n} x {name}: {f}" for (name, f), n in self.failures.items()]
        lines += [f"Not reached: {words}" for words in self.broken]
        return "\n".join(lines)

    def write(self, stem: Path) -> list[Path]:
        """Write `<stem>.json` and `<stem>.html`; where they are."""
        stem.parent.mkdir(parents=True, exist_ok=True)
        paths = [stem.with_suffix(".json"), stem.with_suffix(".html")]
        paths[0].write_text(json.dumps(self.as_json(), indent=2) + "\n")
        paths[1].write_text(self.page())
        return paths

    def as_json(self) -> dict:
        return {
            "title": self.title,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": self.settings,
            "seconds": round(self.seconds, 2),
            "all": self.summary.as_json(),
            "requests": {n: one.as_json() for n, one in self.summaries.items()},
            "histogram": histogram(self.of_all.times),
            "failures": [
                {"request": name, "failure": failure, "count": count}
                for (name, failure), count in self.failures.items()
            ],
            "not_reached": self.broken,
        }

    def page(self) -> str:
        buckets = histogram(self.of_all.times)
        most = max((count for _, count in buckets), default=1)
        widths = [
            (f"{bound:g} ms", f'<div class="bar" style="width:{60 * n / most}rem">', n)
            for bound, n in buckets
        ]
        return PAGE.format(
            title=escape(self.title),
            lead=escape(self.lead()),
            broken=escape("; ".join(self.broken)),
            head="".join(f"<th>{name}</th>" for name in ("", *COLUMNS.values())),
            rows="".join(
                f"<tr>{''.join(f'<td>{escape(shown(c))}</td>' for c in row)}</tr>"
                for row in self.rows()
            ),
            bars="".join(
                f"<tr><td>{bound}</td><td>{bar}</div></td><td>{count}</td></tr>"
                for bound, bar, count in widths
            ),
            failures="".join(
                f"<tr><td>{escape(name)}</td><td>{escape(failure)}</td>"
                f"<td>{count}</td></tr>"
                for (name, failure), count in self.failures.items()
            )
            or "<tr><td>None.</td></tr>",
        )
