"""What every request gets, API and pages alike."""

import re
import uuid

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
