"""The production stack, as everybody starts it: `./run.sh production`."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg2
from redis import Redis

from measuring.servers import BACKEND, Server, free_port

EMAIL, PASSWORD = "admin@example.com", "correct-horse-battery"
START_SECONDS = 600
STOP_SECONDS = 120


class Stack(Server):
    """A stack that runs.

    Attributes:
        process: the script, of which all else are children.
        instances: the addresses of the web servers behind Nginx.
    """

    def __init__(self, folder: Path, port: int, process: subprocess.Popen):
        super().__init__(f"http://127.0.0.1:{port}", process.pid)
        self.folder = folder
        self.port = port
        self.process = process
        self.instances = [f"http://127.0.0.1:{port + number}" for number in (1, 2)]

    @property
    def said(self) -> str:
        """What it printed."""
        return (self.folder / "stack.log").read_text()

    @property
    def sockets(self) -> Path:
        return Path(re.search(r"Sockets +(\S+)", self.said)[1])

    @property
    def masters(self) -> list[int]:
        """The processes of the web servers, which load themselves anew on SIGHUP."""
        return [int(pid) for pid in re.findall(r"\(process (\d+)\)", self.said)]

    @property
    def environment(self) -> dict[str, str]:
        """That of its own processes, as its web servers have it."""
        return self.leaders("gunicorn")[0].environ()

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

    def web_workers(self) -> list[psutil.Process]:
        """The processes of Gunicorn that answer."""
        masters = {process.pid for process in self.leaders("gunicorn")}
        return [p for p in self.processes("gunicorn") if p.pid not in masters]

    def signal(self, number: int, *words: str) -> None:
        """Send it to the leaders."""
        for process in self.leaders(*words):
            with suppress(psutil.Error):
                process.send_signal(number)

    def redis(self, name: str) -> Redis:
        """`cache` or `broker`, asked past all of MyCRM."""
        path = str(self.sockets / f"redis-{name}.sock")
        return Redis(unix_socket_path=path, socket_timeout=2)

    def query(self, query: str, *values) -> list[tuple]:
        """Rows of the database, asked past all of MyCRM."""
        with self._database() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall()

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Nobody writes this table until the block is over."""
        with self._database() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            yield

    @contextmanager
    def _database(self) -> Iterator[psycopg2.extensions.cursor]:
        connection = psycopg2.connect(
            host=str(self.sockets / "postgres"), user="mycrm", dbname="mycrm"
        )
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()


@contextmanager
def production(folder: Path, **environment: str) -> Iterator[Stack]:
    """The stack, until the end, with its data in a folder.

    Raises:
        SystemExit: it did not start, with what it said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with (folder / "stack.log").open("wb") as log:
        process = subprocess.Popen(
            ["./run.sh", "production"],
            cwd=BACKEND.parent,
            env=os.environ
            | {
                "HOST": "127.0.0.1",
                "PORT": str(port),
                # As a person would give it: from where the script is.
                "MYCRM_DATA": os.path.relpath(folder, BACKEND.parent),
                "ADMIN_EMAIL": EMAIL,
                "ADMIN_PASSWORD": PASSWORD,
                "DEMO": "0",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    stack = Stack(folder, port, process)
    try:
        until = time.monotonic() + START_SECONDS
        while "Ctrl-C stops everything." not in stack.said:
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(stack.said[-3000:])
            time.sleep(0.2)
        yield stack
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_SECONDS)
