"""`Idempotency-Key`: a POST that is repeated gives the first answer, and one effect.

The key's row is written in the transaction of the work itself, so neither can be there
without the other. A second request that comes while the first is still at work waits
for it at the unique index, and is then told the first answer.
"""

import hashlib
import re
from collections.abc import Callable

from django.db import IntegrityError, OperationalError, transaction
from django.http import HttpResponse

from core.exceptions import RETRY_SECONDS, Conflict, bad_parameter
from core.models import IdempotencyKey
from core.renderers import dumps

HEADER = "Idempotency-Key"
KEPT_HEADERS = ("ETag", "Location")
KEPT_HOURS = 48
LOCK_NOT_AVAILABLE = "55P03"  # of PostgreSQL
VALID = re.compile(r"[\x21-\x7e]{1,255}")


class KeyReused(Conflict):
    status_code = 422
    default_code = "idempotency_key_reused"
    default_detail = "This Idempotency-Key came before with another request."


class InFlight(Conflict):
    default_code = "in_flight"
    default_detail = "The first request with this Idempotency-Key is still at work."
    wait = RETRY_SECONDS


def once(request, handler: Callable[[], HttpResponse]) -> HttpResponse:
    """Answer a POST, from memory if its key was answered before.

    Must run in the transaction of the work. A response with a secret in its data, which
    must not be kept, says as its `kept_data` what is given again.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return handler()
    if not VALID.fullmatch(key):
        raise bad_parameter(HEADER, "Give 1 to 255 printable ASCII characters.")
    whose = {"user": request.user, "api_key": request.user.api_key, "key": key}
    mine = IdempotencyKey(fingerprint=fingerprint(request), **whose)
    try:
        with transaction.atomic():
            mine.save(force_insert=True)
    except IntegrityError:
        first = IdempotencyKey.objects.get(**whose)
        if first.fingerprint != mine.fingerprint:
            raise KeyReused() from None
        return replay(first)
    except OperationalError as error:
        if getattr(error.__cause__, "pgcode", None) != LOCK_NOT_AVAILABLE:
            raise
        # The wait for the first request took longer than a lock may.
        raise InFlight() from None
    response = handler()
    mine.status = response.status_code
    mine.headers = {name: response[name] for name in KEPT_HEADERS if name in response}
    mine.body = dumps(getattr(response, "kept_data", response.data))
    mine.save()
    return response


def fingerprint(request) -> str:
    """What makes two requests the same: method, address and body."""
    digest = hashlib.sha256(f"{request.method} {request.get_full_path()}\n".encode())
    if request.FILES:
        for name, values in sorted(request.POST.lists()):
            for value in values:
                digest.update(f"{name}={value}\n".encode())
        for name, files in sorted(request.FILES.lists()):
            for file in files:
                digest.update(f"{name}:{file.name}:{file.size}\n".encode())
                for block in file.chunks():
                    digest.update(block)
                file.seek(0)
    else:
        digest.update(dumps(request.data))
    return digest.hexdigest()


def replay(first: IdempotencyKey) -> HttpResponse:
    response = HttpResponse(
        bytes(first.body), status=first.status, content_type="application/json"
    )
    for name, value in first.headers.items():
        response[name] = value
    response["Idempotency-Replayed"] = "true"
    return response
