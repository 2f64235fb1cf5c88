"""CSV out, row by row."""

import csv
import io
from collections.abc import Iterable, Iterator

from core.models.values import to_json
from core.renderers import dumps

# Spreadsheets run a cell that begins with one of these.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def lines(columns: list[str], batches: Iterable[list[dict]]) -> Iterator[str]:
    """The header, and then each batch of rows, of which one is in memory at a time."""
    yield _text([columns])
    for batch in batches:
        yield _text([[cell(row[name]) for name in columns] for row in batch])


def cell(value) -> str:
    """What a cell shows: objects as JSON, and no formulas."""
    if value is None or value == {}:
        return ""
    if isinstance(value, dict):
        return dumps(value).decode()
    text = str(to_json(value))
    return f"'{text}" if text.startswith(FORMULA) else text


def _text(rows) -> str:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue()
