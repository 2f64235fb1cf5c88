"""One fault: what clients did meanwhile, what they saw, what came of it."""

import random
import secrets
import threading
import time
import uuid
from collections import Counter
from contextlib import contextmanager, suppress

import psycopg2
import requests

from measuring.api import sign_in
from measuring.stack import EMAIL, PASSWORD, Stack

WRITERS = 4
# Whatever fails, a client has success after so long.
PATIENCE_SECONDS = 60
JOBS_SECONDS = 120


def await_true(condition, what: str, *errors, seconds=PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with suppress(*errors):
            if condition():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.1)


class Client:
    """One person's program. What it sees is noted on the trial."""

    def __init__(self, trial: "Trial"):
        self.trial = trial
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers["Authorization"] = f"Bearer {trial.token}"

    def send(self, method: str, path: str, **request) -> requests.Response | None:
        """One answer, or None where there was none in time."""
        began = time.monotonic()
        try:
            answer = self.http.request(
                method, f"{self.trial.stack.url}/api/{path}", timeout=30, **request
            )
        except requests.RequestException as error:
            self.trial.note_other(f"{method} {path}: {type(error).__name__}")
            return None
        self.trial.note(method, path, answer, time.monotonic() - began)
        return answer

    def insist(self, method: str, path: str, **request) -> requests.Response:
        """Send it until it succeeds, with the same Idempotency-Key each time."""
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            answer = self.send(method, path, headers=headers, **request)
            if answer is not None and answer.ok:
                return answer
            time.sleep(random.uniform(0.05, 0.3))  # noqa: S311
        raise TimeoutError(f"{method} {path}: no success in {PATIENCE_SECONDS} s")


class Trial:
    """The trial of one fault.

    Args:
        allowed: the statuses that are right meanwhile, by method.
        seconds: the longest that an answer may take.
    """

    def __init__(self, stack: Stack, name: str, allowed: dict, seconds: float):
        self.stack = stack
        self.name = name
        self.allowed = allowed
        self.seconds = seconds
        self.tag = f"{name.replace(' ', '-')}-{secrets.token_hex(3)}"
        self.token = sign_in(stack.url, EMAIL, PASSWORD)
        self.lock = threading.Lock()
        self.answers = Counter()
        self.others = []
        self.slowest = 0.0
        self.rounds = 0
        self.made = {}  # id by last name, of what was answered by success
        self.titles = {}  # the last title that was answered by success, by id
        self.jobs = {}  # rows by the job's id
        self.twice = 0
        self.lost = 0
        self._over = threading.Event()

    def note(self, method: str, path: str, answer, seconds: float) -> None:
        with self.lock:
            self.answers[method, answer.status_code] += 1
            self.slowest = max(self.slowest, seconds)
        wrong = answer.status_code not in self.allowed[method]
        if answer.status_code >= 400:
            kind = answer.headers.get("Content-Type", "")
            wrong |= not kind.startswith("application/problem+json")
        if answer.status_code == 503:
            wrong |= "Retry-After" not in answer.headers
        if wrong:
            self.note_other(
                f"{method} {path}: {answer.status_code} {answer.text[:200]}"
            )
        elif seconds > self.seconds:
            self.note_other(f"{method} {path}: after {seconds:.1f} s")

    def note_other(self, text: str) -> None:
        with self.lock:
            self.others.append(text)

    @contextmanager
    def traffic(self):
        """Clients that write and read until the block is over."""
        writers = [
            threading.Thread(target=self._write, args=(number,))
            for number in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        try:
            yield
        finally:
            self._over.set()
            for writer in writers:
                writer.join()

    def _write(self, writer: int) -> None:
        client = Client(self)
        number = 0
        while not self._over.is_set():
            number += 1
            name = f"{self.tag}-{writer}-{number}"
            try:
                self._write_one(client, name)
            except TimeoutError as error:
                self.note_other(str(error))

    def _write_one(self, client: Client, name: str) -> None:
        person = {"first_name": "Ada", "last_name": name}
        contact = client.insist("POST", "contacts/", json=person).json()["id"]
        with self.lock:
            self.made[name] = contact
        for title in ("Countess", "Analyst"):
            path = f"contacts/{contact}/"
            client.insist("PATCH", path, json={"job_title": title})
            with self.lock:
                self.titles[contact] = title
            shown = client.send("GET", path)
            if shown is not None and shown.ok and shown.json()["job_title"] != title:
                self.note_other(f"GET {path}: not what was just written")
        client.send("GET", "contacts/?page_size=5")

    def start_import(self, rows: int) -> str:
        """The id of a job that makes so many contacts."""
        name = f"{self.tag}-file-{len(self.jobs)}"
        lines = [f"Grace,{name}-{number}" for number in range(rows)]
        file = "\n".join(["First Name,Last Name", *lines])
        answer = Client(self).insist(
            "POST",
            "imports/",
            data={"record_type": "contact"},
            files={"file": ("people.csv", file, "text/csv")},
        )
        job = answer.json()["id"]
        self.jobs[job] = rows
        return job

    def job_row(self, job: str) -> tuple:
        """Its status, how many rows are done, and the lease of who works on it."""
        query = "SELECT status, done, lease FROM core_job WHERE id = %s"
        return self.stack.query(query, job)[0]

    def judge(self) -> None:
        """Compare what was answered with what is in the database."""
        waiting = "SELECT count(*) FROM core_job WHERE status IN ('queued', 'running')"
        try:
            await_true(
                lambda: self.stack.query(waiting) == [(0,)],
                "jobs to end",
                psycopg2.Error,
                seconds=JOBS_SECONDS,
            )
        except TimeoutError as error:
            self.note_other(str(error))
        rows = self.stack.query(
            "SELECT last_name, id::text, job_title FROM contact_management_contact"
            " WHERE last_name LIKE %s AND deleted_at IS NULL",
            f"{self.tag}-%",
        )
        counts = Counter(name for name, _, _ in rows)
        self.twice += sum(number - 1 for number in counts.values())
        here = {pk: title for _, pk, title in rows}
        self.lost += sum(pk not in here for pk in self.made.values())
        self.lost += sum(here.get(pk) != title for pk, title in self.titles.items())
        imported = sum("-file-" in name for name in counts)
        self.lost += max(0, sum(self.jobs.values()) - imported)
        journalled = self.stack.query(
            "SELECT count(*), count(DISTINCT record_id) FROM core_change"
            " WHERE verb = 'create' AND record_id IN (SELECT id"
            " FROM contact_management_contact WHERE last_name LIKE %s)",
            f"{self.tag}-%",
        )[0]
        self.twice += journalled[0] - journalled[1]
        self.lost += len(rows) - journalled[1]

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.twice or self.others)
