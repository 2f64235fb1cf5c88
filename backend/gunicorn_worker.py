"""A worker of Gunicorn that stays until those that take its place can answer, and
begins nothing for those who have gone.

On SIGHUP Gunicorn tells the old workers to end at the moment that it starts new ones,
which need seconds to load MyCRM; and one that has answered `max_requests` it replaces
only when that has ended. Until the new one can answer nobody would.

This stands beside gunicorn.conf.py, not in it: Gunicorn reads that once more on each
SIGHUP, and what old and new workers share must stay the same.
"""

import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing import Value
from queue import SimpleQueue
from threading import Thread

from gunicorn.workers.gthread import ThreadWorker

# Gunicorn numbers workers as it starts them.
newest_started = Value("i", 0)
newest_ready = Value("i", 0)

# One that never gets ready keeps nobody longer than this; graceful_timeout is more.
PATIENCE_SECONDS = 25

# Nobody gives up a request before.
NOTICEABLE_SECONDS = 0.1

# Linux tells when the other end has closed, even while there is still to read from it.
GONE = getattr(select, "POLLRDHUP", 0)


def pre_fork(server, worker) -> None:
    newest_started.value = worker.age
    cores = own_cores(os.environ.get("WEB_SHARE", ""))
    worker.core = None
    if len(cores) == server.cfg.workers:
        taken = [sibling.core for sibling in server.WORKERS.values()]
        worker.core = min(cores, key=taken.count)


def post_fork(server, worker) -> None:
    if worker.core is not None:
        os.sched_setaffinity(0, {worker.core})


def own_cores(share: str) -> list[int]:
    """The cores that one of several servers of a machine has for itself, if told.

    A process of Python is at work on one core at a time. Where its threads hand over to
    each other from core to core an answer from the cache takes a quarter longer.

    Args:
        share: such as 1/2 for the first of two; blank where others that nobody knows
            of may choose the same.
    """
    if not share or not hasattr(os, "sched_getaffinity"):
        return []
    number, count = map(int, share.split("/"))
    cores = sorted(os.sched_getaffinity(0))
    return cores[(number - 1) * len(cores) // count : number * len(cores) // count]


def post_worker_init(worker) -> None:
    # Nothing of what is loaded by now is garbage ever, but each full collection would
    # go through all of it, and stop every request of the process for that long.
    gc.collect()
    gc.freeze()
    newest_ready.value = max(newest_ready.value, worker.age)


class Threads:
    """What Gunicorn uses of an executor, without what it does not use.

    Futures, and the locks of each, take longer than all else that a small answer takes
    between two threads.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.waiting: SimpleQueue = SimpleQueue()
        for _ in range(count):
            Thread(target=self._work, daemon=True).start()

    def submit(self, function: Callable, *arguments) -> None:
        self.waiting.put((function, arguments))

    def shutdown(self, wait: bool) -> None:
        """Let the threads end after what waits now; nobody asks to wait for that."""
        for _ in range(self.count):
            self.waiting.put(None)

    def _work(self) -> None:
        while task := self.waiting.get():
            function, arguments = task
            function(*arguments)


class Outcome:
    """What Gunicorn asks of a future that is done."""

    goes_on = False
    error: BaseException | None = None

    def cancelled(self) -> bool:
        return False

    def result(self):
        if self.error:
            raise self.error
        return self.goes_on


class PatientWorker(ThreadWorker):
    leave_by = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # By itself it would end at once.
        self.replaced_after, self.max_requests = self.max_requests, sys.maxsize

    def get_thread_pool(self):
        return Threads(self.cfg.threads)

    def enqueue_req(self, conn):
        conn.waits_since = time.monotonic()
        self.tpool.submit(self._answer, conn)

    def _answer(self, conn) -> None:
        outcome = Outcome()
        try:
            outcome.goes_on = self.handle(conn)
        except BaseException as error:
            outcome.error = error
        self.method_queue.defer(self.finish_request, conn, outcome)

    def handle(self, conn):
        """Called in a thread for a request, however long that waited for one.

        Where more is asked than can be answered, clients and Nginx give up, and ask
        again. If all that nobody waits for any more were done first, every request
        would come too late. To look takes a third of what Gunicorn needs for a request,
        as other threads go on meanwhile; so it is done where somebody may have gone.
        """
        waited = time.monotonic() - conn.waits_since
        if waited > NOTICEABLE_SECONDS and is_gone(conn.sock):
            return False
        return super().handle(conn)

    def handle_exit(self, sig, frame):
        if self.is_replaced_soon():
            self.leave_by = time.monotonic() + PATIENCE_SECONDS
        else:
            super().handle_exit(sig, frame)

    def notify(self):
        """Called each second, and after whatever happens."""
        super().notify()
        if self.nr >= self.replaced_after:
            self.log.info("Asking for new workers after %s requests.", self.nr)
            self.replaced_after = sys.maxsize
            os.kill(self.ppid, signal.SIGHUP)
        if self.leave_by is None:
            return
        if not self.is_replaced_soon() or time.monotonic() > self.leave_by:
            self.leave_by = None
            super().handle_exit(None, None)

    def is_replaced_soon(self) -> bool:
        return newest_started.value > max(self.age, newest_ready.value)


def is_gone(client: socket.socket) -> bool:
    """Whether the other end has closed the connection."""
    poll = select.poll()
    poll.register(client, GONE)
    return bool(poll.poll(0))
