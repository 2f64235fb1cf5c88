"""What Celery runs for people. A message that was lost is asked for once more.

Importing the letters and services registers them, and the handlers of their jobs.
"""

from celery import shared_task

from user_management import letters, limits, services, sessions  # noqa: F401


@shared_task
def forget_attempts() -> None:
    limits.forget()


@shared_task
def end_sessions() -> None:
    """Every few hours: remove sessions that ran out, and what is noted of them."""
    sessions.forget()
