"""What happens when parts of MyCRM fail: `./run_tests.sh faults [FAULT ...]`.

Starts the production stack (`./run.sh production`) in a folder of its own, and has
clients write and read through Nginx while its parts are killed, frozen or emptied,
ROUNDS times each (20). Each POST has an Idempotency-Key and is sent again with it until
it is answered by success, as a careful client does. At the end the database is asked:

- lost: writes that were answered by success, and are not there;
- twice: what was asked for once, and is there more than once;
- other: answers that a client should not see under this fault, or not so late.

Each must be 0, or this fails. Only processes of that stack are touched.
"""

import argparse
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg2
import requests
from redis import Redis
from redis.exceptions import RedisError

PROJECT = Path(__file__).resolve().parent.parent
ROUNDS = int(os.environ.get("ROUNDS") or 20)
WRITERS = 4
START_SECONDS = 300
# Whatever fails, a client has an answer after so long, and success after so long.
ANSWER_SECONDS = 10
PATIENCE_SECONDS = 60
# A frozen Redis may cost 0.5 s; the rest is for a machine that is busy with all this.
REDIS_SECONDS = 3
IMPORT_ROWS = 3000
RESUME_SECONDS = 30
JOBS_SECONDS = 120
EMAIL, PASSWORD = "admin@example.com", secrets.token_urlsafe(20)

ALWAYS = {"GET": {200}, "POST": {201, 202}, "PATCH": {200}}
# The database is away: wait, and try again.
BUSY = {method: statuses | {503} for method, statuses in ALWAYS.items()}
# Nginx asks another server for a GET; who wrote must ask again. What is written by the
# request that died, the database may still be taking back.
CUT_OFF = {"GET": {200}, "POST": {201, 202, 502, 409}, "PATCH": {200, 502}}


class Stack:
    """The production stack, and its processes by what they do."""

    def __init__(self, folder: Path):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.site = f"http://127.0.0.1:{self.port}"
        self.data = folder / "data"
        self.log = folder / "run.log"
        self.process = None

    def start(self) -> None:
        environment = {
            **os.environ,
            "MYCRM_DATA": str(self.data),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "DEMO": "0",
            "ADMIN_EMAIL": EMAIL,
            "ADMIN_PASSWORD": PASSWORD,
        }
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                ["./run.sh", "production"],
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while "MyCRM is ready" not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(self.log.read_text())
            time.sleep(0.5)
        self.run = Path(re.search(r"Sockets +(\S+)", self.log.read_text())[1])

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(120)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Those of this stack whose command has all of these words."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                command = " ".join(process.cmdline())
                if all(word in command for word in words):
                    found.append(process)
        return found

    def leaders(self, *words: str) -> list[psutil.Process]:
        """As `processes`, without the children of any of them."""
        found = self.processes(*words)
        pids = {process.pid for process in found}
        return [process for process in found if process.ppid() not in pids]

    def signal(self, number: int, *words: str) -> int:
        """Send it to the leaders; how many there were."""
        found = self.leaders(*words)
        for process in found:
            with suppress(psutil.Error):
                process.send_signal(number)
        return len(found)

    def redis(self, name: str) -> Redis:
        path = str(self.run / f"redis-{name}.sock")
        return Redis(unix_socket_path=path, socket_timeout=2)

    def await_redis(self) -> None:
        for name in ("cache", "broker"):
            await_true(lambda name=name: self.redis(name).ping(), "Redis", RedisError)

    def ask(self, query: str, *values) -> list[tuple]:
        """Rows of the database, past all of MyCRM."""
        connection = psycopg2.connect(
            host=str(self.run / "postgres"), user="mycrm", dbname="mycrm"
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(query, values)
                return cursor.fetchall()
        finally:
            connection.close()


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
                method, f"{self.trial.stack.site}/api/{path}", timeout=30, **request
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
    """One fault: what clients did meanwhile, what they saw, what came of it."""

    def __init__(self, stack: Stack, name: str, allowed: dict, seconds: float):
        self.stack = stack
        self.name = name
        self.allowed = allowed
        self.seconds = seconds
        self.tag = f"{name.replace(' ', '-')}-{secrets.token_hex(3)}"
        self.token = sign_in(stack)
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
        return self.stack.ask(query, job)[0]

    def judge(self) -> None:
        """Compare what was answered with what is in the database."""
        waiting = "SELECT count(*) FROM core_job WHERE status IN ('queued', 'running')"
        try:
            await_true(
                lambda: self.stack.ask(waiting) == [(0,)],
                "jobs to end",
                psycopg2.Error,
                seconds=JOBS_SECONDS,
            )
        except TimeoutError as error:
            self.note_other(str(error))
        rows = self.stack.ask(
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
        journalled = self.stack.ask(
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


def sign_in(stack: Stack) -> str:
    answer = requests.post(
        f"{stack.site}/api/auth/app/v1/auth/login",
        json={"email": EMAIL, "password": PASSWORD},
        timeout=30,
    )
    answer.raise_for_status()
    return answer.json()["meta"]["access_token"]


# The faults. Each does its rounds, and leaves the stack well.

REDIS = ("redis-server",)


def redis_down(trial: Trial) -> None:
    """Both Redis are killed again and again for two seconds."""
    stack = trial.stack
    with trial.traffic():
        for _ in each_round(trial):
            until = time.monotonic() + 2
            while time.monotonic() < until:
                stack.signal(signal.SIGKILL, *REDIS)
                time.sleep(0.05)
            trial.start_import(20)
            stack.await_redis()
            time.sleep(1)


def redis_frozen(trial: Trial) -> None:
    """Both Redis take connections and say nothing for three seconds."""
    stack = trial.stack
    with trial.traffic():
        for _ in each_round(trial):
            stack.signal(signal.SIGSTOP, *REDIS)
            try:
                trial.start_import(20)
                time.sleep(3)
            finally:
                stack.signal(signal.SIGCONT, *REDIS)
            time.sleep(1)


def redis_flushed(trial: Trial) -> None:
    """Both Redis forget everything. Nobody is signed out by it."""
    stack = trial.stack
    browser = sign_in_by_browser(stack)
    with trial.traffic():
        for _ in each_round(trial):
            trial.start_import(20)
            for name in ("cache", "broker"):
                stack.redis(name).flushall()
            me = browser.get(f"{stack.site}/api/users/me/", timeout=30)
            trial.note("GET", "users/me/ of a session", me, 0)
            time.sleep(0.5)


def sign_in_by_browser(stack: Stack) -> requests.Session:
    browser = requests.Session()
    browser.trust_env = False
    path = f"{stack.site}/api/auth/browser/v1"
    browser.get(f"{path}/config", timeout=30).raise_for_status()
    token = next(v for n, v in browser.cookies.items() if n.endswith("csrftoken"))
    answer = browser.post(
        f"{path}/auth/login",
        json={"email": EMAIL, "password": PASSWORD},
        headers={"X-CSRFToken": token, "Referer": stack.site},
        timeout=30,
    )
    answer.raise_for_status()
    return browser


def postgresql_restarted(trial: Trial) -> None:
    """PostgreSQL ends its connections, stops, and is started again."""
    stack = trial.stack
    with trial.traffic():
        for _ in each_round(trial):
            trial.start_import(200)
            stack.signal(signal.SIGINT, "postgres", "-D")
            time.sleep(1)
            await_true(lambda: stack.ask("SELECT 1"), "PostgreSQL", psycopg2.Error)
            time.sleep(1.5)


def web_worker_killed(trial: Trial) -> None:
    """One of Gunicorn's worker processes is killed while it answers."""
    stack = trial.stack
    with trial.traffic():
        for _ in each_round(trial):
            masters = {process.pid for process in stack.leaders("gunicorn")}
            workers = [w for w in stack.processes("gunicorn") if w.pid not in masters]
            wanted = len(masters) + len(workers)
            victim = random.choice(workers)  # noqa: S311
            with suppress(psutil.Error):
                victim.kill()
            # As many as before are there again, and answer.
            await_true(
                lambda wanted=wanted: len(stack.processes("gunicorn")) == wanted,
                "Gunicorn's workers",
            )
            for port in (stack.port + 1, stack.port + 2):
                live = f"http://127.0.0.1:{port}/api/health/live/"
                await_true(
                    lambda live=live: requests.get(live, timeout=5).ok,
                    "both instances",
                    requests.RequestException,
                )
            time.sleep(1)


def job_worker_killed(trial: Trial) -> None:
    """The worker of imports is killed in the midst of one; the last is timed."""
    stack = trial.stack
    with trial.traffic():
        for _ in each_round(trial):
            job = trial.start_import(IMPORT_ROWS)
            await_true(lambda job=job: trial.job_row(job)[1], "an import's first rows")
            status, _, lease = trial.job_row(job)
            killed_at = time.monotonic()
            stack.signal(signal.SIGKILL, "celery", "--hostname", "bulk@")
        if status == "running":
            await_true(
                lambda: trial.job_row(job)[2] not in (None, lease),
                "Another worker",
                seconds=RESUME_SECONDS + 30,
            )
            seconds = time.monotonic() - killed_at
            if seconds > RESUME_SECONDS:
                trial.note_other(f"an import was taken up after {seconds:.0f} s")


def beat_twice(trial: Trial) -> None:
    """A second Beat runs beside the first; each reminder still comes once."""
    stack = trial.stack
    beat = stack.leaders("celery", " beat ")[0]
    command = beat.cmdline()
    if not any("DatabaseScheduler" in word for word in command):
        command += ["--schedule", str(stack.data / "second-beat")]
    with open(stack.data / "logs" / "second-beat.log", "w") as log:
        second = subprocess.Popen(
            command, cwd=beat.cwd(), env=beat.environ(), stdout=log, stderr=log
        )
    tasks = []
    try:
        with trial.traffic():
            client = Client(trial)
            contact = client.insist(
                "POST", "contacts/", json={"first_name": "Ada", "last_name": "Beats"}
            ).json()["id"]
            for _ in each_round(trial):
                due = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                task = {"kind": "task", "subject": "Call", "contact": contact}
                body = client.insist(
                    "POST", "activities/", json={**task, "due_at": due}
                )
                tasks.append(body.json()["id"])
                trial.start_import(20)
                time.sleep(0.5)
        await_true(
            lambda: len(reminders(stack, tasks)) >= len(tasks), "reminders", seconds=150
        )
        time.sleep(10)
    except TimeoutError as error:
        trial.note_other(str(error))
    finally:
        second.terminate()
        second.wait(30)
    told = Counter(reminders(stack, tasks))
    trial.lost += sum(task not in told for task in tasks)
    trial.twice += sum(number - 1 for number in told.values())


def reminders(stack: Stack, tasks: list[str]) -> list[str]:
    rows = stack.ask(
        "SELECT subject_id::text FROM core_notification"
        " WHERE code = 'task_due' AND subject_id = ANY(%s::uuid[])",
        tasks,
    )
    return [pk for (pk,) in rows]


def client_gone(trial: Trial) -> None:
    """A client hangs up in the midst of a file. Nothing is made of it."""
    stack = trial.stack
    uploads = stack.data / "uploads"

    def state():
        files = sorted(path for path in uploads.rglob("*") if path.is_file())
        return stack.ask("SELECT count(*) FROM core_job")[0][0], files

    with trial.traffic():
        time.sleep(1)
        before = state()
        for number in each_round(trial):
            with socket.create_connection(("127.0.0.1", stack.port)) as connection:
                connection.sendall(begun_upload(stack, trial.token, number))
                time.sleep(0.1)
            time.sleep(0.2)
        time.sleep(3)
        jobs, files = state()
    trial.twice += jobs - before[0]
    for path in set(files) - set(before[1]):
        trial.note_other(f"a file was left: {path.name}")


def begun_upload(stack: Stack, token: str, number: int) -> bytes:
    """A request for an import that ends somewhere within the body."""
    part = (
        b'--cut\r\nContent-Disposition: form-data; name="record_type"\r\n\r\n'
        b"contact\r\n"
        b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n'
        b"Content-Type: text/csv\r\n\r\nFirst Name,Last Name\r\n"
    )
    rows = b"Grace,Gone\r\n" * 20_000
    whole = part + rows + b"\r\n--cut--\r\n"
    head = (
        f"POST /api/imports/ HTTP/1.1\r\nHost: 127.0.0.1:{stack.port}\r\n"
        f"Authorization: Bearer {token}\r\n"
        "Content-Type: multipart/form-data; boundary=cut\r\n"
        f"Content-Length: {len(whole)}\r\n\r\n"
    )
    # Also all but the last byte, and a body that is chunked in the end.
    length = (len(part), len(part) + 5000, len(whole) // 2, len(whole) - 1)[number % 4]
    return head.encode() + whole[:length]


def same_post_twice(trial: Trial) -> None:
    """The same POST comes several times at once. It is done once."""
    answers = []

    def post(client, name, key):
        answer = client.send(
            "POST",
            "contacts/",
            json={"first_name": "Ada", "last_name": name},
            headers={"Idempotency-Key": key},
        )
        if answer is not None and answer.status_code == 201:
            answers.append((name, answer.json()["id"]))

    clients = [Client(trial) for _ in range(6)]
    for number in each_round(trial):
        name, key = f"{trial.tag}-same-{number}", str(uuid.uuid4())
        threads = [
            threading.Thread(target=post, args=(client, name, key))
            for client in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    trial.made = dict(answers)
    trial.twice += len(set(answers)) - len(trial.made)


def each_round(trial: Trial):
    for number in range(ROUNDS):
        yield number
        trial.rounds += 1


FAULTS = {
    "redis-down": (redis_down, ALWAYS, REDIS_SECONDS),
    "redis-frozen": (redis_frozen, ALWAYS, REDIS_SECONDS),
    "redis-flushed": (redis_flushed, ALWAYS, ANSWER_SECONDS),
    "postgresql-restarted": (postgresql_restarted, BUSY, ANSWER_SECONDS),
    "web-worker-killed": (web_worker_killed, CUT_OFF, ANSWER_SECONDS),
    "job-worker-killed": (job_worker_killed, ALWAYS, ANSWER_SECONDS),
    "beat-twice": (beat_twice, ALWAYS, ANSWER_SECONDS),
    "client-gone": (client_gone, ALWAYS, ANSWER_SECONDS),
    "same-post-twice": (
        same_post_twice,
        {"POST": {201, 409}},
        ANSWER_SECONDS,
    ),
}


def try_fault(stack: Stack, name: str) -> Trial:
    fault, allowed, seconds = FAULTS[name]
    trial = Trial(stack, name, allowed, seconds)
    try:
        fault(trial)
    except Exception as error:
        trial.note_other(f"{type(error).__name__}: {error}")
    trial.judge()
    return trial


def report(trial: Trial) -> None:
    answers = Counter()
    for (_, status), number in trial.answers.items():
        answers[status] += number
    shown = " ".join(f"{status}:{answers[status]}" for status in sorted(answers))
    print(
        f"{trial.name:<21}{trial.rounds:>7}{len(trial.made) + len(trial.titles):>8}"
        f"{trial.lost:>6}{trial.twice:>7}{len(trial.others):>7}"
        f"{trial.slowest:>8.2f} s  {shown}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    names = parser.parse_args().faults or list(FAULTS)
    if unknown := set(names) - set(FAULTS):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    folder = Path(tempfile.mkdtemp(prefix="mycrm-faults-"))
    folder.chmod(0o755)  # PostgreSQL's user passes through
    stack = Stack(folder)
    trials = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        stack.start()
        print(
            f"{'fault':<21}{'rounds':>7}{'writes':>8}{'lost':>6}{'twice':>7}{'other':>7}"
            f"{'slowest':>10}  answers"
        )
        for name in names:
            trials.append(try_fault(stack, name))
            report(trials[-1])
    finally:
        stack.stop()
        for trial in trials:
            for text, number in Counter(trial.others).most_common(10):
                print(f"{trial.name}: {number} x {text}")
    if all(trial.is_good for trial in trials):
        shutil.rmtree(folder)
        print("Nothing was lost, nothing was done twice, every answer was right.")
    else:
        print(f"The logs are in {stack.data / 'logs'}.")
        sys.exit(1)


if __name__ == "__main__":
    main()
