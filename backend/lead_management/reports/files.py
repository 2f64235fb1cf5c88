"""A report as a file: CSV, an Excel workbook with charts, or a page."""

import io
from decimal import Decimal

from django.template.loader import render_to_string

from core.csvfile import guarded, text_of

from .report import Report
from .table import DAYS, MONEY, NUMBER, SHARE, TEXT, Table

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "xlsx": XLSX, "html": "text/html"}
# Of numbers in a workbook, and in text.
FORMATS = {SHARE: "0.0%", MONEY: "#,##0.00", DAYS: "0.0", NUMBER: "#,##0"}
WRITTEN = {SHARE: ".1%", MONEY: ",.2f", DAYS: ",.1f", NUMBER: ","}
MOST_BARS = 30
BAR_PIXELS = 240


def file_of(report: Report, ending: str) -> tuple[str, bytes, str]:
    """The name, content and media type of a report's file.

    Args:
        ending: one of MEDIA_TYPES.
    """
    make = {"csv": as_csv, "xlsx": as_xlsx, "html": as_page}[ending]
    answer = report.answer()
    name = f"{report.name}-{report.asked.today}.{ending}"
    return name, make(report, report.table(answer)), MEDIA_TYPES[ending]


def as_csv(report: Report, table: Table) -> bytes:
    rows = [[column.title for column in table.columns]]
    rows += [["" if v is None else guarded(str(v)) for v in row] for row in table.rows]
    return text_of(rows).encode()


def as_xlsx(report: Report, table: Table) -> bytes:
    """With each of its charts as Excel's own."""
    # Here, as only who wants a workbook pays for it.
    from xlsxwriter import Workbook

    file = io.BytesIO()
    settings = {"in_memory": True, "strings_to_formulas": False}
    book = Workbook(file, {**settings, "strings_to_urls": False})
    sheet = book.add_worksheet(report.title[:31])
    bold = book.add_format({"bold": True, "bottom": 1})
    formats = {k: book.add_format({"num_format": f}) for k, f in FORMATS.items()}
    for x, column in enumerate(table.columns):
        sheet.write_string(0, x, column.title, bold)
        sheet.set_column(x, x, 24 if column.kind == TEXT else 16)
        for y, row in enumerate(table.rows, 1):
            value = row[x]
            if column.kind == TEXT:
                sheet.write_string(y, x, str(value))
            elif value is not None:
                sheet.write_number(y, x, float(value), formats[column.kind])
    sheet.freeze_panes(1, 0)
    last = len(table.rows)
    # Several columns of text name a row together.
    names = max(x for x, c in enumerate(table.columns[:2]) if c.kind == TEXT)
    for n, x in enumerate(table.bars if last else ()):
        chart = book.add_chart({"type": "bar"})
        chart.add_series(
            {
                "name": [sheet.name, 0, x],
                "categories": [sheet.name, 1, 0, last, names],
                "values": [sheet.name, 1, x, last, x],
                "fill": {"color": "#4338CA"},
            }
        )
        chart.set_title({"name": table.columns[x].title})
        chart.set_legend({"none": True})
        # Excel draws bars from below; a table is read from above.
        chart.set_y_axis({"reverse": True})
        sheet.insert_chart(last + 2 + n * 16, 0, chart)
    book.close()
    return file.getvalue()


def as_page(report: Report, table: Table) -> bytes:
    context = {"subject": report.title, **shown(report, table)}
    return render_to_string("lead_management/report.html", context).encode()


def shown(report: Report, table: Table) -> dict:
    """What the templates of a report tell.

    Bars are cells of tables with a width and a colour: Outlook draws no SVG and no
    styled block, and Gmail takes SVG out of an e-mail.
    """
    period = report.asked.period
    names = [x for x, column in enumerate(table.columns) if column.kind == TEXT][:2]
    if len({row[0] for row in table.rows}) < 2 and len(names) > 1:
        names = names[1:]
    charts = []
    for x in table.bars:
        rows = table.rows[:MOST_BARS]
        most = max((float(row[x] or 0) for row in rows), default=0)
        bars = [
            {
                "name": " · ".join(str(row[n]) for n in names if n < 2),
                "value": written(row[x], table.columns[x].kind),
                "pixels": round(BAR_PIXELS * float(row[x] or 0) / most) if most else 0,
            }
            for row in rows
        ]
        charts.append({"title": table.columns[x].title, "bars": bars})
    return {
        "title": report.title,
        "organization": report.asked.user.organization,
        "period": period.told(),
        "charts": charts,
        "columns": table.columns,
        "rows": [
            [
                (written(value, column.kind), column.kind)
                for value, column in zip(row, table.columns, strict=True)
            ]
            for row in table.rows
        ],
    }


def written(value, kind: str) -> str:
    if value is None:
        return ""
    if kind == MONEY:
        value = Decimal(value)
    return format(value, WRITTEN[kind]) if kind in WRITTEN else str(value)
