"""Files in the data folder that were left behind."""

import shutil
import time
from contextlib import suppress
from pathlib import Path


def untouched(folder: Path, seconds: float) -> list[Path]:
    """What stands in a folder and was not written to for so long.

    Other workers write and remove there meanwhile: what goes by itself is no error.
    """
    limit = time.time() - seconds
    found = []
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < limit:
                found.append(path)
    return found


def remove(path: Path) -> None:
    """Remove a file, or a folder with all in it, if it is still there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
