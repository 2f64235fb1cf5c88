"""The next rows of a file are read while the database takes those before.

Reading and writing take about as long as each other, on a processor each.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import connection

from core.importing.rows import Chunk
from core.importing.table import Row


class DatabaseNeeded(Exception):
    """Rows cannot be read without asking the database."""


class ReadAhead:
    """The rows of a file, some at a time, and the chunk that is read from them.

    Args:
        rows: all of the file, parted.
        read: what makes a chunk of a part.
    """

    def __init__(
        self,
        rows: Iterator[Sequence[Row]],
        read: Callable[[Sequence[Row]], Chunk],
    ) -> None:
        self.rows = rows
        self.read = read
        self.thread = ThreadPoolExecutor(1, "import")
        self.coming: Future | None = None

    def begin(self) -> None:
        """Read the next rows from now on; return at once."""
        if self.coming is None:
            self.coming = self.thread.submit(self._read)

    def take(self) -> tuple[Sequence[Row], Chunk | None]:
        """The next rows, none at the end of the file; and their chunk.

        There is no chunk where the database had to be asked about them: what the job
        has written is seen in its own thread alone until the transaction is over.

        Raises:
            UnreadableFile, FileNotFoundError: the file is not what it was.
        """
        self.begin()
        coming, self.coming = self.coming, None
        return coming.result()

    def close(self) -> None:
        self.thread.shutdown(cancel_futures=True)

    def _read(self) -> tuple[Sequence[Row], Chunk | None]:
        rows = next(self.rows, ())
        try:
            with connection.execute_wrapper(_refuse):
                return rows, self.read(rows)
        except DatabaseNeeded:
            connection.close()
            return rows, None


def _refuse(execute, sql, parameters, many, context):
    raise DatabaseNeeded
