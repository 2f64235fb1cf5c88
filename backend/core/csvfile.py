"""CSV out, row by row."""

import csv
import io
import re
from collections.abc import Iterable, Iterator

from core.models.values import to_json
from core.renderers import dumps

# Spreadsheets run a cell that begins with one of these. Such a cell gets a quote before
# it, and so does one with quotes and then that, so that reading can take one off again.
_STARTS = "=+-@\t\r"
_FORMULA = re.compile(f"'*[{re.escape(_STARTS)}]")
# Nearly no text begins with one of these: no other is looked at closer.
_FIRST = frozenset("'" + _STARTS)


def lines(columns: list[str], batches: Iterable[list[dict]]) -> Iterator[str]:
    """The header, and then each batch of rows, of which one is in memory at a time."""
    yield text_of([columns])
    for batch in batches:
        yield text_of([[cell(row[name]) for name in columns] for row in batch])


def cell(value) -> str:
    """What a cell shows: objects as JSON, and no formulas."""
    if isinstance(value, str):
        return guarded(value)
    if value is None or value == {}:
        return ""
    if isinstance(value, dict):
        return dumps(value).decode()
    return guarded(str(to_json(value)))


def guarded(text: str) -> str:
    """A text that no spreadsheet runs as a formula."""
    return f"'{text}" if text[:1] in _FIRST and _FORMULA.match(text) else text


def without_guard(text: str) -> str:
    """What `guarded` made the text of."""
    return text[1:] if text[:1] == "'" and _FORMULA.match(text) else text


def text_of(rows: Iterable[list[str]]) -> str:
    """Rows of ready cells as CSV."""
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue()
