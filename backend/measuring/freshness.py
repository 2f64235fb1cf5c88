"""That no cached answer is ever older than what was acknowledged before it was asked.

One writer and many readers, through real processes, on real connections.
"""

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from measuring.api import Api

# Searched, and shown of what is found.
SEEN = "company_name"


def shown_by(row: dict) -> str:
    """What a record says, or a hit of a search."""
    return row.get("record", row)[SEEN]


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
    """Write one contact again and again, and read it alone and in these lists.

    A read must show what was acknowledged before it was sent, or something newer.

    Args:
        other: a contact that is written in between, which ends no answer that does not
            show it.
        lists: their addresses; searches too.
    """
    result = Freshness()
    acknowledged = 0
    end = time.monotonic() + seconds
    lock = threading.Lock()

    def write():
        nonlocal acknowledged
        api = Api(url, token)
        number = 0
        while time.monotonic() < end:
            number += 1
            path = f"/api/contacts/{contact}/"
            status, _, _ = api.ask("PATCH", path, {SEEN: f"Version {number}"})
            if status == 200:
                acknowledged = number
                result.writes += 1
            else:
                result.failed += 1
            # Readers meet caches that are filled, too.
            time.sleep(0.02)
            api.ask("PATCH", f"/api/contacts/{other}/", {SEEN: f"Other {number}"})
            time.sleep(0.02)

    def read(path: str):
        api = Api(url, token)
        etag, known = "", None
        while time.monotonic() < end:
            floor = acknowledged
            sent = {"If-None-Match": etag} if etag else {}
            status, headers, body = api.ask("GET", path, **sent)
            if status == 200:
                etag, known = headers["ETag"], json.loads(body)
            elif status != 304:
                with lock:
                    result.failed += 1
                continue
            rows = known.get("results", [known])
            shown = next((shown_by(row) for row in rows if row["id"] == contact), "")
            number = int(shown.split()[-1]) if shown.startswith("Version") else 0
            with lock:
                result.reads += 1
                result.stale += number < floor

    paths = [f"/api/contacts/{contact}/", *lists]
    start = time.monotonic()
    threads = [threading.Thread(target=write)]
    threads += [
        threading.Thread(target=read, args=[paths[n % len(paths)]])
        for n in range(readers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result.seconds = time.monotonic() - start
    return result
