"""Tries the stack of ./run.sh production: `production_test.py FOLDER`.

Starts it with its data in the folder and a certificate of its own, signs in through one
instance and uses the other, writes and reads, looks at headers and at the pages of
errors, prepares an upgrade, has Gunicorn load itself anew under load, as it does by
itself too, looks at what is kept, and stops it. Ends with 1 at the first thing that is
wrong.
"""

import argparse
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

from measuring.api import Api, sign_in
from measuring.servers import BACKEND, free_port
from measuring.stack import EMAIL, PASSWORD, Stack, production

# So many requests a worker answers here; another one takes its place then.
MAX_REQUESTS = 300


def check(name: str, got, expected) -> None:
    if got != expected:
        raise SystemExit(f"FAILED: {name}: {got!r} instead of {expected!r}")
    print(f"  {name}: {got}", flush=True)  # noqa: T201


def make_certificate(folder: Path) -> dict[str, str]:
    """The settings that name it and its key."""
    files = {
        "TLS_CERTIFICATE": str(folder.resolve() / "certificate.pem"),
        "TLS_KEY": str(folder.resolve() / "key.pem"),
    }
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    subprocess.run(  # noqa: S603 our own
        [
            *command.split(),
            *("-out", files["TLS_CERTIFICATE"], "-keyout", files["TLS_KEY"]),
        ],
        check=True,
        capture_output=True,
    )
    return files


def check_redirect(plain: str, encrypted: str) -> None:
    status, headers, _ = Api(plain).ask("GET", "/api/contacts/?page=2")
    check("without encryption", status, 308)
    check("  to", headers["location"], f"{encrypted}/api/contacts/?page=2")


def check_answers(site: str, token: str) -> None:
    api = Api(site, token)
    path = "/api/contacts/?page_size=1"
    status, headers, _ = api.ask("GET", path, **{"X-Request-ID": "x-1"})
    check("a list", status, 200)
    check("the request's id", headers["x-request-id"], "x-1")
    check("nosniff", headers["x-content-type-options"], "nosniff")
    check("whose request it was is told to nobody", "x-actor" in headers, False)

    status, headers, _ = api.ask("GET", "/api/docs/")
    check("the documents", status, 200)
    policy = headers["content-security-policy"]
    check("their scripts", re.search("script-src[^;]*", policy)[0], "script-src 'self'")

    status, headers, page = Api(site).ask("GET", "/account/login/")
    static = re.search(rb'(/static/[^"]+\.[0-9a-f]{12}\.\w+)"', page)[1].decode()
    _, headers, _ = api.ask("GET", static)
    check(
        "static files", headers["cache-control"], "public, max-age=31536000, immutable"
    )
    _, headers, _ = api.ask("GET", "/api/schema/", **{"Accept-Encoding": "gzip"})
    check("compression", headers.get("content-encoding"), "gzip")

    for name, method, path, body, status in [
        ("metrics are private", "GET", "/metrics", None, 404),
        ("a body that is too large", "POST", "/api/contacts/", b"x" * 3_200_000, 413),
        ("an address that is too long", "GET", "/api/?" + "x" * 8_200, None, 414),
    ]:
        # A new connection: Nginx ends one that sent too much.
        got, headers, problem = Api(site, token).ask(method, path, body)
        check(name, got, status)
        check("  as", headers["content-type"], "application/problem+json")
        check("  its status", json.loads(problem)["status"], status)

    # The application answers, who sees neither a form in them nor a sign-in.
    for path, status in [
        ("/api/imports/preview/", 415),
        ("/admin/contact_management/contact/import/", 403),
    ]:
        got, _, _ = Api(site, token).ask("POST", path, b"x" * 3_200_000)
        check(f"a large file for {path}", got, status)


def check_instances(instances: list[str], token: str, pairs: int) -> None:
    """What is written through one is read through the other, with the cache between."""
    one, other = (Api(address, token) for address in instances)
    status, _, made = one.ask("POST", "/api/contacts/", {"last_name": "Of the test"})
    check("a new contact", status, 201)
    path = f"/api/contacts/{json.loads(made)['id']}/"
    stale = 0
    for number in range(pairs):
        name = f"Number {number}"
        _, headers, _ = one.ask("GET", path)
        status, _, written = one.ask(
            "PATCH", path, {"first_name": name}, **{"If-Match": headers["etag"]}
        )
        if status != 200:
            raise SystemExit(f"FAILED: a change: {status} {written}")
        _, _, read = other.ask("GET", path)
        stale += json.loads(read)["first_name"] != name
        one, other = other, one
    check(f"stale reads of {pairs}", stale, 0)
    _, headers, _ = one.ask("GET", path)
    status, _, _ = one.ask("DELETE", path, **{"If-Match": headers["etag"]})
    check("its deletion", status, 204)


def check_role(stack: Stack) -> None:
    [(name, *rights)] = stack.query(
        "SELECT rolname, rolsuper, rolcreaterole, rolbypassrls FROM pg_roles"
        " WHERE rolname = current_user"
    )
    check(f"what {name} may do besides", rights, [False, False, False])


def check_privacy(folder: Path) -> None:
    kept = (folder / name for name in ("logs", "redis-broker", "uploads"))
    paths = [path for place in kept for path in (place, *place.rglob("*"))]
    paths.append(folder / "secret_key")
    read_by_others = [path.name for path in paths if path.stat().st_mode & 0o077]
    check("files that other users may read", read_by_others, [])


def check_upgrade(folder: Path) -> None:
    """Another process prepares the same database and files, while all of it runs."""
    done = subprocess.run(
        ["./run.sh", "upgrade"],
        cwd=BACKEND.parent,
        env=os.environ | {"MYCRM_DATA": str(folder.resolve())},
        capture_output=True,
        text=True,
        check=False,
    )
    check("an upgrade", (done.returncode, done.stderr), (0, ""))
    log = (folder / "logs" / "migrate.log").read_text()
    check("  of the database", "No migrations to apply." in log, True)


def check_reloads(site: str, token: str, pids: list[int], times: int, least: int):
    """Gunicorn is told to load itself anew, again and again; nobody may notice."""
    wrong, done, over = [], 0, threading.Event()
    lock = threading.Lock()
    reads = ("GET", "/api/contacts/?page_size=1")
    # Nginx asks no other process for these, as it does for reads.
    writes = ("POST", "/api/tags/")

    def load(method, path, expected):
        nonlocal done
        api = Api(site, token)
        while not over.is_set():
            body = {"name": str(uuid.uuid4())} if method == "POST" else None
            try:
                status = api.ask(method, path, body)[0]
            except (OSError, http.client.HTTPException) as error:
                status = repr(error)
            with lock:
                done += 1
                if status != expected:
                    wrong.append((method, status))

    threads = [
        threading.Thread(target=load, args=(*asked, expected))
        for asked, expected in 2 * [(reads, 200), (writes, 201)]
    ]
    for thread in threads:
        thread.start()
    for number in range(times):
        os.kill(pids[number % len(pids)], signal.SIGHUP)
        time.sleep(3)
    while done < least:
        time.sleep(0.1)
    over.set()
    for thread in threads:
        thread.join()
    what = (
        f"failures of {done} requests while Gunicorn loaded itself anew {times} times"
    )
    check(what, wrong, [])


def check_replacements(stack: Stack) -> None:
    """Workers that had answered their last asked for others, before they left."""
    logs = (stack.folder / "logs").glob("web*.log")
    said = "".join(log.read_text() for log in logs)
    check("some workers were replaced", "Asking for new workers" in said, True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--reloads", type=int, default=2)
    parser.add_argument("--requests", type=int, default=500)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options.folder.mkdir(parents=True, exist_ok=True)
    tls_port = free_port()
    site = f"https://127.0.0.1:{tls_port}"
    environment = {
        **make_certificate(options.folder),
        "TLS_PORT": str(tls_port),
        # Instances are asked without Nginx too, and are not to send us to it.
        "HTTPS": "false",
        "WEB_MAX_REQUESTS": str(MAX_REQUESTS),
    }
    with production(options.folder, **environment) as stack:
        tokens = [sign_in(address, EMAIL, PASSWORD) for address in stack.instances]
        check_redirect(stack.url, site)
        check_answers(site, tokens[0])
        check_instances(stack.instances, tokens[0], options.pairs)
        check_upgrade(options.folder)
        check_reloads(
            *(site, tokens[1], stack.masters),
            *(options.reloads, options.requests),
        )
        check_replacements(stack)
        check_role(stack)
        check_privacy(options.folder)
    check("it stopped as it should", stack.process.returncode, 0)


if __name__ == "__main__":
    main()
