"""MyCRM beside stock Django REST framework and PostgreSQL: `./run_tests.sh benchmark`.

Starts the production stack, fills it, and measures each thing in turn, all of them once
more for each repetition, on the processors that the load generator runs on too. The
table shows medians. Answers are compared byte for byte with what MyCRM computes without
a cache, and a measurement in which one answer was wrong does not count.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmark import looking
from benchmark.generators import Wrk, pgbench
from benchmark.stack import NAME, add_size, counted, filled, from_root, run_python
from measuring.api import Api, sign_in
from measuring.servers import Server, gunicorn, proportional_memory
from measuring.stack import EMAIL, PASSWORD
from measuring.statistics import table
from measuring.work import load, write_people

LIST = "/api/contacts/?expand=owner"
# A moment after all others, each another one: so no two requests are the same.
NEW_LIST = LIST + "&created_at__lt=2999-01-01T00:00:00.{n}Z"
FIRST_MICROSECOND = 100_000
# At the end what makes records: lists would begin with thousands of one owner.
PARTS = (
    *("lists", "details", "search", "mix", "depth", "people"),
    *("creation", "imports"),
)
# Those that take long are measured once.
ONCE = ("depth", "people", "imports")
WARM_UP_SECONDS = 30
DEEP_PAGE = 10_000
DEEP_PAGES = 300


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        values, stock, limit: of MyCRM, stock DRF and PostgreSQL, by repetition.
        goal: what it has to reach, in words.
    """

    name: str
    unit: str
    values: list[float]
    stock: list[float]
    limit: list[float]
    goal: str = ""
    note: str = ""

    def cells(self) -> list:
        mine = statistics.median(self.values)
        stock = statistics.median(self.stock) if self.stock else None
        limit = statistics.median(self.limit) if self.limit else None
        return [
            self.name,
            mine,
            self.unit,
            stock,
            mine / stock if stock else None,
            limit,
            mine / limit if limit else None,
            self.goal,
            self.note,
        ]


HEAD = ("", "MyCRM", "", "stock", "x stock", "PostgreSQL", "x limit", "goal", "")


class Benchmark:
    def __init__(self, options):
        self.options = options
        self.folder = options.data.resolve()
        self.rows: dict[str, Row] = {}
        self.wrong: list[str] = []
        self.number = FIRST_MICROSECOND
        self.stamp = time.time_ns()

    # Measuring

    def note(self, name, unit, value, stock=(), limit=(), goal="", note="") -> None:
        row = self.rows.setdefault(name, Row(name, unit, [], [], [], goal, note))
        row.values.append(value)
        row.stock.extend(stock)
        row.limit.extend(limit)

    def rate(self, what: str, wrk: Wrk, path: str, **more) -> float:
        """Requests a second; NaN if an answer was wrong."""
        found = wrk.run(path, self.options.seconds, **more)
        # Lines of a file have numbers of their own.
        if "first" in more and "lines" not in more:
            self.number = max(self.number, found["last"])
        if found["wrong"] or found["lost"]:
            self.wrong.append(
                f"{what}: {found['wrong']} wrong, {found['lost']} lost answers"
            )
        self.last = found
        return found["requests"] / found["seconds"]

    def run(self) -> int:
        with ExitStack() as stack:
            self.server = stack.enter_context(filled(self.options))
            self.env = self.server.environment
            self.there = counted(self.server)
            self.stock = None
            if self.options.stock:
                application = "benchmark.stock.wsgi:application"
                server = stack.enter_context(gunicorn(application, **self.env))
                self.stock = self.stock_of(server)
            self.sign_in()
            self.prepare()
            try:
                self.measure()
            finally:
                # Somebody who stops it sees what there is.
                status = self.report()
            return status

    def measure(self) -> None:
        for part in self.options.only or PARTS:
            for repetition in range(1 if part in ONCE else self.options.repetitions):
                print(f"-- {part} {repetition + 1}", file=sys.stderr)  # noqa: T201
                self.sign_in()
                getattr(self, part)()
        self.memory()

    def sign_in(self) -> None:
        """Before each part: a token lives for 15 minutes."""
        token = sign_in(self.server.url, EMAIL, PASSWORD)
        self.api = Api(self.server.url, token)
        self.wrk = Wrk(self.server.url, token, self.options.connections)
        # So few at once that nobody waits for another.
        self.slow = Wrk(self.server.url, token, 2)

    def prepare(self) -> None:
        """What is asked for: ids, each once, and names that are misspelt."""
        ids = looking.walk(self.api, 20_000)
        self.ids = self.folder / "ids"
        self.ids.write_text("\n".join(ids) + "\n")
        self.first_id = ids[0]
        self.used_ids = 0
        self.words = self.folder / "words"
        self.words.write_text("\n".join(looking.misspelt(self.api)) + "\n")
        self.used_words = 0

    def stock_of(self, server: Server) -> Wrk:
        body = {"email": EMAIL, "password": PASSWORD}
        _, _, answer = Api(server.url).ask("POST", "/api/token/", body)
        token = json.loads(answer)["access"]
        return Wrk(server.url, token, self.options.connections)

    def beside(self, name: str, path: str, **more) -> list[float]:
        if not self.stock:
            return []
        return [self.rate(f"{name}, stock", self.stock, path, **more)]

    def checked(self, path: str) -> tuple[str, Path]:
        """ETag and file of an answer that is what MyCRM computes without a cache."""
        _, headers, body = self.api.ask("GET", path)
        _, _, again = self.api.ask("GET", path)
        host = f"127.0.0.1:{self.server.port}"
        computed = json.loads(
            run_python(self.env, "-m", "benchmark.uncached", EMAIL, host, path)
        )
        if not body == again == computed[0].encode():
            self.wrong.append(f"{path} is not what is computed without the cache")
        file = self.folder / "expected"
        file.write_bytes(body)
        return headers["ETag"], file

    def lists(self) -> None:
        etag, file = self.checked(LIST)
        stock = self.beside("list", "/api/contacts/")
        page = [pgbench(self.env["DATABASE_URL"], NAME, "page.sql", self.options)]
        same = self.rate("list", self.wrk, LIST, expected=file)
        self.note("list, unchanged", "1/s", same, stock, page, "25 x, 1,800/s")
        sent = {"If-None-Match": etag}
        # wrk waits for no body where there is none.
        not_modified = self.rate("304", self.wrk, LIST, status=304, headers=sent)
        self.note("list, 304", "1/s", not_modified, stock, page, "40 x, 2,500/s")
        new = self.rate("new list", self.wrk, NEW_LIST, first=self.number)
        self.note("list, never seen", "1/s", new, stock, page, "6 x")

    def details(self) -> None:
        path = f"/api/contacts/{self.first_id}/"
        _, file = self.checked(path)
        lines = {"lines": self.ids, "first": self.used_ids}
        stock = self.beside("detail", "/api/contacts/{line}/", **lines)
        limit = [pgbench(self.env["DATABASE_URL"], NAME, "one.sql", self.options)]
        cached = self.rate("detail", self.wrk, path, expected=file)
        self.note("detail, cached", "1/s", cached, stock, limit, "10 x")
        # Every id once: what was asked before may stand in the cache.
        new = self.rate("new detail", self.wrk, "/api/contacts/{line}/", **lines)
        self.used_ids = int(self.last["last"])
        self.note("detail, never seen", "1/s", new, stock, limit, "4 x")

    def creation(self) -> None:
        body = json.dumps(
            {
                "first_name": "Ada",
                "last_name": "Lovelace",
                "email": f"ada{{n}}@{self.stamp}.example.com",
                "phone": "+1 415 555 2671",
                "city": "London",
                "country": "GB",
            }
        )
        more = {"method": "POST", "status": 201, "body": body, "first": self.number}
        mine = self.rate("create", self.wrk, "/api/contacts/", **more)
        more["first"] = self.number
        stock = self.beside("create", "/api/contacts/", **more)
        self.note("create, with journal", "1/s", mine, stock, goal="0.7 x")

    def search(self) -> None:
        """Names misspelt, each another one."""
        path = "/api/search/?q={line}"
        lines = {"lines": self.words, "first": self.used_words}
        self.rate("search", self.slow, path, **lines)
        self.used_words = int(self.last["last"])
        p95 = self.last["p95"]
        self.note("search, misspelt, p95", "ms", p95, goal="50 ms at 1,000,000")

    def depth(self) -> None:
        """Two at a time, never seen before: what grows with the table shows here."""
        paths = {
            "list": NEW_LIST,
            "filter": NEW_LIST + "&tags=reference",
            "list search": NEW_LIST + "&search=lovelace",
        }
        for name, path in paths.items():
            self.deep(name, path, first=self.number)
        self.deep("cursor, page 10,000", "{line}", lines=self.deep_pages(), first=0)
        lines = {"lines": self.ids, "first": self.used_ids}
        self.deep("detail", "/api/contacts/{line}/", **lines)
        self.used_ids = int(self.last["last"])

    def deep(self, name: str, path: str, **more) -> None:
        self.rate(name, self.slow, path, **more)
        self.note(f"{name}, p95", "ms", self.last["p95"], goal="1.5 x at 100 x")

    def deep_pages(self) -> Path:
        """Some hundred pages from the 10,000th on, each in many sizes: all of them new.

        Of fewer contacts the last pages, which are as far as one can go.
        """
        last = self.there["contacts"] - DEEP_PAGES * looking.PAGE
        after = min(DEEP_PAGE * looking.PAGE, last)
        pages = looking.deep_pages(self.api, LIST, after, DEEP_PAGES)
        sizes = range(16, 36)
        file = self.folder / "pages"
        file.write_text("".join(f"{p}&page_size={n}\n" for n in sizes for p in pages))
        return file

    def load(self, name: str, *arguments: str) -> dict:
        found = load(self.server.url, EMAIL, PASSWORD, *arguments)
        for one in found["failures"]:
            self.wrong.append(
                f"{name}: {one['count']} x {one['request']}: {one['failure']}"
            )
        return found["all"]

    def mix(self) -> None:
        """People who do not think, as many as there are connections."""
        # All of them sign in first, which is not to be most of what is measured.
        seconds = 15 * self.options.seconds
        people = f"--people={self.options.connections}"
        found = self.load("mix", "light", "--no-think", people, f"--seconds={seconds}")
        note = f"{found['failed']} failed, p95 {found['p95']:.0f} ms"
        goal = "2,000/s, none failed"
        self.note("mix, closed loop", "1/s", found["per_second"], goal=goal, note=note)

    def people(self) -> None:
        """People with think times, once: it takes long.

        They have been at work for a while: a thousand who all come within the same
        seconds are no day like others. Hits are of their first steps too.
        """
        before = self.cache_reads()
        seconds = self.options.people_seconds
        people = (f"--people={self.options.people}", f"--warm-up={WARM_UP_SECONDS}")
        found = self.load("people", "heavy", *people, f"--seconds={seconds}")
        hits = looking.hit_rate(before, self.cache_reads())
        note = f"{found['failed']} failed, {found['per_second']:.0f}/s, hits {hits}"
        name = f"{self.options.people} people, p95"
        goal = "50 ms, none failed, 70-90 %"
        self.note(name, "ms", found["p95"], goal=goal, note=note)

    def cache_reads(self) -> Counter:
        """Of all web servers."""
        return sum(map(looking.cache_reads, self.server.instances), Counter())

    def imports(self) -> None:
        rows = self.options.imported
        file = self.folder / "import.csv"
        write_people(file, rows)
        seconds = looking.import_file(self.server.url, self.api, file)
        self.note("import", "rows/s", rows / seconds, goal="3,000 rows/s")

    def memory(self) -> None:
        most = max(proportional_memory(p.pid) for p in self.server.web_workers())
        self.note("memory of a web process", "MB", most, goal="150 MB")

    def report(self) -> int:
        rows = [row.cells() for row in self.rows.values()]
        cores = os.cpu_count()
        title = (
            f"{self.there['contacts']:,} contacts, {self.there['leads']:,} leads,"
            f" {cores} cores, {platform.machine()}, medians of"
            f" {self.options.repetitions} x {self.options.seconds:g} s"
        )
        print("\n".join([title, "", *table(rows, HEAD), "", *self.wrong]))  # noqa: T201
        if self.options.json:
            found = {
                "title": title,
                "wrong": self.wrong,
                "rows": [vars(row) for row in self.rows.values()],
            }
            self.options.json.write_text(json.dumps(found, indent=2) + "\n")
        return 1 if self.wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_size(parser)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of one measurement")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--people", type=int, default=1000, help="who think")
    parser.add_argument("--people-seconds", type=float, default=120)
    parser.add_argument("--imported", type=int, default=30_000, help="rows")
    parser.add_argument("--only", nargs="+", choices=PARTS)
    parser.add_argument("--no-stock", dest="stock", action="store_false")
    parser.add_argument("--json", type=from_root, help="write the numbers there")
    # Whoever is ended takes the stack with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return Benchmark(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
