"""The production stack, started and filled to be measured."""

import json
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measuring.api import Api, sign_in
from measuring.servers import BACKEND
from measuring.stack import EMAIL, PASSWORD, Stack, production

NAME = "Benchmark"


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


def seed(stack: Stack, options) -> None:
    """Make as much as the options say, unless it is there."""
    token = sign_in(stack.url, EMAIL, PASSWORD)
    _, _, body = Api(stack.url, token).ask("GET", "/api/contacts/?page_size=1")
    if json.loads(body)["count"] >= options.contacts:
        return
    run_python(
        stack.environment,
        *("manage.py", "seed", "--organization", NAME, "--password", PASSWORD),
        *("--users", str(options.users), "--contacts", str(options.contacts)),
        *("--leads", str(options.leads), "--deals", str(options.leads // 2)),
    )
