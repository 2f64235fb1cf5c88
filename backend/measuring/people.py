"""People at work with MyCRM: what they do, how often, and how long they think.

They know nothing of what sends their requests, so Locust and `load_test.py` have the
same people: each gives them a `send`.
"""

import random
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import BoundedSemaphore
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import orjson

from core.zipf import Weighted, Zipf

LOGIN = "/api/auth/app/v1/auth/login"
REFRESH = "/api/auth/app/v1/tokens/refresh"
# Before the token's 15 minutes are over.
REFRESH_SECONDS = 12 * 60
# A browser keeps so many answers.
REMEMBERED = 100
# A person thinks so many seconds between two requests.
THINK_SECONDS = (2.0, 8.0)
EXPORT_POLLS = 30
# Passwords are hashed with care, on the same processors: not all sign in at once.
SIGN_INS = BoundedSemaphore(4)


class Answer(NamedTuple):
    status: int
    etag: str
    body: bytes


class Request(NamedTuple):
    """What a `send` is given.

    Attributes:
        name: of the kind of request, for the report.
        expected: the statuses that are no failures.
    """

    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None
    expected: tuple[int, ...]


class Refused(Exception):
    """An answer that nobody can go on from; the report has it already."""


class Person:
    """Somebody with a browser: it keeps answers, and asks only whether they are new.

    Args:
        send: sends a request, notes how it went, and gives the answer.
        sleep: waits so many seconds.
        thinks: False for who sends one request after the other.
    """

    # What they do and how often.
    tasks: dict[str, float] = {}
    share = 0.0
    roles: tuple[str, ...] = ()

    def __init__(
        self,
        send: Callable[[Request], Answer],
        sleep: Callable[[float], None],
        email: str,
        password: str,
        chance: random.Random,
        thinks: bool = True,
    ):
        self.send = send
        self.sleep = sleep
        self.email = email
        self.password = password
        self.chance = chance
        self.thinks = thinks
        # By address. As text: the collector of garbage has nothing to go through in it,
        # and to go through all that a thousand people know would stop them all.
        self.memory: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self.tokens: dict[str, str] = {}
        self.signed_in_at = 0.0
        self._task = Weighted(list(self.tasks), self.tasks.values())

    def work(self) -> None:
        """One task, and the pause after it."""
        try:
            self.stay_signed_in()
            getattr(self, self._task.pick(self.chance))()
        except Refused:
            self.think()

    def think(self) -> None:
        if self.thinks:
            self.sleep(self.chance.uniform(*THINK_SECONDS))

    # Signing in

    def stay_signed_in(self) -> None:
        if not self.tokens:
            self.sign_in()
        elif time.monotonic() > self.signed_in_at + REFRESH_SECONDS:
            body = {"refresh_token": self.tokens["refresh_token"]}
            self._note_tokens(self.ask("sign-in: refresh", "POST", REFRESH, body))

    def sign_in(self) -> None:
        body = {"email": self.email, "password": self.password}
        # Where too many sign in at once, they are told to wait.
        expected = (200, 429)
        while not (answer := self._ask_to_sign_in(body, expected)):
            self.sleep(self.chance.uniform(1, 5))
        self._note_tokens(answer)

    def _ask_to_sign_in(self, body, expected) -> dict | None:
        with SIGN_INS:
            return self.ask("sign-in", "POST", LOGIN, body, expected)

    def _note_tokens(self, answer: dict) -> None:
        # A sign-in has them in `meta`, a refresh in `data`.
        found = answer["meta"] if "meta" in answer else answer["data"]
        self.tokens |= {n: v for n, v in found.items() if n.endswith("_token")}
        self.signed_in_at = time.monotonic()

    # Asking

    def ask(self, name, method, path, body=None, expected=(200,), headers=None):
        """The answer as JSON; None where it was one of `expected` but no success.

        Raises:
            Refused: the answer was not expected.
        """
        headers = {"Accept": "application/json", **(headers or {})}
        if "access_token" in self.tokens and path not in (LOGIN, REFRESH):
            headers["Authorization"] = f"Bearer {self.tokens['access_token']}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        known = self.memory.get(path) if method == "GET" else None
        if known:
            headers["If-None-Match"] = known[0]
            expected = (*expected, 304)
        data = None if body is None else orjson.dumps(body)
        answer = self.send(Request(name, method, path, headers, data, expected))
        if answer.status not in expected:
            if answer.status == 401:
                self.tokens = {}
            raise Refused(f"{method} {path}: {answer.status}")
        if answer.status == 304:
            self.memory.move_to_end(path)
            return orjson.loads(known[1])
        if answer.status >= 400:
            return None
        if method == "GET" and answer.etag:
            self.memory[path] = (answer.etag, answer.body)
            if len(self.memory) > REMEMBERED:
                self.memory.popitem(last=False)
        return orjson.loads(answer.body) if answer.body else {}

    def look(self, name: str, path: str) -> dict:
        """Read something, and think about it."""
        found = self.ask(name, "GET", path)
        self.think()
        return found

    def pick(self, path: str, name: str) -> dict:
        """A record of a list, as it was seen last: those at its top are popular.

        Raises:
            Refused: nobody of this role has one.
        """
        _, seen = self.memory.get(path, ("", b""))
        page = orjson.loads(seen) if seen else self.look(name, path)
        rows = page["results"]
        if not rows:
            raise Refused(f"{path} is empty")
        return Zipf(rows).pick(self.chance)

    def edit(self, kind: str, path: str, changes: dict) -> None:
        """Change what was just opened, as it was seen; once more if it was changed."""
        for _ in range(3):
            self.look(f"{kind}: open", path)
            etag, _ = self.memory[path]
            done = self.ask(
                f"{kind}: edit", "PATCH", path, changes, (200, 412), {"If-Match": etag}
            )
            self.think()
            if done:
                return

    # What several of them do

    def browse(self, kind: str, query: str = "") -> None:
        """A list, and sometimes its next pages."""
        path = f"/api/{kind}/"
        path = f"{path}?{query}" if query else path
        page = self.look(f"{kind}: list", path)
        while page["next"] and self.chance.random() < 0.3:
            parts = urlsplit(page["next"])
            page = self.look(f"{kind}: page", f"{parts.path}?{parts.query}")

    def open(self, kind: str, query: str = "") -> dict:
        path = f"/api/{kind}/?{query}" if query else f"/api/{kind}/"
        row = self.pick(path, f"{kind}: list")
        return self.look(f"{kind}: open", f"/api/{kind}/{row['id']}/")

    def search_contacts(self) -> None:
        """By a name that somebody has, sometimes misspelt."""
        row = self.pick("/api/contacts/", "contacts: list")
        name = row["last_name"] or row["company_name"] or "miller"
        if len(name) > 4 and self.chance.random() < 0.3:
            place = self.chance.randrange(1, len(name))
            name = name[:place] + name[place + 1 :]
        self.look("search", f"/api/search/?q={quote(name)}")

    def list_contacts(self) -> None:
        self.browse("contacts")

    def list_leads(self) -> None:
        self.browse("leads")

    def open_contact(self) -> None:
        self.open("contacts")

    def open_lead(self) -> None:
        self.open("leads")

    def read_history(self) -> None:
        row = self.pick("/api/contacts/", "contacts: list")
        self.look("contacts: history", f"/api/contacts/{row['id']}/history/")

    def look_at_dashboard(self) -> None:
        self.look("dashboard", "/api/dashboard/")

    def look_at_board(self) -> None:
        pipelines = self.look("pipelines", "/api/pipelines/")["results"]
        self.look("deals: board", f"/api/deals/board/?pipeline={pipelines[0]['id']}")

    def export(self) -> None:
        """A file of contacts, fetched once it is there."""
        wish = {"record_type": "contact", "filters": {"tags": "vip"}}
        job = self.ask("export: start", "POST", "/api/exports/", wish, (202,))
        for _ in range(EXPORT_POLLS):
            self.sleep(2)
            path = f"/api/exports/{job['id']}/"
            job = self.ask("export: status", "GET", path)
            if job["status"] in ("done", "failed", "cancelled"):
                break
        if job["status"] == "done":
            answer = f"/api/exports/{job['id']}/download/"
            self.fetch("export: download", answer)

    def fetch(self, name: str, path: str) -> None:
        headers = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        self.send(Request(name, "GET", path, headers, None, (200,)))


class Seller(Person):
    """Works on leads, and on what is their own."""

    share = 60
    roles = ("sales_rep",)
    mine = "owner=me"
    tasks = {
        "list_leads": 18,
        "list_own_leads": 14,
        "open_lead": 20,
        "list_contacts": 10,
        "open_contact": 14,
        "search_contacts": 8,
        "look_at_board": 5,
        "look_at_tasks": 6,
        "edit_contact": 2,
        "log_call": 2,
        "move_lead": 1,
    }

    def list_own_leads(self) -> None:
        self.browse("leads", self.mine)

    def look_at_tasks(self) -> None:
        self.look("activities: tasks", "/api/activities/?owner=me&open=true")

    def edit_contact(self) -> None:
        row = self.pick(f"/api/contacts/?{self.mine}", "contacts: list")
        title = self.chance.choice(("Buyer", "Head of IT", "Director", "Consultant"))
        self.edit("contacts", f"/api/contacts/{row['id']}/", {"job_title": title})

    def log_call(self) -> None:
        lead = self.open("leads", self.mine)
        call = {
            "kind": "call",
            "lead": lead["id"],
            "subject": f"Call with {lead['first_name']}",
            "duration_minutes": self.chance.randrange(1, 30),
        }
        self.ask("activities: create", "POST", "/api/activities/", call, (201,))
        self.think()

    def move_lead(self) -> None:
        """Contacted leads become qualified ones, and the other way round."""
        lead = self.open("leads", f"{self.mine}&status__in=contacted,qualified")
        to = "contacted" if lead["status"] == "qualified" else "qualified"
        path = f"/api/leads/{lead['id']}/transition/"
        # Somebody may have moved it meanwhile.
        self.ask("leads: move", "POST", path, {"status": to}, (200, 409))
        self.think()


class Marketer(Person):
    """Looks at contacts by tags and sources, and takes files of them."""

    share = 25
    roles = ("marketing",)
    tasks = {
        "list_contacts": 20,
        "list_tagged": 25,
        "open_contact": 22,
        "search_contacts": 10,
        "list_leads": 10,
        "look_at_sources": 8,
        "tag_contact": 2,
        "export": 0.3,
    }

    def list_tagged(self) -> None:
        tag = self.chance.choice(("newsletter", "vip", "partner", "event-2026"))
        self.browse("contacts", f"tags={tag}")

    def look_at_sources(self) -> None:
        self.look("reports", "/api/reports/sources/?period=this_month")

    def tag_contact(self) -> None:
        row = self.pick("/api/contacts/?owner=me", "contacts: list")
        tags = self.chance.sample(("newsletter", "vip", "partner", "follow-up"), 2)
        self.edit("contacts", f"/api/contacts/{row['id']}/", {"tags": tags})


class Manager(Person):
    """Looks at how things are going, and into what is behind it."""

    share = 15
    roles = ("manager",)
    tasks = {
        "look_at_dashboard": 20,
        "look_at_reports": 14,
        "look_at_board": 18,
        "list_leads": 18,
        "open_lead": 14,
        "open_contact": 8,
        "read_history": 6,
        "give_lead": 1,
    }

    def look_at_reports(self) -> None:
        report = self.chance.choice(("funnel", "pipelines", "forecast", "activity"))
        self.look("reports", f"/api/reports/{report}/")

    def give_lead(self) -> None:
        """A lead's priority changes."""
        row = self.pick("/api/leads/?status=new", "leads: list")
        priority = self.chance.choice(("high", "urgent", "medium"))
        self.edit("leads", f"/api/leads/{row['id']}/", {"priority": priority})


KINDS = (Seller, Marketer, Manager)


class Administrator(Person):
    """Knows who works there."""

    tasks = {"look_at_dashboard": 1}


class Staff:
    """The people of an organization that is there, as its administrator knows them.

    Args:
        send: as of `Person`.
        email, password: of the administrator; all people have the same password.
    """

    def __init__(self, send, sleep, email: str, password: str, seed: int = 2026):
        self.password = password
        self.chance = random.Random(seed)  # noqa: S311
        boss = Administrator(send, sleep, email, password, self.chance, thinks=False)
        boss.stay_signed_in()
        users = boss.ask(
            "setup", "GET", "/api/users/?page_size=200&expand=role&is_active=true"
        )["results"]
        self.emails = {
            kind: [u["email"] for u in users if u["role"]["name"] in kind.roles]
            for kind in KINDS
        }
        self.kinds = Weighted(KINDS, [kind.share for kind in KINDS])
        missing = [kind.__name__ for kind in KINDS if not self.emails[kind]]
        if missing:
            raise SystemExit(
                f"Nobody here is a {', '.join(missing)}: run manage.py seed --users 50"
            )

    def hire(self, send, sleep, thinks: bool, kind: type[Person] | None = None):
        """One more person at work."""
        kind = kind or self.kinds.pick(self.chance)
        email = self.chance.choice(self.emails[kind])
        chance = random.Random(self.chance.random())  # noqa: S311
        return kind(send, sleep, email, self.password, chance, thinks)
