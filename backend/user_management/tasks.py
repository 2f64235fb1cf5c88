"""What Celery runs for people. A message that was lost is asked for once more.

Importing the services registers the handlers of their jobs.
"""

from celery import shared_task

from user_management import letters, limits, services


@shared_task
def send_password_reset(email: str, link: str) -> None:
    services.send_password_reset(email, link)


@shared_task
def send_letter(pk: str) -> None:
    letters.send(pk)


@shared_task
def send_letters() -> None:
    """Every few seconds: what no worker was told of, or no mail server took."""
    letters.send_due()


@shared_task
def forget_attempts() -> None:
    limits.forget()
