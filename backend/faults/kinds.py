"""The faults. Each does its rounds, and leaves the stack well."""

import os
import random
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress

import psutil
import psycopg2
import requests
from redis.exceptions import RedisError

from faults.trial import Client, Trial, await_true
from measuring.stack import EMAIL, PASSWORD, Stack

ROUNDS = int(os.environ.get("ROUNDS") or 20)
# Whatever fails, a client has an answer after so long.
ANSWER_SECONDS = 10
# A frozen Redis may cost 0.5 s; the rest is for a machine that is busy with all this.
REDIS_SECONDS = 1
IMPORT_ROWS = 3000
RESUME_SECONDS = 30
LEAVE_SECONDS = 1

ALWAYS = {"GET": {200}, "POST": {201, 202}, "PATCH": {200}}
# The database is away: wait, and try again.
BUSY = {method: statuses | {503} for method, statuses in ALWAYS.items()}
# Nginx asks another server for a GET; who wrote must ask again. What is written by the
# request that died, the database may still be taking back.
CUT_OFF = {"GET": {200}, "POST": {201, 202, 502, 409}, "PATCH": {200, 502}}

REDIS = ("redis-server",)


def await_redis(stack: Stack) -> None:
    for name in ("cache", "broker"):
        redis = stack.redis(name)
        await_true(redis.ping, "Redis", RedisError)


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
            await_redis(stack)
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
            me = browser.get(f"{stack.url}/api/users/me/", timeout=30)
            trial.note("GET", "users/me/ of a session", me, 0)
            time.sleep(0.5)


def sign_in_by_browser(stack: Stack) -> requests.Session:
    browser = requests.Session()
    browser.trust_env = False
    path = f"{stack.url}/api/auth/browser/v1"
    browser.get(f"{path}/config", timeout=30).raise_for_status()
    token = next(v for n, v in browser.cookies.items() if n.endswith("csrftoken"))
    answer = browser.post(
        f"{path}/auth/login",
        json={"email": EMAIL, "password": PASSWORD},
        headers={"X-CSRFToken": token, "Referer": stack.url},
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
            await_true(lambda: stack.query("SELECT 1"), "PostgreSQL", psycopg2.Error)
            time.sleep(1.5)


def web_worker_killed(trial: Trial) -> None:
    """One of Gunicorn's worker processes is killed while it answers."""
    stack = trial.stack
    with trial.traffic():
        for _ in each_round(trial):
            wanted = len(stack.processes("gunicorn"))
            victim = random.choice(stack.web_workers())  # noqa: S311
            with suppress(psutil.Error):
                victim.kill()
            # As many as before are there again, and answer.
            await_true(
                lambda wanted=wanted: len(stack.processes("gunicorn")) == wanted,
                "Gunicorn's workers",
            )
            for address in stack.instances:
                live = f"{address}/api/health/live/"
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
        command += ["--schedule", str(stack.folder / "second-beat")]
    with open(stack.folder / "logs" / "second-beat.log", "w") as log:
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
    rows = stack.query(
        "SELECT subject_id::text FROM core_notification"
        " WHERE code = 'task_due' AND subject_id = ANY(%s::uuid[])",
        tasks,
    )
    return [pk for (pk,) in rows]


def client_gone(trial: Trial) -> None:
    """A client hangs up in the midst of a file. Nothing is made of it."""
    stack = trial.stack
    uploads = stack.folder / "uploads"

    def state():
        files = sorted(path for path in uploads.rglob("*") if path.is_file())
        return stack.query("SELECT count(*) FROM core_job")[0][0], files

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


def clients_gone(trial: Trial) -> None:
    """More write at once than can be worked on, and their clients do not wait.

    What was not begun until then is never done.
    """
    stack = trial.stack
    workers = len(stack.web_workers())
    at_once = workers * int(stack.environment.get("WEB_THREADS") or 4)

    def post(name):
        with suppress(requests.Timeout):
            requests.post(
                f"{stack.url}/api/contacts/",
                json={"last_name": name},
                headers={"Authorization": f"Bearer {trial.token}"},
                timeout=LEAVE_SECONDS,
            )

    for number in each_round(trial):
        name = f"{trial.tag}-gone-{number}"
        clients = [
            threading.Thread(target=post, args=(f"{name}-{client}",))
            for client in range(4 * at_once)
        ]
        with stack.locked("contact_management_contact"):
            for client in clients:
                client.start()
            for client in clients:
                client.join()
        # They wait in line: once this is answered, so is all that came before it.
        for _ in range(at_once):
            Client(trial).insist("POST", "contacts/", json={"last_name": "After"})
        done = stack.query(
            "SELECT count(*) FROM contact_management_contact WHERE last_name LIKE %s",
            f"{name}-%",
        )[0][0]
        if done > at_once:
            trial.note_other(f"{done} of {len(clients)} were done, {at_once} begun")


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
    "clients-gone": (clients_gone, ALWAYS, ANSWER_SECONDS),
    "same-post-twice": (
        same_post_twice,
        {"POST": {201, 409}},
        ANSWER_SECONDS,
    ),
}
