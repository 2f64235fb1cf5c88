"""The reports that there are, by name. Each is a declaration in a module of its own."""

from .activity import ActivityPerPerson
from .forecast import Forecast
from .funnel import Funnel
from .pipelines import Pipelines
from .question import PeriodParameters, Question
from .report import PeriodSerializer, Report
from .sources import Sources
from .untouched import Untouched

__all__ = ["REPORTS", "PeriodParameters", "PeriodSerializer", "Question", "Report"]

REPORTS: dict[str, type[Report]] = {
    report.name: report
    for report in (Funnel, Sources, Pipelines, Forecast, ActivityPerPerson, Untouched)
}
