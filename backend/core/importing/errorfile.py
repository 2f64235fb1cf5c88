"""The rows that an import refused, as a file that can be mended and imported again."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import PurePath

from core.csvfile import guarded, text_of, without_guard
from core.importing.mapping import ERROR_COLUMNS
from core.job_errors import shown
from core.models import Job

_BATCH = 1000


def name_of(job: Job) -> str:
    return f"{PurePath(job.params['file_name']).stem or 'import'} errors.csv"


def lines(job: Job, user) -> Iterator[str]:
    """CSV: line, code and message of what is wrong, then the row as it was.

    What is wrong stands first, because a row may be longer than its header. The byte
    order mark tells spreadsheets the encoding.
    """
    columns = job.params["layout"]["columns"]
    yield "\ufeff" + text_of([[*ERROR_COLUMNS, *map(guarded, columns)]])
    errors = job.errors.exclude(line=None).order_by("id").iterator(_BATCH)
    for line, of_row in groupby(errors, lambda error: error.line):
        faults = []
        for error in of_row:
            error.job = job
            faults.append({"code": error.code, **shown(error, user)})
        codes = "; ".join(dict.fromkeys(fault["code"] for fault in faults))
        messages = [
            f"{fault['column']}: {fault['message']}"
            if fault["column"]
            else fault["message"]
            for fault in faults
        ]
        cells = [guarded(without_guard(cell)) for cell in faults[0]["row"]]
        yield text_of([[str(line), codes, guarded(" ".join(messages)), *cells]])
