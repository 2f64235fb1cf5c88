"""Servers to measure: MyCRM behind Gunicorn, and the memory that its processes take."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BACKEND = Path(__file__).resolve().parent.parent
START_SECONDS = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def running(*command: str, **environment: str) -> Iterator[subprocess.Popen]:
    """A program of this folder's, with all that it starts, until the end."""
    process = subprocess.Popen(  # noqa: S603 our own
        [sys.executable, "-m", *command],
        cwd=BACKEND,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


@contextmanager
def gunicorn(
    application: str = "backend.wsgi:application", **environment: str
) -> Iterator["Server"]:
    """Two processes, as in production, which none replaces while they are measured."""
    port = free_port()
    command = ("gunicorn", application, "--bind", f"127.0.0.1:{port}")
    command = (*command, "--max-requests", "0", "--log-level", "critical")
    own = {"WEB_CONCURRENCY": "2", "WEB_SHARE": "1/1"}
    with running(*command, **environment | own) as process:
        server = Server(f"http://127.0.0.1:{port}", process.pid)
        server.wait()
        yield server


class Server:
    def __init__(self, url: str, pid: int):
        self.url = url
        self.pid = pid

    def wait(self, path: str = "/api/health/") -> None:
        """Wait until it answers, with whatever that is."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                opener.open(self.url + path, timeout=5).close()
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def worker_memory(self) -> list[float]:
        """Of each process that serves, in MB: what is its own, and its share."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [proportional_memory(int(pid)) for pid in children.split()]


def proportional_memory(pid: int) -> float:
    return _megabytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss")


def _megabytes(path: Path, name: str) -> float:
    """A line of a file in /proc, such as `Pss:  1024 kB`.

    Raises:
        ValueError: there is none: the process has ended.
    """
    for line in path.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"No {name} in {path}.")


def peak_memory(*command: str) -> tuple[float, float]:
    """Run a program of Python's; its greatest memory in MB, and its seconds.

    What the kernel says of a process that ended (`ru_maxrss`) begins with the memory of
    the one that started it, so the program is looked at while it runs.

    Raises:
        CalledProcessError: it failed.
    """
    start = time.monotonic()
    process = subprocess.Popen(  # noqa: S603 our own
        [sys.executable, *command], cwd=BACKEND, stdout=subprocess.DEVNULL
    )
    peak = 0.0
    while process.poll() is None:
        with suppress(OSError, ValueError):
            peak = _megabytes(Path(f"/proc/{process.pid}/status"), "VmHWM")
        time.sleep(0.02)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return peak, time.monotonic() - start
