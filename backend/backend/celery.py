"""The Celery application: `celery --app backend worker`.

A job is a row of the database; a message only wakes a worker. So messages may be
lost or doubled without harm, and the sweep, the one periodic task here, wakes the
workers again for every job that still waits.
"""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings")

app = Celery("backend")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
