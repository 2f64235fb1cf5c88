#!/usr/bin/env python
"""Loads a running MyCRM with people at work, and says how it bore it.

    ../.venv/bin/python load_test.py light --email admin@example.com

The password of everybody is taken from LOAD_PASSWORD. People are those of
`manage.py seed --users 50`. The exit status is 1 if a threshold was not reached.
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import gc  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections import defaultdict  # noqa: E402
from pathlib import Path  # noqa: E402
from urllib.parse import urlsplit  # noqa: E402

import gevent  # noqa: E402
from gevent.event import Event  # noqa: E402
from geventhttpclient import HTTPClient  # noqa: E402

from measuring.people import Answer, Refused, Request, Staff  # noqa: E402
from measuring.report import Report  # noqa: E402
from measuring.scenarios import SCENARIOS, Scenario  # noqa: E402
from measuring.statistics import Series, Summary, Thresholds  # noqa: E402


class LoadTest:
    """People who work, each in a green thread with a connection of their own."""

    def __init__(
        self, url: str, email: str, password: str, thinks: bool, warm_up: float
    ):
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port
        self.ssl = parts.scheme == "https"
        self.thinks = thinks
        self.warm_up = warm_up
        self.series: dict[str, Series] = defaultdict(Series)
        self.is_measuring = False
        self.all_are_here = Event()
        self.staff = Staff(self.sender(), gevent.sleep, email, password)
        self.workers: list[tuple[gevent.Greenlet, object]] = []

    def sender(self):
        client = HTTPClient(
            self.host,
            self.port,
            ssl=self.ssl,
            connection_timeout=30,
            network_timeout=60,
        )

        def send(request: Request) -> Answer:
            start = time.perf_counter()
            answer, failure = None, ""
            try:
                response = client.request(
                    request.method, request.path, request.body or b"", request.headers
                )
                body = bytes(response.read())
                etag = response.get("etag", "")
                answer = Answer(response.status_code, etag, body)
                if answer.status not in request.expected:
                    failure = f"{answer.status} {body[:120].decode(errors='replace')}"
            except (OSError, ValueError, EOFError) as error:
                failure = repr(error)
                client.close()
            if self.is_measuring:
                self.series[request.name].add(
                    1000 * (time.perf_counter() - start),
                    answer.status if answer else 0,
                    failure,
                )
            if answer is None:
                raise Refused(failure)
            return answer

        return send

    def staff_up(self, people: int) -> None:
        """Let so many be at work: others come, or the last ones go home."""
        while len(self.workers) > people:
            self.workers.pop()[0].kill(block=False)
        while len(self.workers) < people:
            person = self.staff.hire(self.sender(), gevent.sleep, self.thinks)
            self.workers.append((gevent.spawn(self.keep_at_work, person), person))

    def keep_at_work(self, person) -> None:
        """Nobody begins before all have signed in, which keeps the servers busy."""
        while not person.tokens:
            try:
                person.sign_in()
            except Refused:
                gevent.sleep(1)
        self.all_are_here.wait()
        # Not all at once, as nobody does.
        person.think()
        while True:
            person.work()

    def run(self, scenario: Scenario) -> float:
        """Run it; how many seconds were measured."""
        self.staff_up(scenario.people_at(0))
        while not all(person.tokens for _, person in self.workers):
            gevent.sleep(0.2)
        self.all_are_here.set()
        gevent.sleep(self.warm_up)
        # To go through all that a thousand people know takes long enough to be
        # measured, and there is next to nothing to be found.
        gc.disable()
        self.is_measuring = True
        start = time.monotonic()
        while (second := time.monotonic() - start) < scenario.seconds:
            self.staff_up(scenario.people_at(second))
            self.show(second)
            gevent.sleep(min(1, scenario.seconds - second))
        self.is_measuring = False
        seconds = time.monotonic() - start
        gevent.killall([worker for worker, _ in self.workers])
        return seconds

    def show(self, second: float) -> None:
        if sys.stderr.isatty():
            count = sum(one.statuses.total() for one in self.series.values())
            people = len(self.workers)
            sys.stderr.write(f"\r{second:5.0f} s {people:5} people {count:8} requests")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", choices=SCENARIOS, nargs="?", default="light")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--email", default=os.environ.get("LOAD_EMAIL"))
    parser.add_argument("--people", type=int, help="instead of the scenario's")
    parser.add_argument("--seconds", type=float, help="instead of the scenario's")
    parser.add_argument(
        "--no-think", action="store_true", help="one request after the other"
    )
    parser.add_argument(
        "--warm-up",
        type=float,
        default=0,
        help="seconds at work that are not measured, before those that are",
    )
    parser.add_argument("--success", type=float, help="least share, such as 0.9999")
    parser.add_argument("--p95", type=float, help="most milliseconds")
    parser.add_argument("--p99", type=float, help="most milliseconds")
    parser.add_argument("--per-second", type=float, help="least requests a second")
    parser.add_argument(
        "--report", type=Path, help="write this with .json and .html behind it"
    )
    options = parser.parse_args()
    password = os.environ.get("LOAD_PASSWORD")
    if not (options.email and password):
        parser.error("Give --email of an administrator, and LOAD_PASSWORD.")

    scenario = SCENARIOS[options.scenario]
    if options.people or options.seconds:
        people = options.people or scenario.people_at(0)
        seconds = options.seconds or scenario.seconds
        points = ((0, people), (seconds, people))
        scenario = Scenario(points, scenario.thresholds)
    asked = {n: getattr(options, n) for n in ("success", "p95", "p99", "per_second")}
    given = {name: value for name, value in asked.items() if value is not None}
    thresholds = Thresholds(**{**vars(scenario.thresholds), **given})

    test = LoadTest(
        options.url, options.email, password, not options.no_think, options.warm_up
    )
    seconds = test.run(scenario)
    summary = Summary.of(Series().join(test.series.values()), seconds)
    report = Report(
        f"MyCRM under load: {options.scenario}",
        test.series,
        seconds,
        thresholds.broken_by(summary),
        scenario=options.scenario,
        points=scenario.points,
        thinks=not options.no_think,
        thresholds=vars(thresholds),
    )
    print(report.text())  # noqa: T201
    if options.report:
        for path in report.write(options.report):
            print(path)  # noqa: T201
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
