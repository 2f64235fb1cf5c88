"""What the benchmark asks MyCRM about itself."""

import json
import re
import time
from collections import Counter
from pathlib import Path
from urllib.parse import quote, urlsplit

import requests

from measuring.api import TIMEOUT, Api

MOST = 200
PAGE = 25
# A word needs so many letters, for one to be missing.
LETTERS = 5


def path_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def walk(api: Api, count: int) -> list[str]:
    """The ids of the first contacts, the newest first."""
    ids: list[str] = []
    path = f"/api/contacts/?fields=id&page_size={MOST}&cursor="
    while path and len(ids) < count:
        _, _, body = api.ask("GET", path)
        page = json.loads(body)
        ids += [row["id"] for row in page["results"]]
        path = page["next"] and path_of(page["next"])
    return ids


def deep_pages(api: Api, path: str, after: int, count: int) -> list[str]:
    """Addresses of so many pages of 25, the first of them after so many rows.

    They name no size: who asks adds one.
    """
    page = f"{path}{'&' if '?' in path else '?'}cursor="
    for _ in range(after // MOST):
        page = _following(api, page, MOST)
    pages = []
    while page and len(pages) < count:
        pages.append(page)
        page = _following(api, page, PAGE)
    return pages


def _following(api: Api, page: str, size: int) -> str | None:
    _, _, body = api.ask("GET", f"{page}&page_size={size}")
    url = json.loads(body)["next"]
    return url and re.sub(r"&page_size=\d+", "", path_of(url))


def misspelt(api: Api) -> list[str]:
    """Names that contacts have, each without one letter, as part of an address."""
    names = set()
    for page in range(1, 21):
        path = f"/api/contacts/?fields=first_name,last_name&page_size=200&page={page}"
        _, _, body = api.ask("GET", path)
        for row in json.loads(body).get("results", ()):
            first, last = row["first_name"], row["last_name"]
            if len(last) >= LETTERS:
                middle = len(last) // 2
                names.add(f"{first} {last[:middle]}{last[middle + 1 :]}")
    return [quote(name) for name in sorted(names)]


def import_file(url: str, api: Api, file: Path) -> float:
    """Import it by the API, and wait for the worker; its seconds."""
    start = time.monotonic()
    with file.open("rb") as stream:
        response = requests.post(
            f"{url}/api/imports/",
            data={"record_type": "contact"},
            files={"file": (file.name, stream, "text/csv")},
            headers=api.headers,
            timeout=TIMEOUT,
        )
    job = response.json()
    if response.status_code != 202:
        raise SystemExit(f"The import gave {response.status_code}: {job}")
    while job["status"] in ("queued", "running"):
        time.sleep(0.5)
        job = json.loads(api.ask("GET", f"/api/imports/{job['id']}/")[2])
    if job["status"] != "done":
        raise SystemExit(f"The import is {job['status']}: {job['error']}")
    return time.monotonic() - start


def cache_reads(url: str) -> Counter:
    """How many reads of the cache had which result, by a web server's metrics."""
    try:
        status, _, body = Api(url).ask("GET", "/metrics")
    except OSError:
        return Counter()
    if status != 200:
        return Counter()
    found = re.findall(
        r'^mycrm_cache_reads_total\{.*?result="(\w+)".*?\} (\S+)$',
        body.decode(),
        re.MULTILINE,
    )
    return Counter({name: float(value) for name, value in found})


def hit_rate(before: Counter, after: Counter) -> str:
    """The share of the reads between two moments that found an answer, in words."""
    counts = after - before
    total = counts.total()
    return f"{100 * counts['hit'] / total:.0f} %" if total else "unknown"
