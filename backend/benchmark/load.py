"""People at work against the production stack: `./run_tests.sh load`.

python -m benchmark.load [SCENARIO or locust] [options of load_test.py or of locust]
"""

import argparse
import os
import subprocess
import sys

from benchmark.stack import (
    EMAIL,
    PASSWORD,
    add_size,
    environment_of,
    production,
    seed,
)
from measuring.servers import BACKEND


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", nargs="?", default="light")
    add_size(parser)
    options, further = parser.parse_known_args()
    folder = options.data.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with production(folder) as server:
        seed(server, environment_of(folder), options)
        if options.scenario == "locust":
            command = ["-m", "locust", "--host", server.url, *further]
        else:
            stem = folder / f"load-{options.scenario}"
            command = ["load_test.py", options.scenario, "--url", server.url]
            command += ["--report", str(stem), *further]
        people = {"LOAD_EMAIL": EMAIL, "LOAD_PASSWORD": PASSWORD}
        return subprocess.run(  # noqa: S603 our own
            [sys.executable, *command], cwd=BACKEND, env=os.environ | people
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
