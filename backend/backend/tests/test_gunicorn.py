"""How Gunicorn's workers share the cores of a machine."""

from types import SimpleNamespace
from unittest import TestCase, mock

import gunicorn_worker


class CoreTests(TestCase):
    def setUp(self):
        cores = mock.patch("os.sched_getaffinity", return_value={2, 3, 5, 7})
        self.enterContext(cores)
        self.pinned = self.enterContext(mock.patch("os.sched_setaffinity"))
        newest = mock.patch.object(gunicorn_worker, "newest_started")
        self.enterContext(newest)

    def cores_of(self, share, siblings, workers):
        """Where a worker beside these siblings is at work; None for anywhere."""
        self.pinned.reset_mock()
        worker = SimpleNamespace(age=9)
        server = SimpleNamespace(
            cfg=SimpleNamespace(workers=workers),
            WORKERS={n: SimpleNamespace(core=core) for n, core in enumerate(siblings)},
        )
        with mock.patch.dict("os.environ", WEB_SHARE=share):
            gunicorn_worker.pre_fork(server, worker)
        gunicorn_worker.post_fork(server, worker)
        return self.pinned.call_args and self.pinned.call_args.args[1]

    def test_each_worker_has_a_core_that_no_other_has(self):
        for share, siblings, workers, core in (
            ("1/1", [], 4, {2}),
            ("1/1", [2, 3], 4, {5}),
            # One that takes the place of another.
            ("1/1", [2, 3, 7], 4, {5}),
            # Before the old ones have gone, there are two for each core.
            ("1/1", [2, 3, 5, 7, 2], 4, {3}),
            ("1/2", [], 2, {2}),
            ("2/2", [5], 2, {7}),
        ):
            with self.subTest(share=share, siblings=siblings):
                self.assertEqual(self.cores_of(share, siblings, workers), core)

    def test_where_there_is_not_one_for_each_none_has_one(self):
        for share, workers in (("", 4), ("1/1", 2), ("1/2", 4), ("1/3", 2)):
            with self.subTest(share=share, workers=workers):
                self.assertIsNone(self.cores_of(share, [], workers))
