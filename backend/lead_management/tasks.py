"""What Celery runs for leads. A run that was lost is made up for by the next.

The handlers of jobs are found in the modules that this one imports.
"""

from celery import shared_task

from lead_management import reminders
from lead_management.reports import mailing
from lead_management.scoring import publication, rescoring, simulation  # noqa: F401


@shared_task
def remind_of_dates() -> None:
    """Every minute: follow-ups and tasks that came due."""
    reminders.remind_of_dates()


@shared_task
def remind_of_silence() -> None:
    """Every hour: leads that nobody touched for long."""
    reminders.remind_of_silence()


@shared_task
def send_reports() -> None:
    """Every minute: the letters of reports whose time has come."""
    mailing.send_due()


@shared_task
def rescore_leads(organization_id: str) -> None:
    """Compute the scores of an organization that are due: something just changed."""
    rescoring.rescore(organization_id)


@shared_task
def rescore_due() -> None:
    """Every few seconds: what time itself changed, and what no worker was told of."""
    for organization_id in rescoring.organizations_due():
        rescoring.rescore(organization_id)


@shared_task
def tidy_scores() -> None:
    """Every few minutes: remove scores of versions that were replaced."""
    rescoring.tidy()
