"""That no cached answer is ever older than what was acknowledged before it was asked.

One writer and many readers, through real processes, on real connections.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from measuring.api import Api

# Searched, and shown of what is found.
SEEN = "company_name"
REPORT = "/api/reports/activity/"


def version_in(answer: dict, contact: str) -> int:
    """The version of a contact that it says itself, a list, or what a search found."""
    for row in answer.get("results", [answer]):
        text = row.get("record", row)[SEEN]
        if row["id"] == contact and text.startswith("Version"):
            return int(text.split()[-1])
    return 0


def notes_in(report: dict) -> int:
    return sum(person["kinds"]["note"] for person in report["people"])


@dataclass
class Freshness:
    reads: int = 0
    writes: int = 0
    stale: int = 0
    failed: int = 0
    seconds: float = 0.0


def watch(
    url: str,
    token: str,
    contact: str,
    other: str,
    lists: Sequence[str],
    seconds: float,
    readers: int,
) -> Freshness:
    """Write one contact and notes about it, and read it, these lists, and a report.

    A read must show what was acknowledged before it was sent, or something newer.

    Args:
        other: a contact that is written in between, which ends no answer that does not
            show it.
        lists: their addresses; searches too.
    """
    result = Freshness()
    acknowledged = Counter()
    end = time.monotonic() + seconds
    lock = threading.Lock()

    def write():
        api = Api(url, token)
        note = {"kind": "note", "contact": contact}
        number = 0
        while time.monotonic() < end:
            number += 1
            path, seen = f"/api/contacts/{contact}/", {SEEN: f"Version {number}"}
            acknowledge("versions", api.ask("PATCH", path, seen)[0] == 200)
            # Readers meet caches that are filled, too.
            time.sleep(0.02)
            api.ask("PATCH", f"/api/contacts/{other}/", {SEEN: f"Other {number}"})
            acknowledge("notes", api.ask("POST", "/api/activities/", note)[0] == 201)
            time.sleep(0.02)

    def acknowledge(what: str, is_done: bool):
        acknowledged[what] += is_done
        result.writes += is_done
        result.failed += not is_done

    def read(path: str, what: str, number_in: Callable[[dict], int]):
        api = Api(url, token)
        etag, known = "", None
        while time.monotonic() < end:
            floor = acknowledged[what]
            sent = {"If-None-Match": etag} if etag else {}
            status, headers, body = api.ask("GET", path, **sent)
            if status == 200:
                etag, known = headers["ETag"], json.loads(body)
            elif status != 304:
                with lock:
                    result.failed += 1
                continue
            with lock:
                result.reads += 1
                result.stale += number_in(known) < floor

    before = notes_in(json.loads(Api(url, token).ask("GET", REPORT)[2]))
    version = partial(version_in, contact=contact)
    looks = [
        (path, "versions", version) for path in (f"/api/contacts/{contact}/", *lists)
    ]
    looks.append((REPORT, "notes", lambda report: notes_in(report) - before))
    start = time.monotonic()
    threads = [threading.Thread(target=write)]
    threads += [
        threading.Thread(target=read, args=looks[n % len(looks)])
        for n in range(readers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result.seconds = time.monotonic() - start
    return result
