"""The production stack, started and filled to be measured."""

import json
import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measuring.freshness import Api, sign_in
from measuring.servers import BACKEND, Server, free_port

NAME, EMAIL, PASSWORD = "Benchmark", "admin@example.com", "correct-horse-battery"
START_SECONDS = 600


def add_size(parser: ArgumentParser) -> None:
    """The options that say what there is."""
    parser.add_argument("--contacts", type=int, default=100_000)
    parser.add_argument("--leads", type=int, default=20_000)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument(
        "--data",
        type=Path,
        default=BACKEND.parent / "var" / "benchmark",
        help="where the stack keeps what it has: used again if it is there",
    )


@contextmanager
def production(folder: Path) -> Iterator[Server]:
    """`./run.sh production`, as everybody starts it, with limits that let one address
    send all the load.
    """
    port = free_port()
    environment = os.environ | {
        "PORT": str(port),
        "MYCRM_DATA": str(folder),
        "ORGANIZATION": NAME,
        "ADMIN_EMAIL": EMAIL,
        "ADMIN_PASSWORD": PASSWORD,
        "DEMO": "0",
        "SIGN_IN_RATE": "1000r/s",
        "API_RATE": "100000r/s",
        "API_BURST": "100000",
    }
    path = folder / "stack.log"
    with path.open("wb") as log:
        stack = subprocess.Popen(
            ["./run.sh", "production"],
            cwd=BACKEND.parent,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + START_SECONDS
        while b"MyCRM is ready." not in path.read_bytes():
            if stack.poll() is not None or time.monotonic() > until:
                raise SystemExit(path.read_text()[-3000:])
            time.sleep(0.5)
        yield Server(f"http://127.0.0.1:{port}", stack.pid)
    finally:
        stack.send_signal(signal.SIGINT)
        stack.wait(timeout=120)


def web_processes(folder: Path) -> dict[int, Path]:
    """The processes of Gunicorn that serve from this folder."""
    mine = f"MYCRM_DATA={folder}\0".encode()
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes()
            if b"gunicorn" in command and mine in (path / "environ").read_bytes():
                found[int(path.name)] = path
        except OSError:
            continue
    return found


def web_workers(folder: Path) -> list[int]:
    """Those of them that answer: children of Gunicorn's first ones."""
    parents = {}
    for pid, path in web_processes(folder).items():
        # Behind the name, which may hold anything: the state, then the parent.
        parents[pid] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
    return [pid for pid, parent in parents.items() if parent in parents]


def environment_of(folder: Path) -> dict[str, str]:
    """That of the stack's own processes, as its web servers have it."""
    for path in web_processes(folder).values():
        lines = (path / "environ").read_text().split("\0")
        pairs = (line.partition("=") for line in lines if line)
        return {name: value for name, _, value in pairs}
    raise SystemExit("The web server of the stack is not there.")


def run_python(environment: dict[str, str], *arguments: str) -> str:
    """What a program of the backend prints."""
    done = subprocess.run(  # noqa: S603 our own
        [sys.executable, *arguments],
        cwd=BACKEND,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def seed(server: Server, environment: dict[str, str], options) -> None:
    """Make as much as the options say, unless it is there."""
    token = sign_in(server.url, EMAIL, PASSWORD)
    _, _, body = Api(server.url, token).ask("GET", "/api/contacts/?page_size=1")
    if json.loads(body)["count"] >= options.contacts:
        return
    run_python(
        environment,
        *("manage.py", "seed", "--organization", NAME, "--password", PASSWORD),
        *("--users", str(options.users), "--contacts", str(options.contacts)),
        *("--leads", str(options.leads), "--deals", str(options.leads // 2)),
    )
