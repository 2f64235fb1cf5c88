"""What every request gets, API and pages alike."""

import logging
import re
import uuid

from csp.middleware import CSPMiddleware
from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessions
from django.core.exceptions import BadRequest
from django.http import UnreadablePostError
from rest_framework.exceptions import ParseError

from core import origin
from core.exceptions import Busy
from core.parsers import MALFORMED_PART, loads
from core.problems import problem_response, unavailable

logger = logging.getLogger(__name__)

ACCEPTABLE = re.compile(r"[\w.:-]{1,64}", re.ASCII)


class RequestIdMiddleware:
    """Gives each request an id, its caller's if it has a sensible one.

    The id stands in the answer's `X-Request-ID` and in every change set of the request.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request.id = given if ACCEPTABLE.fullmatch(given) else uuid.uuid4().hex
        token = origin.request_now.set(request)
        try:
            response = self.get_response(request)
        finally:
            origin.request_now.reset(token)
        response["X-Request-ID"] = request.id
        return response


class BusyMiddleware:
    """A database that is away or locked is 503, and a full disk 507, everywhere."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_exception(self, request, exception):
        return refusal(exception)


def refusal(exception):
    """The response where the machine refused, not we; None where it did not."""
    error = unavailable(exception)
    if error is None:
        return None
    detail = str(error.detail)
    response = problem_response(error.status_code, error.default_code, detail)
    if isinstance(error, Busy):
        response["Retry-After"] = str(error.wait)
    return response


class SessionMiddleware(DjangoSessions):
    """Knows no session by a cookie that PostgreSQL could not look for.

    In quotes a cookie can spell any character, a NUL too.
    """

    def process_request(self, request):
        name = settings.SESSION_COOKIE_NAME
        if "\0" in request.COOKIES.get(name, ""):
            del request.COOKIES[name]
        super().process_request(request)


class FormMiddleware:
    """Reads a form with files where it can still be told what is wrong with it.

    For pages, and whoever comes with their cookie, Django looks for the token against
    forgery in it before any view is called, and would fail there.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_view(self, request, view, args, kwargs):
        is_page = not request.path_info.startswith("/api/")
        if request.content_type == "multipart/form-data" and (
            is_page or settings.SESSION_COOKIE_NAME in request.COOKIES
        ):
            try:
                request.POST  # noqa: B018 it is read here
            except TypeError:
                raise BadRequest(MALFORMED_PART) from None
            except UnreadablePostError:
                pass  # who sent it has gone
            except OSError as error:
                response = refusal(error)
                if response is None:
                    raise
                return response
        return None


class SignInBodyMiddleware:
    """Holds the bodies of sign-in, whose views are not ours, to the API's own JSON.

    Those would go on with what no password hasher, token or database can take.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_view(self, request, view, args, kwargs):
        if not request.path_info.startswith("/api/auth/") or request.method == "GET":
            return None
        try:
            data = loads(request.body or b"{}")
        except ParseError as error:
            return problem_response(400, error.default_code, str(error.detail))
        if not isinstance(data, dict):
            return problem_response(400, "invalid", "Give an object.")
        return None


class ActorMiddleware:
    """Tells Nginx, for its access log, whose request it was.

    Nginx takes the header off again.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        response["X-Actor"] = " ".join(origin.actor(request)).strip() or "-"
        return response


class PolicyMiddleware(CSPMiddleware):
    """Says on each page where its scripts and styles may come from.

    The admin's library computes what stands in attributes of its pages, for which it
    needs `unsafe-eval`; no other page may.
    """

    def process_response(self, request, response):
        if not response.get("Content-Type", "").startswith("text/html"):
            return response
        if request.path_info.startswith("/admin/"):
            response._csp_update = {
                "script-src": ["'unsafe-eval'", "'unsafe-inline'"],
            }
        return super().process_response(request, response)
