#!/usr/bin/env python
"""How fast MyCRM is, and whether it became slower: `./run_tests.sh performance`.

It fills an empty database, looks at what the database does for everything that a list
can be asked, and measures real processes. Times are divided by that of a fixed piece of
work on the same machine, and compared with the stored baseline. The exit status is 1 if
something became much worse, or breaks what always holds: no answer is stale, no request
fails, and memory does not grow.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings")
    import django

    django.setup()

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import override_settings

from contact_management.models import Contact
from core.models import Organization
from measuring import baseline, plans
from measuring.api import Api, sign_in
from measuring.baseline import Measure, reference_seconds
from measuring.freshness import watch
from measuring.servers import Server, gunicorn, peak_memory, running
from measuring.statistics import table
from measuring.work import load, write_people

BASELINE = Path(__file__).with_name("performance_baseline.json")
NAME, EMAIL, PASSWORD = "Measured", "admin@example.com", "correct-horse-battery"
REPORTS = "/api/reports/"
OWN = "?owner=me"
PARTS = ("queries", "endpoints", "load", "memory", "cache")
# Of what reads a big table as a whole, the slowest ones; --json has all.
SHOWN = 10
# Queries of a list: its rows, its count, and what is looked up for all rows together.
MAX_QUERIES = 12
# Memory that a process may take more after many requests, and a job for many rows.
GROWTH = 1.1
# It lives for a quarter of an hour.
REQUESTS_OF_A_TOKEN = 10_000


class Suite:
    """Measures one part after the other.

    Args:
        options: as the command line has them.
    """

    def __init__(self, options):
        self.options = options
        self.measures: list[Measure] = []
        self.failures: list[str] = []
        self.known: list[str] = []
        # What reads big tables as a whole, the slowest first.
        self.scans: list[dict] = []

    def note(self, part: str, name: str, value: float, unit="", **more) -> None:
        self.measures.append(Measure(part, name, value, unit, **more))

    def fill(self) -> None:
        """An organization with people and records, unless one is there."""
        call_command("migrate", verbosity=0)
        if not Organization.objects.filter(name=NAME).exists():
            os.environ["ADMIN_PASSWORD"] = PASSWORD
            call_command("create_organization", NAME, admin=EMAIL)
            options = self.options
            call_command(
                "seed",
                organization=NAME,
                password=PASSWORD,
                users=50,
                contacts=options.contacts,
                leads=options.contacts // 5,
                deals=options.contacts // 10,
            )
        self.user = get_user_model().objects.get_by_natural_key(EMAIL)

    # Queries

    def queries(self) -> None:
        """Each list, filter, ordering, search and report, within this process."""
        database = plans.Database(self.user)
        looks = []
        with override_settings(REDIS_URL="", ALLOWED_HOSTS=["testserver"]):
            for path, view in plans.lists():
                for question in plans.questions(path, view, self.user):
                    looks.append(database.look(question))
            for name in json.loads(database.client.get(REPORTS).content)["results"]:
                looks.append(database.look(f"{REPORTS}{name['name']}/"))
            looks.append(database.look("/api/dashboard/"))
            looks.append(database.look("/api/search/?q=miller"))
            looks.append(database.look("/api/search/?q=smiht"))
        for look in looks:
            if look.status != 200:
                self.failures.append(f"{look.path} gave {look.status}")
            if look.queries > MAX_QUERIES and "report" not in look.path:
                self.known.append(f"{look.path} takes {look.queries} queries")
        scans = [look for look in looks if look.scanned]
        scans.sort(key=lambda look: -look.milliseconds)
        self.scans = [vars(look) for look in scans]
        for table_name, count in Counter(
            name for look in scans for name in set(look.scanned)
        ).most_common():
            self.known.append(f"All of {table_name} is read by {count} questions")
        for look in scans[:SHOWN]:
            self.known.append(f"  {look.milliseconds:.0f} ms: {look.path}")
        self.note("queries", "questions asked", len(looks))
        part = "queries"
        self.note(part, "that read a big table", len(scans), ratio=1 + len(scans))
        most = max(look.queries for look in looks)
        self.note(part, "most queries of one", most, ratio=most)
        times = sorted(look.milliseconds for look in looks)
        median = statistics.median(times)
        self.note(
            part, "median in the database", median, "ms", ratio=self.ratio(median)
        )

    def ratio(self, milliseconds: float) -> float:
        return milliseconds / 1000 / self.reference

    # Endpoints

    def endpoints(self) -> None:
        """Each list and a record of it: computed, from the cache, and not modified."""
        with gunicorn() as server:
            api = Api(server.url, sign_in(server.url, EMAIL, PASSWORD))
            for path, view in plans.lists():
                self.endpoint(api, path, view)
            for path in ("/api/dashboard/", "/api/search/?q=smiht"):
                self.time(api, f"{path} again", [path] * self.options.rounds)

    def endpoint(self, api: Api, path: str, view: type) -> None:
        rounds = self.options.rounds
        if "created_at__lt" in view.filterset_class.base_filters:
            moments = (f"2999-01-01T00:00:{n:02}Z" for n in range(rounds))
            new = [f"{path}?created_at__lt={moment}" for moment in moments]
            self.time(api, f"{path} new", new)
        self.time(api, f"{path} again", [path] * rounds)
        _, headers, body = api.ask("GET", path)
        self.time(
            api,
            f"{path} 304",
            [path] * rounds,
            304,
            **{"If-None-Match": headers["ETag"]},
        )
        rows = json.loads(body)["results"]
        if rows and issubclass(view, plans.JournaledViewSet):
            ids = [row["id"] for row in rows]
            self.time(api, f"{path}ID/ new", [f"{path}{pk}/" for pk in ids])
            self.time(api, f"{path}ID/ again", [f"{path}{ids[0]}/"] * rounds)

    def time(self, api, name, paths, expected=200, **headers) -> None:
        times = []
        for path in paths:
            start = time.perf_counter()
            status, _, _ = api.ask("GET", path, **headers)
            times.append(1000 * (time.perf_counter() - start))
            if status != expected:
                self.failures.append(f"{path} gave {status}, not {expected}")
        median = statistics.median(times)
        self.note("endpoints", name, median, "ms", ratio=self.ratio(median))

    # Concurrent load

    def load(self) -> None:
        """People at work who do not think, from a process of their own."""
        people, seconds = self.options.people, self.options.seconds
        with (
            gunicorn() as server,
            running("celery", "--app", "backend", "worker", "--pool", "threads"),
        ):
            report = load(
                *(server.url, EMAIL, PASSWORD, "light", "--no-think"),
                *(f"--people={people}", f"--seconds={seconds}", "--p95=10000"),
            )
        found = report["all"]
        for one in report["failures"]:
            self.failures.append(f"{one['count']} x {one['request']}: {one['failure']}")
        each = found["per_second"] * self.reference
        self.note(
            "load",
            "requests",
            found["per_second"],
            "1/s",
            ratio=each,
            is_better_higher=True,
        )
        for name in ("p50", "p95", "p99"):
            self.note("load", name, found[name], "ms", ratio=self.ratio(found[name]))

    # Memory

    def memory(self) -> None:
        self.memory_of_requests()
        self.memory_of_exports()
        self.memory_of_imports()

    def memory_of_requests(self) -> None:
        """A process takes no more memory after many requests than after some."""
        with gunicorn() as server:
            # As many caches of their own as they will have.
            self.ask_many(server, self.options.requests // 10)
            before = max(server.worker_memory())
            self.ask_many(server, self.options.requests)
            after = max(server.worker_memory())
        self.note("memory", "web process", after, "MB", ratio=after, limit=150)
        name = f"web process after {self.options.requests} requests"
        self.note("memory", name, after / before, "x", limit=GROWTH)

    def ask_many(self, server: Server, count: int) -> None:
        paths = [path for path, view in plans.lists() if view.model is not None]
        for number in range(count):
            if number % REQUESTS_OF_A_TOKEN == 0:
                api = Api(server.url, sign_in(server.url, EMAIL, PASSWORD))
            # A few of them were never asked before.
            query = f"?page_size={number // 100 % 100 + 1}" if number % 20 == 0 else ""
            status, _, _ = api.ask("GET", paths[number % len(paths)] + query)
            if status != 200:
                self.failures.append(f"{paths[number % len(paths)]} gave {status}")

    def memory_of_exports(self) -> None:
        every = Contact.objects.visible_to(self.user).count()
        some, _ = peak_memory("-m", "measuring.work", "export", f"{every // 10}", EMAIL)
        most, took = peak_memory("-m", "measuring.work", "export", f"{every}", EMAIL)
        self.note("memory", f"export of {every} rows", most, "MB", ratio=most)
        name = f"export of {every} rows, of a tenth"
        self.note("memory", name, most / some, "x", limit=GROWTH)
        self.rate("export", every / took)

    def memory_of_imports(self) -> None:
        rows = self.options.imported
        with TemporaryDirectory() as folder:
            some, _ = self.imported(Path(folder) / "some.csv", rows // 10)
            most, took = self.imported(Path(folder) / "most.csv", rows)
        self.note("memory", f"import of {rows} rows", most, "MB", ratio=most)
        name = f"import of {rows} rows, of a tenth"
        self.note("memory", name, most / some, "x", limit=GROWTH)
        self.rate("import", rows / took)

    def rate(self, name: str, rows: float) -> None:
        ratio = rows * self.reference
        more = {"ratio": ratio, "is_better_higher": True}
        self.note("memory", f"{name}, with its start", rows, "rows/s", **more)

    def imported(self, path: Path, rows: int) -> tuple[float, float]:
        write_people(path, rows)
        return peak_memory(
            *("manage.py", "import_records", "contact", str(path), "--user", EMAIL)
        )

    # The cache

    def cache(self) -> None:
        """Nothing stale is shown, and most is not computed."""
        email = f"watched.{time.time_ns()}@example.com"
        queries = ("", f"?email={email}", "?status=active", OWN)
        lists = [f"/api/contacts/{query}" for query in queries]
        with gunicorn() as server:
            token = sign_in(server.url, EMAIL, PASSWORD)
            api = Api(server.url, token)
            other, contact, _ = (
                json.loads(api.ask("POST", lists[0], more)[2])["id"]
                for more in ({"last_name": "O"}, {"email": email}, {"last_name": "N"})
            )
            # Behind the newest of the three.
            page = json.loads(api.ask("GET", f"{lists[0]}?page_size=1&cursor=")[2])
            query = urlsplit(page["next"]).query
            lists += [f"{lists[0]}?{query}", "/api/search/?q=version&types=contact"]
            found = watch(
                *(server.url, token, contact, other, lists),
                seconds=self.options.seconds,
                readers=16,
            )
        self.note("cache", "stale answers", found.stale, limit=0)
        self.note("cache", "reads beside a writer", found.reads / found.seconds, "1/s")
        self.note("cache", "writes", found.writes / found.seconds, "1/s")
        if not (found.reads and found.writes) or found.failed:
            self.failures.append(f"The cache was not tried: {found}")

    # All of it

    def run(self) -> int:
        self.fill()
        for part in self.options.only or PARTS:
            print(f"-- {part}", file=sys.stderr)  # noqa: T201
            # Anew: a machine that others use too changes its speed within minutes.
            self.reference = reference_seconds()
            getattr(self, part)()
        return self.report()

    def report(self) -> int:
        stored = baseline.read(BASELINE)
        rows = [
            (m.key, m.value, m.unit, m.ratio, m.change(stored)) for m in self.measures
        ]
        head = ("", "value", "unit", "ratio", "x baseline")
        broken = [c for m in self.measures for c in m.complaints(stored)]
        broken += self.failures
        lines = [*self.known, "", *table(rows, head), "", *broken]
        print("\n".join(lines))  # noqa: T201
        if self.options.json:
            self.options.json.write_text(
                json.dumps(
                    {
                        "contacts": self.options.contacts,
                        "reference_seconds": self.reference,
                        "measures": [vars(m) for m in self.measures],
                        "found": self.known,
                        "scans": self.scans,
                        "broken": broken,
                    },
                    indent=2,
                )
            )
        if self.options.write_baseline:
            baseline.write(BASELINE, self.measures)
        return 1 if broken else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contacts", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=20, help="of each endpoint")
    parser.add_argument("--people", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--requests", type=int, default=100_000, help="for memory")
    parser.add_argument("--imported", type=int, default=30_000, help="rows")
    parser.add_argument("--json", type=Path, help="write the numbers there")
    parser.add_argument("--write-baseline", action="store_true")
    options = parser.parse_args()
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        parser.error("Plans and processes are measured on PostgreSQL: DATABASE_URL.")
    return Suite(options).run()


if __name__ == "__main__":
    sys.exit(main())
