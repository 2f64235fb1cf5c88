"""What every request gets, API and pages alike."""

import logging
import re
import uuid

from django.db import InterfaceError, OperationalError

from core.exceptions import RETRY_SECONDS, Busy
from core.problems import problem_response

logger = logging.getLogger(__name__)

ACCEPTABLE = re.compile(r"[\w.:-]{1,64}", re.ASCII)


class RequestIdMiddleware:
    """Gives each request an id, its caller's if it has a sensible one.

    The id stands in the answer's `X-Request-ID` and in every change set of the request.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        given = request.headers.get("X-Request-ID", "")
        request.id = given if ACCEPTABLE.fullmatch(given) else uuid.uuid4().hex
        response = self.get_response(request)
        response["X-Request-ID"] = request.id
        return response


class BusyMiddleware:
    """A database that is away or locked is 503, outside of the API's own views too."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_exception(self, request, exception):
        if not isinstance(exception, OperationalError | InterfaceError):
            return None
        logger.warning("The database refused: %s", exception)
        detail = str(Busy.default_detail)
        response = problem_response(Busy.status_code, Busy.default_code, detail)
        response["Retry-After"] = str(RETRY_SECONDS)
        return response
