"""The WSGI application that Gunicorn serves: `gunicorn backend.wsgi:application`."""

import os
import re

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings")

BOUNDARY = re.compile(r';\s*(boundary=(?:"[^"]*"|[^\s;"]+))', re.IGNORECASE)

django = get_wsgi_application()


def application(environ, start_response):
    """Django, told no more of a Content-Type than where the parts of a form end.

    It reads the other parameters before any of our code runs, fails at those that are
    malformed, and decodes the query by the charset. All that is sent here is UTF-8.
    """
    media_type, mark, parameters = environ.get("CONTENT_TYPE", "").partition(";")
    if mark:
        boundary = BOUNDARY.search(mark + parameters)
        told = f"{media_type}; {boundary[1]}" if boundary else media_type
        environ["CONTENT_TYPE"] = told
    return django(environ, start_response)


# Views are loaded by the first request if nobody does it before: it should not wait.
get_resolver().url_patterns  # noqa: B018
