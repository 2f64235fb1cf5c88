"""Which files in PROMETHEUS_MULTIPROC_DIR a process counts in.

prometheus_client names the files by process id, so that each process that ever lived
leaves some: a Gunicorn that renews its workers leaves thousands a day, and each look at
/metrics reads them all. Here a process takes the lowest slot that no other one holds,
and goes on counting where the last holder ended. A slot is held by a lock on a file,
which ends with the process in whatever way that ends; so no hook of a server is needed,
and any number of servers and workers can share a folder.
"""

import fcntl
import os
from itertools import count
from pathlib import Path

FOLDER = os.environ.get("PROMETHEUS_MULTIPROC_DIR")

_slot = ""
_lock = None  # the file whose lock says that the slot is ours


def slot() -> str:
    """The slot of this process, taken at the first call, and anew after a fork."""
    return _slot or _take()


def _take() -> str:
    global _slot, _lock
    for number in count():
        file = open(Path(FOLDER) / f"slot-{number}.lock", "w")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            _slot, _lock = str(number), file
            break
    return _slot


def _forget() -> None:
    """What a parent holds, its child does not."""
    global _slot, _lock
    _slot, _lock = "", None


os.register_at_fork(after_in_child=_forget)
