"""What an import remembers of the rows before: whose record they made, in which line.

It stands in a small database beside the file, so that memory does not grow with the
file. A chunk that is done again, because its worker died, must not meet what its first
try left there: all is noted under the position of its chunk, and forgotten with it.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import NamedTuple

from core.renderers import dumps

_AT_ONCE = 500


class Memo(NamedTuple):
    """`line`: the first that meant the record; `state`: what a trial made of it."""

    line: int
    state: bytes | None


class Memory:
    """By identity: the first line of the file, and the record as the last line left it.

    Args:
        position: where the next chunk begins; what is noted from there on never was.
    """

    def __init__(self, path: str | PathLike[str], position: int) -> None:
        self.store = sqlite3.connect(path, isolation_level=None, cached_statements=8)
        self.store.execute("PRAGMA journal_mode=WAL")
        self.store.execute("PRAGMA synchronous=NORMAL")
        self.store.execute(
            "CREATE TABLE IF NOT EXISTS memo (key BLOB, position INTEGER, line INTEGER,"
            " state BLOB, PRIMARY KEY (key, position)) WITHOUT ROWID"
        )
        self.store.execute("DELETE FROM memo WHERE position >= ?", (position,))

    def recall(self, identities: Iterable[tuple]) -> dict[tuple, Memo]:
        by_key = {_key(identity): identity for identity in identities}
        keys = list(by_key)
        found: dict[tuple, Memo] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = self.store.execute(
                "SELECT key, line, state FROM memo"  # noqa: S608
                f" WHERE key IN ({marks}) ORDER BY key, position",
                some,
            )
            for key, line, state in rows:
                identity = by_key[key]
                first = found[identity].line if identity in found else line
                found[identity] = Memo(first, state)
        return found

    def note(
        self, position: int, memos: Mapping[tuple, tuple[int, dict | None]]
    ) -> None:
        """Remember, of a chunk, by identity: the line, and the state in a trial."""
        rows = [
            (_key(identity), position, line, None if state is None else dumps(state))
            for identity, (line, state) in memos.items()
        ]
        self.store.execute("BEGIN")
        self.store.executemany("INSERT OR REPLACE INTO memo VALUES (?, ?, ?, ?)", rows)
        self.store.execute("COMMIT")

    def close(self) -> None:
        self.store.close()


def _key(identity: tuple) -> bytes:
    return hashlib.blake2b(repr(identity).encode(), digest_size=12).digest()
