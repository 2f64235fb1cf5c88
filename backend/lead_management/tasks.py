"""What Celery runs for leads. A run that was lost is made up for by the next."""

from celery import shared_task

from lead_management import reminders


@shared_task
def remind_of_dates() -> None:
    """Every minute: follow-ups and tasks that came due."""
    reminders.remind_of_dates()


@shared_task
def remind_of_silence() -> None:
    """Every hour: leads that nobody touched for long."""
    reminders.remind_of_silence()
