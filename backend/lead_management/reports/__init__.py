"""The reports that there are, by name. Each is a declaration in a module of its own."""

from collections.abc import Iterable

from .activity import ActivityPerPerson
from .forecast import Forecast
from .funnel import Funnel
from .period import Preset
from .pipelines import Pipelines
from .question import PeriodParameters, Question
from .report import PeriodSerializer, Report, made_from
from .sources import Sources
from .untouched import Untouched

__all__ = [
    "REPORTS",
    "PeriodParameters",
    "PeriodSerializer",
    "Preset",
    "Question",
    "Report",
    "dashboard",
    "made_from",
    "reports_for",
]

REPORTS: dict[str, type[Report]] = {
    report.name: report
    for report in (Funnel, Sources, Pipelines, Forecast, ActivityPerPerson, Untouched)
}


def reports_for(asked: Question) -> list[type[Report]]:
    """The reports that answer a question, as far as whoever asks has them."""
    return [
        report
        for report in REPORTS.values()
        if report.is_for(asked.user)
        and (report.shows_owners(asked.user) or not asked.is_by_owner)
    ]


def dashboard(asked: Question, reports: Iterable[Report]) -> dict:
    """The answers of several reports as one, by their names."""
    answers = {report.name: report.kept() for report in reports}
    return {"period": asked.period.told(), **answers}
