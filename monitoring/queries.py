#!/usr/bin/env python3
"""Ask a real Prometheus, which scrapes a running MyCRM, every query that we ship.

    ADMIN_PASSWORD=... ./run.sh production
    ADMIN_PASSWORD=... monitoring/queries.py http://127.0.0.1:8001 [JOB=http://... ...]

The address is that of one web server; further ones name an exporter with its job, such
as `postgres=http://127.0.0.1:9187/metrics`; redis is the cache's, redis-broker the other.
Signs in as ADMIN_EMAIL and uses MyCRM for a while, so that there is something of
everything: it leaves a contact.

Starts Debian's Prometheus with a short interval in a folder of its own, and asks every
`expr` of the dashboards, and of the alerts with what they compare taken off. It fails
if a query is wrong, or finds nothing where there should be data. Queries about an
exporter that was not named are left out, and counted.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parent
USE_SECONDS = 30
START_SECONDS = 30
EXPORTERS = {"pg_": "postgres", "redis_": "redis", "nginx_": "nginx"}
COMPARISON = re.compile(r"\s(==|>|<)\s[\d.]+$")
# No proxy: the addresses are this machine's.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def queries() -> list[tuple[str, str]]:
    """Where each query stands, and the query."""
    found = []
    for path in sorted(FOLDER.glob("grafana/dashboards/*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                found.append((f"{path.stem}: {panel['title']}", target["expr"]))
    for path in sorted(FOLDER.glob("rules/*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                found.append((rule["alert"], COMPARISON.sub("", rule["expr"])))
    return found


def configuration(targets: dict[str, str]) -> dict:
    jobs = []
    for job, address in targets.items():
        url = urllib.parse.urlsplit(address)
        target = {"targets": [url.netloc]}
        if job.startswith("redis"):
            role = "broker" if job == "redis-broker" else "cache"
            target["labels"] = {"role": role}
        jobs.append(
            {
                "job_name": job,
                "metrics_path": url.path,
                "params": urllib.parse.parse_qs(url.query),
                "static_configs": [target],
            }
        )
    return {
        "global": {"scrape_interval": "2s", "evaluation_interval": "2s"},
        "rule_files": [str(FOLDER / "rules" / "*.yml")],
        "scrape_configs": jobs,
    }


def ask(site: str, path: str, **parameters):
    query = urllib.parse.urlencode(parameters)
    try:
        with opener.open(f"{site}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def wait_for_data(site: str, jobs: set[str], process) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit("Prometheus ended.")
        try:
            targets = ask(site, "targets")["data"]["activeTargets"]
        except OSError:
            targets = []
        up = {t["labels"]["job"] for t in targets if t["health"] == "up"}
        if up == jobs:
            return
        time.sleep(0.5)
    errors = [f"{t['scrapeUrl']}: {t['lastError']}" for t in targets]
    sys.exit("\n".join(["Not all can be scraped.", *errors]))


def use(site: str) -> None:
    """Reads, writes and a job, while Prometheus looks on."""

    def call(method: str, path: str, body=None) -> dict:
        request = urllib.request.Request(  # noqa: S310
            f"{site}/api/{path}",
            json.dumps(body).encode() if body is not None else None,
            {"Content-Type": "application/json", **headers},
            method=method,
        )
        with opener.open(request, timeout=30) as answer:
            return json.load(answer)

    headers = {}
    email = os.environ.get("ADMIN_EMAIL", "admin@example.com")
    person = {"email": email, "password": os.environ["ADMIN_PASSWORD"]}
    token = call("POST", "auth/app/v1/auth/login", person)["meta"]["access_token"]
    headers["Authorization"] = f"Bearer {token}"
    contact = call("POST", "contacts/", {"first_name": "Ada", "last_name": "King"})
    deadline = time.monotonic() + USE_SECONDS
    number = 0
    while time.monotonic() < deadline:
        number += 1
        title = {"job_title": f"Analyst {number}"}
        call("PATCH", f"contacts/{contact['id']}/", title)
        for _ in range(3):
            call("GET", "contacts/?page_size=5")
        call("POST", "exports/", {"record_type": "tag", "format": "csv"})
        time.sleep(2)


def check(site: str, jobs: set[str]) -> bool:
    wrong = left_out = answered = 0
    for place, query in queries():
        if any(
            re.search(rf"\b{prefix}", query) and job not in jobs
            for prefix, job in EXPORTERS.items()
        ):
            left_out += 1
            continue
        answer = ask(site, "query", query=query)
        values = answer.get("data", {}).get("result", [])
        if answer["status"] != "success" or not values:
            wrong += 1
            print(f"{place}: {answer.get('error', 'nothing')}: {query}")
        elif all(value["value"][1] == "NaN" for value in values):
            wrong += 1
            print(f"{place}: no number: {query}")
        else:
            answered += 1
    print(f"Queries: {answered} answered, {wrong} wrong or empty, {left_out} left out.")
    return not wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("web", help="the address of a web server")
    parser.add_argument("others", nargs="*", metavar="JOB=ADDRESS")
    arguments = parser.parse_args()
    targets = {"web": f"{arguments.web}/metrics"}
    targets.update(other.split("=", 1) for other in arguments.others)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prometheus.yml"
        path.write_text(yaml.safe_dump(configuration(targets)))
        with open(Path(folder) / "log", "w") as log:
            process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={path}",
                    f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address={address}",
                ],
                stdout=log,
                stderr=log,
            )
            try:
                wait_for_data(f"http://{address}", set(targets), process)
                use(arguments.web)
                well = check(f"http://{address}", set(targets))
            finally:
                process.terminate()
                process.wait(10)
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
