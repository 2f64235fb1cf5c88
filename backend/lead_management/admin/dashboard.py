"""The reports as charts, on the front page of the admin."""

import datetime
import json
from collections.abc import Iterator
from decimal import Decimal

from django.contrib import admin, messages
from rest_framework.exceptions import APIException

from core import cache
from core.problems import sentences
from core.renderers import dumps
from lead_management.models import Activity, Lead
from lead_management.reports import (
    REPORTS,
    PeriodParameters,
    Preset,
    Question,
    dashboard,
    made_from,
    reports_for,
)

admin.site.index_template = "lead_management/admin/dashboard.html"

# Not all time, which takes the longest: this page is on the way to others.
DEFAULT = Preset.THIS_QUARTER
NOBODY = "nobody"
TEXT = "#9ca3af"  # read on light and on dark, as unfold's own charts have it
STRONG, LIGHT = "var(--color-primary-600)", "var(--color-primary-300)"
# Of the kinds of activities, next to each other in one bar.
SHADES = [f"var(--color-primary-{shade})" for shade in (800, 600, 400, 300, 200)]


def front_page(request, context: dict) -> dict:
    """What unfold asks for to show the front page.

    Everybody on the staff has the reports that the API gives them.
    """
    parameters = request.GET.dict() or {"period": DEFAULT.value}
    try:
        asked = question(request.user, parameters)
    except APIException as error:
        for sentence in sentences(error):
            messages.error(request, sentence)
        parameters = {"period": DEFAULT.value}
        asked = question(request.user, parameters)
    cards = [
        card
        for name, figures in told(asked).items()
        if name in REPORTS
        for card in CARDS[name](REPORTS[name].title, figures)
    ]
    periods = [
        {
            "title": preset.label.capitalize(),
            "link": f"?period={preset}",
            "active": preset == parameters.get("period"),
        }
        for preset in Preset
    ]
    return {**context, "cards": cards, "periods": periods}


def question(user, parameters: dict) -> Question:
    asked = PeriodParameters(data=parameters)
    asked.is_valid(raise_exception=True)
    return Question.of(user, asked.validated_data)


def told(asked: Question) -> dict:
    """The dashboard of the API, kept as that is."""
    reports = reports_for(asked)
    types, depends_on = made_from(asked, reports)
    answer = cache.kept(
        asked.user.organization_id,
        types,
        f"admin: {depends_on}",
        lambda: dumps(dashboard(asked, [report(asked) for report in reports])),
    )
    return json.loads(answer)


# Each report as cards, which have a chart and the same figures as a table.


def card(title: str, chart: dict, headers: list[str], rows: list[list]) -> dict:
    shown = [[f"{c:,}" if isinstance(c, int) else c for c in row] for row in rows]
    return {"title": title, "chart": chart, "headers": headers, "rows": shown}


def funnel(title: str, figures: dict) -> Iterator[dict]:
    steps, ends = figures["steps"], figures["ends"]
    chart = bars(
        [label(step) for step in steps],
        {"Leads that reached it": [step["reached"] for step in steps]},
    )
    rows = [
        [
            label(step),
            step["reached"],
            percent(step["of_all"]),
            percent(step["of_previous"]),
            step["now"],
            length(step["average_seconds"]),
        ]
        for step in steps
    ]
    rows += [
        [
            label(end),
            end["now"],
            percent(end["of_all"]),
            "",
            end["now"],
            length(end["average_seconds"]),
        ]
        for end in ends
    ]
    headers = ["Status", "Reached", "Of all", "Of step before", "Now", "Average time"]
    yield card(title, chart, headers, rows)


def sources(title: str, figures: dict) -> Iterator[dict]:
    rows = figures["sources"]
    names = [row["lead_source"].replace("_", " ") or "unknown" for row in rows]
    chart = bars(
        names,
        {
            "Leads": [row["leads"] for row in rows],
            "Converted": [row["converted"] for row in rows],
        },
    )
    currencies = sorted({w["currency"] for row in rows for w in row.get("won", ())})
    table = []
    for name, row in zip(names, rows, strict=True):
        won = {one["currency"]: one["amount"] for one in row.get("won", ())}
        amounts = [money(won.get(currency, 0)) for currency in currencies]
        shares = [row["leads"], row["converted"], percent(row["rate"])]
        table.append([name, *shares, *amounts])
    won = [f"Won, {currency}" for currency in currencies]
    yield card(title, chart, ["Source", "Leads", "Converted", "Rate", *won], table)


def pipelines(title: str, figures: dict) -> Iterator[dict]:
    for pipeline in figures["pipelines"]:
        stages = [(stage["name"], stage) for stage in pipeline["stages"]]
        heading = f"{title}: {pipeline['name']}"
        yield from values(heading, "Stage", stages, with_time=True)


def forecast(title: str, figures: dict) -> Iterator[dict]:
    months = [(month_name(month["month"]), month) for month in figures["months"]]
    yield from values(title, "Month", months)


def values(title: str, what: str, totals: list, with_time=False) -> Iterator[dict]:
    """A card for each currency of these totals; one that counts where there is none.

    Args:
        totals: pairs of a name and what `sums.totals` tells.
        with_time: whether they tell how long deals were there.
    """
    names = [name for name, _ in totals]
    told = [{one["currency"]: one for one in t.get("sums", ())} for _, t in totals]
    times = [[length(t["average_seconds"])] if with_time else [] for _, t in totals]
    time = ["Average time"] if with_time else []
    currencies = sorted(set().union(*told))
    if not currencies:
        deals = [total["deals"] for _, total in totals]
        rows = [[n, d, *t] for n, d, t in zip(names, deals, times, strict=True)]
        yield card(title, bars(names, {"Deals": deals}), [what, "Deals", *time], rows)
    for currency in currencies:
        series = {
            kind.capitalize(): [Decimal(t.get(currency, {}).get(kind, 0)) for t in told]
            for kind in ("amount", "weighted")
            if any(kind in t.get(currency, ()) for t in told)
        }
        rows = [
            [name, *map(money, amounts), *t]
            for name, t, *amounts in zip(names, times, *series.values(), strict=True)
        ]
        chart = bars(names, {name: [*map(float, s)] for name, s in series.items()})
        yield card(f"{title}, {currency}", chart, [what, *series, *time], rows)


def activity(title: str, figures: dict) -> Iterator[dict]:
    people = figures["people"]
    names = [name_of(row["person"]) for row in people]
    kinds = {
        kind.label: [row["kinds"][kind.value] for row in people]
        for kind in Activity.Kind
    }
    further = {
        header: name
        for header, name in (("Minutes", "minutes"), ("Tasks done", "tasks_done"))
        if all(name in row for row in people)
    }
    rows = [
        [
            name,
            *(counts[n] for counts in kinds.values()),
            *(people[n][key] for key in further.values()),
        ]
        for n, name in enumerate(names)
    ]
    headers = ["Person", *kinds, *further]
    yield card(title, bars(names, kinds, stacked=True), headers, rows)


def untouched(title: str, figures: dict) -> Iterator[dict]:
    title = f"{title} for {figures['days']} days"
    # Whoever does not see the owners sees how many there are of all.
    rows = figures.get("people") or [{"person": None, **figures}]
    names = [name_of(row["person"]) for row in rows]
    if "people" not in figures:
        names = ["all"]
    chart = bars(
        names,
        {
            "Spoken to before": [row["leads"] - row["never"] for row in rows],
            "Never": [row["never"] for row in rows],
        },
        stacked=True,
    )
    table = [
        [
            name,
            row["leads"],
            row["never"],
            (row["longest_since"] or "").partition("T")[0],
        ]
        for name, row in zip(names, rows, strict=True)
    ]
    yield card(title, chart, ["Owner", "Leads", "Never spoken to", "Since"], table)


CARDS = {
    "funnel": funnel,
    "sources": sources,
    "pipelines": pipelines,
    "forecast": forecast,
    "activity": activity,
    "untouched": untouched,
}


def bars(labels: list[str], series: dict[str, list], stacked=False) -> dict:
    """A bar chart, as unfold's component takes it.

    Args:
        series: the values of each label, by the name of the series.
    """
    colors = [STRONG, LIGHT] if len(series) <= 2 else SHADES
    sets = [
        {"label": name, "data": values, "backgroundColor": color}
        for (name, values), color in zip(series.items(), colors, strict=False)
    ]
    axis = {"stacked": stacked, "ticks": {"color": TEXT}}
    options = {
        "animation": False,
        "responsive": True,
        "maintainAspectRatio": False,
        "maxBarThickness": 32,
        "plugins": {
            "legend": {
                "align": "end",
                "labels": {"boxHeight": 8, "boxWidth": 8, "color": TEXT},
            }
        },
        "scales": {
            "x": {**axis, "grid": {"display": False}},
            "y": {**axis, "beginAtZero": True, "grid": {"tickWidth": 0}},
        },
    }
    data = {"labels": labels, "datasets": sets}
    return {"data": json.dumps(data), "options": json.dumps(options)}


def label(row: dict) -> str:
    return Lead.Status(row["status"]).label


def month_name(first_day: str | None) -> str:
    return f"{datetime.date.fromisoformat(first_day):%b %Y}" if first_day else "no date"


def name_of(person: dict | None) -> str:
    return (person["name"] or str(person["id"])) if person else NOBODY


def money(amount: Decimal | str | int) -> str:
    return f"{Decimal(amount):,.2f}"


def percent(part: float | None) -> str:
    return "" if part is None else f"{part:.1%}"


def length(seconds: float | None) -> str:
    """How long it is, in the two largest units of it."""
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min"
