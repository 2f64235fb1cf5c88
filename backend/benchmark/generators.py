"""What makes the load: wrk for requests, pgbench for statements."""

import json
import re
import subprocess
from pathlib import Path
from shutil import which

import environ

from measuring.servers import BACKEND

HERE = Path(__file__).resolve().parent
THREADS_OF_PGBENCH = 1


class Wrk:
    """One thread of wrk: it leaves the processors to who answers."""

    def __init__(self, url: str, token: str, connections: int):
        self.url = url
        self.token = token
        self.connections = connections

    def run(self, path: str, seconds: float, headers=None, **options) -> dict:
        """Send requests for so long; what `wrk.lua` says of them.

        Args:
            options: as `wrk.lua` has them.
        """
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        if "body" in options:
            sent["Content-Type"] = "application/json"
        command = ["wrk", "-t1", f"-c{self.connections}", f"-d{seconds:g}s"]
        command += ["--timeout", "30s", "-s", str(HERE / "wrk.lua")]
        for name, value in sent.items():
            command += ["-H", f"{name}: {value}"]
        options = {"path": path, **options}
        command += [self.url, "--", *(f"{n}={v}" for n, v in options.items())]
        done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
        found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
        if not found:
            raise SystemExit(f"wrk failed: {done.stdout}\n{done.stderr}")
        return json.loads(found[1])


def connection_of(database: str) -> str:
    """What libpq calls an address of Django's, of a socket or of a server."""
    found = environ.Env.db_url_config(database)
    names = {"HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password"}
    pairs = [f"{name}='{found[key]}'" for key, name in names.items() if found.get(key)]
    return " ".join([*pairs, f"dbname='{found['NAME']}'"])


def psql(database: str, query: str) -> str:
    """What PostgreSQL answers, its columns parted by `|`."""
    done = subprocess.run(  # noqa: S603
        ["psql", connection_of(database), "-Atc", query],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def pgbench(database: str, organization: str, script: str, options) -> float:
    """How often PostgreSQL alone answers a statement in a second."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/pgbench")]
    program = which("pgbench") or str(max(found))
    name = organization.replace("'", "''")
    query = f"SELECT id FROM core_organization WHERE name = '{name}'"  # noqa: S608
    done = subprocess.run(  # noqa: S603
        [
            *(program, "--no-vacuum", "--protocol=prepared", f"-T{options.seconds:g}"),
            *(f"-c{min(options.connections, 8)}", f"-j{THREADS_OF_PGBENCH}"),
            *("-D", f"organization={psql(database, query)}", "-f", str(HERE / script)),
            connection_of(database),
        ],
        cwd=BACKEND,
        capture_output=True,
        text=True,
    )
    rate = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
    if not rate:
        raise SystemExit(f"pgbench failed: {done.stdout}\n{done.stderr}")
    return float(rate[1])
