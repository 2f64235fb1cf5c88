from contextlib import contextmanager
from unittest import mock

from core import jobs
from core.redis import Rest


@contextmanager
def broker_away():
    """Nobody can be told of a job; afterwards the broker is there at once."""
    with (
        mock.patch.object(jobs, "_broker_rest", Rest()),
        mock.patch("core.jobs.current_app") as app,
    ):
        app.connection_for_write.side_effect = OSError
        yield
