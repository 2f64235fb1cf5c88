"""Reading tables of any format that people export from other programs.

Nothing here knows what the rows mean. A file is first looked at with `detect`, then
gone through as a whole with `copy_rows`, and only then are `copied_rows` used, so that
a broken file is refused before anything of it is.

Each format has a module with `detect` and `data_rows`; what a file is, its first bytes
tell.
"""

import os
from collections.abc import Callable, Iterator
from itertools import islice

import orjson

from core.importing import delimited, vcard, workbook
from core.importing.table import Layout, Row, UnreadableFile

COPIED_ROWS = 2000  # at a time: no more than a second's work

FORMATS = {"csv": delimited, "xlsx": workbook, "vcard": vcard}


def detect(
    path: str | os.PathLike[str],
    is_known: Callable[[str], bool] = lambda name: False,
    encoding: str = "",
    sheet: str = "",
) -> Layout:
    """Find out how a file is written, and what its columns are called.

    Args:
        is_known: whether a text is the known name of a column: the header is told from
            the lines before it by that.
        encoding: of a text file, where the caller knows better.
        sheet: of a workbook; the first one that holds something if not given.

    Raises:
        UnreadableFile: as the format's own `detect` says; and not_a_workbook where a
            sheet is asked for that a text file cannot have.
    """
    if workbook.is_one(path):
        if encoding:
            raise UnreadableFile(
                "unknown_encoding", "A workbook has no encoding to choose."
            )
        return workbook.detect(path, is_known, sheet)
    if sheet:
        raise UnreadableFile("unknown_sheet", "This file is no workbook.")
    if vcard.is_one(path):
        return vcard.detect(path, encoding)
    return delimited.detect(path, is_known, encoding)


SAMPLED_ROWS = 200


def sampled_rows(
    path: str | os.PathLike[str], layout: Layout
) -> tuple[list[Row], UnreadableFile | None]:
    """The first data rows, and the fault that ended them if one did."""
    rows: list[Row] = []
    try:
        rows.extend(islice(read_rows(path, layout), SAMPLED_ROWS))
    except UnreadableFile as fault:
        return rows, fault
    return rows, None


def copy_rows(
    path: str | os.PathLike[str], layout: Layout, copy: str | os.PathLike[str]
) -> Iterator[tuple[int, bool]]:
    """Read the whole file strictly, and write its rows down for `copied_rows`.

    The copy has its name once it is whole. Who stopped in the middle goes on there at
    once: of a workbook that cannot be done, of other formats it takes long. Rows with
    fewer or more cells than the header are rows like any other.

    Yields:
        After some rows each time, how many there are so far, and whether that is all.

    Raises:
        UnreadableFile: any fault of the file, with its line.
    """
    rows = read_rows(path, layout)
    count = 0
    part = f"{os.fspath(copy)}.part"
    with open(part, "wb") as file:
        while some := list(islice(rows, COPIED_ROWS)):
            file.writelines(
                orjson.dumps([*row], option=orjson.OPT_APPEND_NEWLINE) for row in some
            )
            count += len(some)
            yield count, False
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, copy)
    yield count, True


def copied_rows(copy: str | os.PathLike[str], skip: int = 0) -> Iterator[Row]:
    """The rows that `copy_rows` wrote down, without the first `skip` of them."""
    with open(copy, "rb") as file:
        for line in islice(file, skip, None):
            yield Row(*orjson.loads(line))


def read_rows(path: str | os.PathLike[str], layout: Layout) -> Iterator[Row]:
    """Yield the data rows.

    Cells are as written, neither stripped nor padded. Lines that are empty or hold
    nothing but spaces are not rows.

    Raises:
        UnreadableFile: while iterating, exactly where `copy_rows` raises it.
    """
    return FORMATS[layout.format].data_rows(path, layout)
