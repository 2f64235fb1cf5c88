"""People at work against the production stack: `./run_tests.sh load`.

python -m benchmark.load [SCENARIO or locust] [options of load_test.py or of locust]
"""

import argparse
import os
import signal
import subprocess
import sys

from benchmark.stack import add_size, filled, from_root
from measuring.servers import BACKEND
from measuring.stack import EMAIL, PASSWORD


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", nargs="?", default="light")
    add_size(parser)
    parser.add_argument(
        "--report",
        type=from_root,
        help="write this with .json and .html behind it; not of locust",
    )
    options, further = parser.parse_known_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with filled(options) as stack:
        if options.scenario == "locust":
            command = ["-m", "locust", "--host", stack.url, *further]
        else:
            stem = options.report or stack.folder / f"load-{options.scenario}"
            command = ["load_test.py", options.scenario, "--url", stack.url]
            command += ["--report", str(stem), *further]
        people = {"LOAD_EMAIL": EMAIL, "LOAD_PASSWORD": PASSWORD}
        return subprocess.run(  # noqa: S603 our own
            [sys.executable, *command], cwd=BACKEND, env=os.environ | people
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
