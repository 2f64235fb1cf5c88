"""The WSGI application that Gunicorn serves: `gunicorn backend.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings")

application = get_wsgi_application()
# Views are loaded by the first request if nobody does it before: it should not wait.
get_resolver().url_patterns  # noqa: B018
