"""What Celery runs: the handlers of jobs are found in these modules."""

from contact_management import services  # noqa: F401
