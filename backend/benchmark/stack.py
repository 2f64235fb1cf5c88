"""The production stack, started and filled to be measured."""

import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.generators import psql
from measuring.servers import BACKEND
from measuring.stack import PASSWORD, Stack, production

NAME = "Benchmark"


def from_root(text: str) -> Path:
    """As whoever starts ./run_tests.sh means it: from where that stands."""
    return BACKEND.parent / text


def add_size(parser: ArgumentParser) -> None:
    """The options that say what there is."""
    parser.add_argument("--contacts", type=int, default=100_000)
    parser.add_argument("--leads", type=int, default=20_000)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument(
        "--data",
        type=from_root,
        default=from_root("var/benchmark"),
        help="where the stack keeps what it has: used again if it is there",
    )


@contextmanager
def filled(options) -> Iterator[Stack]:
    """The stack with as much as the options say, and with limits that let one address
    send all the load.
    """
    with production(
        options.data.resolve(),
        ORGANIZATION=NAME,
        SIGN_IN_RATE="1000r/s",
        API_RATE="100000r/s",
        API_BURST="100000",
        ADDRESS_RATE="100000r/s",
        ADDRESS_BURST="100000",
    ) as stack:
        seed(stack, options)
        yield stack


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


def counted(stack: Stack) -> dict[str, int]:
    """How many users, contacts and leads there are."""
    tables = {
        "users": "user_management_user",
        "contacts": "contact_management_contact",
        "leads": "lead_management_lead",
    }
    counts = ", ".join(
        f"(SELECT count(*) FROM {table})"  # noqa: S608
        for table in tables.values()
    )
    found = psql(stack.environment["DATABASE_URL"], f"SELECT {counts}")
    return dict(zip(tables, map(int, found.split("|")), strict=True))


def seed(stack: Stack, options) -> None:
    """Make what is missing of as much as the options say."""
    there = counted(stack)
    if there["contacts"] > 1.5 * options.contacts:
        raise SystemExit(
            f"There are {there['contacts']:,} contacts: say --contacts or another"
            f" --data, or remove {options.data}."
        )
    missing = {n: max(0, getattr(options, n) - count) for n, count in there.items()}
    if not any(missing.values()):
        return
    run_python(
        stack.environment,
        *("manage.py", "seed", "--organization", NAME, "--password", PASSWORD),
        *(f"--{name}={count}" for name, count in missing.items()),
        f"--deals={missing['leads'] // 2}",
    )
