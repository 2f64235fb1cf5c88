"""Tries the running stack of ./run.sh production: `production_test.py SITE EMAIL`.

Reads ADMIN_PASSWORD. Signs in through one instance and uses the other, writes and
reads, looks at headers and at the pages of errors, and has Gunicorn load itself anew
under load. Ends with 1 at the first thing that is wrong.
"""

import argparse
import http.client
import json
import os
import re
import signal
import threading
import time
import urllib.parse

TIMEOUT = 60


class Client:
    """One connection to a server; after a failure the next request opens another."""

    def __init__(self, site: str, token: str = ""):
        self.address = urllib.parse.urlsplit(site).netloc
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.connection = None

    def ask(self, method: str, path: str, body=None, **headers):
        """Status, headers (small names) and body of an answer."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT)
        if isinstance(body, dict):
            body = json.dumps(body)
            headers["Content-Type"] = "application/json"
        try:
            self.connection.request(method, path, body, {**self.headers, **headers})
            answer = self.connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise
        found = {name.lower(): value for name, value in answer.getheaders()}
        if "json" in found.get("content-type", ""):
            content = json.loads(content)
        return answer.status, found, content

    def get(self, path: str, **headers):
        return self.ask("GET", path, **headers)


def check(name: str, got, expected) -> None:
    if got != expected:
        raise SystemExit(f"FAILED: {name}: {got!r} instead of {expected!r}")
    print(f"  {name}: {got}", flush=True)  # noqa: T201


def sign_in(site: str, email: str) -> str:
    """A token."""
    status, _, answer = Client(site).ask(
        "POST",
        "/api/auth/app/v1/auth/login",
        {"email": email, "password": os.environ["ADMIN_PASSWORD"]},
    )
    check("sign-in", status, 200)
    return answer["meta"]["access_token"]


def instances(site: str) -> list[str]:
    """The addresses of the two web servers: the ports after Nginx' own."""
    host, port = urllib.parse.urlsplit(site).netloc.split(":")
    return [f"http://{host}:{int(port) + number}" for number in (1, 2)]


def check_answers(site: str, token: str) -> None:
    client = Client(site, token)
    path = "/api/contacts/?page_size=1"
    status, headers, _ = client.get(path, **{"X-Request-ID": "x-1"})
    check("a list", status, 200)
    check("the request's id", headers["x-request-id"], "x-1")
    check("nosniff", headers["x-content-type-options"], "nosniff")
    check("whose request it was is told to nobody", "x-actor" in headers, False)

    status, headers, _ = client.get("/api/docs/")
    check("the documents", status, 200)
    policy = headers["content-security-policy"]
    check("their scripts", re.search("script-src[^;]*", policy)[0], "script-src 'self'")

    status, headers, page = Client(site).get("/account/login/")
    static = re.search(rb'(/static/[^"]+\.[0-9a-f]{12}\.\w+)"', page)[1].decode()
    _, headers, _ = client.get(static)
    check(
        "static files", headers["cache-control"], "public, max-age=31536000, immutable"
    )
    _, headers, _ = client.get("/api/schema/", **{"Accept-Encoding": "gzip"})
    check("compression", headers.get("content-encoding"), "gzip")

    for name, method, path, body, status in [
        ("metrics are private", "GET", "/metrics", None, 404),
        ("a body that is too large", "POST", "/api/contacts/", b"x" * 3_200_000, 413),
        ("an address that is too long", "GET", "/api/?" + "x" * 20_000, None, 414),
    ]:
        # A new connection: Nginx ends one that sent too much.
        got, headers, problem = Client(site, token).ask(method, path, body)
        check(name, got, status)
        check("  as", headers["content-type"], "application/problem+json")
        check("  its status", problem["status"], status)


def check_instances(site: str, token: str, pairs: int) -> None:
    """What is written through one is read through the other, with the cache between."""
    one, other = (Client(address, token) for address in instances(site))
    status, _, contact = one.ask("POST", "/api/contacts/", {"last_name": "Of the test"})
    check("a new contact", status, 201)
    path = f"/api/contacts/{contact['id']}/"
    stale = 0
    for number in range(pairs):
        name = f"Number {number}"
        _, headers, _ = one.get(path)
        status, _, written = one.ask(
            "PATCH", path, {"first_name": name}, **{"If-Match": headers["etag"]}
        )
        if status != 200:
            raise SystemExit(f"FAILED: a change: {status} {written}")
        _, _, read = other.get(path)
        stale += read["first_name"] != name
        one, other = other, one
    check(f"stale reads of {pairs}", stale, 0)
    _, headers, _ = one.get(path)
    status, _, _ = one.ask("DELETE", path, **{"If-Match": headers["etag"]})
    check("its deletion", status, 204)


def check_reloads(site: str, token: str, pids: list[int], times: int, least: int):
    """Gunicorn is told to load itself anew, again and again; nobody may notice."""
    wrong, done, over = [], 0, threading.Event()
    lock = threading.Lock()

    def load():
        nonlocal done
        client = Client(site, token)
        while not over.is_set():
            try:
                status = client.get("/api/contacts/?page_size=1")[0]
            except (OSError, http.client.HTTPException) as error:
                status = repr(error)
            with lock:
                done += 1
                if status != 200:
                    wrong.append(status)

    threads = [threading.Thread(target=load) for _ in range(4)]
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
    what = f"requests while Gunicorn loaded itself anew {times} times"
    check(what, done, done)
    check("failed ones", wrong, [])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site")
    parser.add_argument("email")
    parser.add_argument("pids", nargs="*", type=int, help="Gunicorn's masters")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--reloads", type=int, default=2)
    parser.add_argument("--requests", type=int, default=500)
    options = parser.parse_args()
    tokens = [sign_in(address, options.email) for address in instances(options.site)]
    check_answers(options.site, tokens[0])
    check_instances(options.site, tokens[0], options.pairs)
    if options.pids:
        check_reloads(
            options.site, tokens[1], options.pids, options.reloads, options.requests
        )


if __name__ == "__main__":
    main()
