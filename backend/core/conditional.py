"""Conditional requests (RFC 9110, section 13).

The ETag of a record is `"<version>-<hash of the answer's bytes>"`, that of a list the
hash alone. `If-None-Match` compares the whole; `If-Match` compares the version, so that
a record read with other `fields` or `expand` may still be written.
"""

import hashlib
import re

from django.http import HttpResponse
from django.utils.cache import patch_vary_headers
from rest_framework.exceptions import ErrorDetail, ValidationError

ENTITY_TAG = re.compile(r'(?:W/)?"([^"]*)"')


def etag_of(body: bytes, version: int | None = None) -> str:
    digest = hashlib.blake2b(body, digest_size=9).hexdigest()
    return f'"{digest}"' if version is None else f'"{version}-{digest}"'


def etag_had(request) -> str:
    """The ETag of the answer that the client has; blank if it has none, or several."""
    found = ENTITY_TAG.fullmatch(request.META.get("HTTP_IF_NONE_MATCH", ""))
    return f'"{found[1]}"' if found else ""


def not_modified(request, etag: str) -> bool:
    """Whether the client's `If-None-Match` says that it has this answer already."""
    # Not by `headers`, which for each request copies all that came.
    header = request.META.get("HTTP_IF_NONE_MATCH")
    if header is None:
        return False
    return header.strip() == "*" or etag.strip('"') in ENTITY_TAG.findall(header)


def conditional_response(request, body: bytes, etag: str) -> HttpResponse:
    """The answer to a GET or HEAD of what has this body: 200, or 304."""
    if not_modified(request, etag):
        response = HttpResponse(status=304)
        del response["Content-Type"]
        response["Content-Length"] = 0
    else:
        content = b"" if request.method == "HEAD" else body
        response = HttpResponse(content, content_type="application/json")
        response["Content-Length"] = len(body)
    response["ETag"] = etag
    response["Cache-Control"] = "private, no-cache"
    patch_vary_headers(response, ("Authorization", "Cookie"))
    return response


def matches(request, version: int) -> bool:
    """Whether `If-Match`, if given, allows to write over this version of a record."""
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return True
    tags = ENTITY_TAG.findall(header)
    if not tags:
        raise ValidationError(
            {"If-Match": ErrorDetail('Give an ETag, such as "3-1f2e".', "invalid")}
        )
    return str(version) in {tag.partition("-")[0] for tag in tags}
