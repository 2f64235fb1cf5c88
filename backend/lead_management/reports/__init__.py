"""The reports that there are, by name. Each is a declaration in a module of its own."""

from collections.abc import Iterable

from orjson import Fragment

from core import access, cache
from core.renderers import dumps

from .activity import ActivityPerPerson
from .forecast import Forecast
from .funnel import Funnel
from .period import Preset
from .pipelines import Pipelines
from .question import PeriodParameters, Question
from .report import PeriodSerializer, Report
from .sources import Sources
from .untouched import Untouched

__all__ = [
    "REPORTS",
    "PeriodParameters",
    "PeriodSerializer",
    "Preset",
    "Question",
    "Report",
    "answer_of",
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


def made_from(asked: Question, reports: Iterable[type[Report]]) -> tuple[set[str], str]:
    """The versions that answers are made from, and what else they depend on."""
    user = asked.user
    types = set().union(*(report.record_types() for report in reports))
    # People are named, and who is on which team decides what is seen.
    people = {user.record_type(), "team"}
    keys = [
        f"{name}: {access.visibility_key(user, name)}"
        for name in sorted(types | people)
    ]
    names = people.union(*(report.made_from() for report in reports))
    return names, "; ".join([*keys, asked.key])


def answer_of(report: type[Report], asked: Question) -> Fragment:
    """What a report tells, as JSON; worked out only if what it is made from is new."""
    names, depends_on = made_from(asked, [report])
    answer = cache.kept_part(
        asked.user.organization_id,
        names,
        f"report {report.name}: {depends_on}",
        lambda: dumps(report(asked).answer()),
    )
    return Fragment(answer)


def dashboard(asked: Question, reports: Iterable[type[Report]]) -> dict:
    """The answers of several reports as one, by their names."""
    answers = {report.name: answer_of(report, asked) for report in reports}
    return {"period": asked.period.told(), **answers}
