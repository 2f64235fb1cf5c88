"""What /metrics tells, to whom, and how several processes count in one folder."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from unittest import mock, skipUnless

from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils import timezone

from contact_management.models import Tag
from core import cache, jobs
from core.metrics import figures, measures
from core.models import ChangeSet, Figure, Heartbeat, Job
from core.redis import rest
from core.tasks import count_figures
from core.testing import Cast, client_of, system_changes

CONTACTS = "/api/contacts/"


class MetricsTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        # Of all tests before: telling and reading those takes seconds.
        measures.REQUESTS.clear()
        measures.REQUEST_SECONDS.clear()
        self.alice = client_of(self.cast.alice)

    def samples(self) -> dict[str, float]:
        """What /metrics tells now: each line's name and labels, and its number."""
        answer = self.client.get("/metrics")
        self.assertEqual(answer.status_code, 200)
        lines = answer.content.decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def difference(self, before: dict, name: str) -> float:
        return self.samples().get(name, 0.0) - before.get(name, 0.0)


class RequestTests(MetricsTestCase):
    def test_a_request_is_counted_by_its_route_and_timed(self):
        before = self.samples()
        self.alice.get(CONTACTS)
        self.alice.get(f"{CONTACTS}?page=1")
        route = 'method="GET",route="/api/contacts/"'
        self.assertEqual(
            self.difference(before, f'mycrm_requests_total{{{route},status="200"}}'), 2
        )
        name = f"mycrm_request_seconds_count{{{route}}}"
        self.assertEqual(self.difference(before, name), 2)

    def test_no_label_is_made_by_a_client(self):
        before = self.samples()
        self.alice.get(f"{CONTACTS}01890000-0000-7000-8000-000000000000/")
        self.client.get("/nowhere/ada@example.com/")
        self.client.generic("BREW", "/api/health/live/")
        with self.assertLogs("django.security.DisallowedHost", "ERROR"):
            self.client.get("/api/health/live/", headers={"host": "ada.example.com"})
        counted = self.samples().items() - before.items()
        new = " ".join(name for name, _ in counted)
        self.assertIn('route="/api/contacts/<uuid:pk>/",status="404"', new)
        self.assertIn('method="GET",route="none",status="404"', new)
        self.assertIn('method="other",route="/api/health/live/",status="405"', new)
        self.assertIn('route="none",status="400"', new)
        self.assertNotRegex(new, "01890000|BREW|ada")

    def test_queries_and_their_errors_are_counted(self):
        before = self.samples()
        with connection.cursor() as cursor:
            for _ in range(3):
                cursor.execute("SELECT 1")
            with self.assertRaises(DatabaseError), transaction.atomic():
                cursor.execute("SELECT nothing FROM nowhere")
        after = self.samples()
        errors = {
            name: after[name] - before.get(name, 0)
            for name in after
            if name.startswith("mycrm_database_errors_total")
        }
        self.assertEqual(sum(errors.values()), 1)
        name = "mycrm_database_query_seconds_count"
        self.assertGreaterEqual(after[name] - before[name], 4)


@mock.patch("core.metrics.middleware.exposition", lambda: b"")
class AccessTests(TestCase):
    def status(self, **meta) -> int:
        return self.client.get("/metrics", **meta).status_code

    def test_only_this_machine_reads_it_and_through_no_proxy(self):
        for meta, status in (
            ({}, 200),
            ({"REMOTE_ADDR": "::1"}, 200),
            ({"REMOTE_ADDR": ""}, 200),  # a socket of this machine
            ({"HTTP_HOST": "10.0.0.7:8000"}, 200),
            ({"REMOTE_ADDR": "10.0.0.7"}, 404),
            ({"REMOTE_ADDR": "203.0.113.9"}, 404),
            ({"REMOTE_ADDR": "nonsense"}, 404),
            ({"HTTP_X_FORWARDED_FOR": "127.0.0.1"}, 404),
            ({"HTTP_FORWARDED": "for=127.0.0.1"}, 404),
            ({"HTTP_X_REAL_IP": "127.0.0.1"}, 404),
            ({"HTTP_AUTHORIZATION": "Bearer ", "REMOTE_ADDR": "203.0.113.9"}, 404),
        ):
            with self.subTest(meta):
                self.assertEqual(self.status(**meta), status)

    @override_settings(METRICS_NETWORKS=["10.0.0.0/8"])
    def test_networks_can_be_named(self):
        self.assertEqual(self.status(REMOTE_ADDR="10.0.0.7"), 200)
        self.assertEqual(self.status(REMOTE_ADDR="192.168.0.7"), 404)

    @override_settings(METRICS_TOKEN="a-token", METRICS_NETWORKS=[])
    def test_the_token_opens_it_from_anywhere(self):
        far = {"REMOTE_ADDR": "203.0.113.9", "HTTP_X_FORWARDED_FOR": "203.0.113.9"}
        for sent, status in (
            ("Bearer a-token", 200),
            ("Bearer a-toke", 404),
            ("Bearer ä", 404),
            ("a-token", 404),
        ):
            with self.subTest(sent):
                self.assertEqual(self.status(HTTP_AUTHORIZATION=sent, **far), status)


class QueueTests(MetricsTestCase):
    def job(self, seconds_ago: float, **fields) -> Job:
        return Job.objects.create(
            organization=self.cast.organization,
            kind="export",
            created_at=timezone.now() - timedelta(seconds=seconds_ago),
            **fields,
        )

    def test_waiting_jobs_are_told_with_the_age_of_the_oldest(self):
        self.job(300)
        self.job(60)
        self.job(900, status=Job.Status.RUNNING)
        self.job(900, status=Job.Status.DONE)
        samples = self.samples()
        self.assertEqual(samples['mycrm_waiting{queue="job_export"}'], 2)
        self.assertEqual(samples['mycrm_waiting{queue="jobs"}'], 2)
        age = samples['mycrm_oldest_waiting_seconds{queue="jobs"}']
        self.assertEqual(round(age, -2), 300)
        self.assertEqual(samples['mycrm_jobs_running{kind="export"}'], 1)
        self.assertEqual(samples["mycrm_jobs_stalled"], 0)

    def test_a_job_whose_worker_was_lost_is_told(self):
        past = timezone.now() - timedelta(seconds=1)
        self.job(60, status=Job.Status.RUNNING, lease_until=past)
        self.assertEqual(self.samples()["mycrm_jobs_stalled"], 1)

    def test_letters_that_wait_are_told(self):
        self.assertEqual(self.samples()['mycrm_waiting{queue="letters"}'], 0)

    def test_the_age_of_a_heartbeat_grows_while_no_worker_lives(self):
        at = timezone.now() - timedelta(seconds=500)
        Heartbeat.objects.create(name="worker", at=at)
        age = self.samples()['mycrm_heartbeat_age_seconds{name="worker"}']
        self.assertEqual(round(age, -2), 500)

    def test_without_the_database_the_rest_is_told(self):
        away = OperationalError("no database")
        with mock.patch("core.metrics.gauges.Heartbeat.objects.all", side_effect=away):
            samples = self.samples()
        self.assertEqual(samples["mycrm_database_up"], 0)
        self.assertEqual(samples["mycrm_broker_up"], 1)
        self.assertEqual(self.samples()["mycrm_database_up"], 1)

    def test_without_the_broker_the_rest_is_told(self):
        with mock.patch("core.metrics.gauges.current_app.connection_for_read") as away:
            away.side_effect = OSError("no broker")
            samples = self.samples()
        self.assertEqual(samples["mycrm_broker_up"], 0)
        self.assertEqual(samples["mycrm_database_up"], 1)

    def test_a_job_that_ends_is_counted_and_timed_once(self):
        class Handler(jobs.JobHandler):
            def step(self, job):
                return True

        before = self.samples()
        with mock.patch.dict(jobs.HANDLERS, {"export": Handler}):
            job = self.job(10)
            jobs.run(job.pk)
            jobs.run(job.pk)
        name = 'mycrm_jobs_total{kind="export",status="done"}'
        self.assertEqual(self.difference(before, name), 1)
        name = 'mycrm_job_seconds_count{kind="export"}'
        self.assertEqual(self.difference(before, name), 1)


class BusinessTests(MetricsTestCase):
    def make(self, model=Tag, **fields):
        record = model()
        with system_changes(self.cast.organization) as changes:
            changes.save(record, **fields)
        return record

    def test_records_are_counted_by_a_task_and_told_until_the_next(self):
        gone = self.make(name="gone")
        self.make(name="kept")
        with system_changes(self.cast.organization) as changes:
            changes.delete(gone)
        Figure.objects.create(name="mycrm_records", label="what_was_once", value=3)
        count_figures()
        self.make(name="later")
        samples = self.samples()
        self.assertEqual(samples['mycrm_records{record_type="tag"}'], 1)
        self.assertNotIn("what_was_once", " ".join(samples))
        self.assertIn('mycrm_heartbeat_age_seconds{name="figures"}', samples)
        count_figures()
        self.assertEqual(self.samples()['mycrm_records{record_type="tag"}'], 2)

    def test_every_figure_can_be_counted(self):
        count_figures()
        told = {name.partition("{")[0] for name in self.samples()}
        self.assertLessEqual({"mycrm_records"}, told)
        self.assertEqual(
            figures.FIGURES.keys(), {"mycrm_records", "mycrm_leads", "mycrm_deals"}
        )

    def test_changes_are_counted_when_they_are_committed(self):
        before = self.samples()
        with self.captureOnCommitCallbacks(execute=True):
            self.make(name="one")
            self.make(name="two")
        name = 'mycrm_changes_total{record_type="tag",verb="create"}'
        self.assertEqual(self.difference(before, name), 2)

    def test_what_is_only_tried_is_no_change(self):
        before = self.samples()
        with (
            self.captureOnCommitCallbacks(execute=True),
            ChangeSet.open(
                organization=self.cast.organization, source="system", trial=True
            ) as changes,
        ):
            changes.save(Tag(), name="tried")
        name = 'mycrm_changes_total{record_type="tag",verb="create"}'
        self.assertEqual(self.difference(before, name), 0)


class CacheTests(TransactionTestCase):
    samples = MetricsTestCase.samples

    def setUp(self):
        self.cast = Cast()
        self.enterContext(mock.patch.object(rest, "until", 0.0))

    def looks(self, action) -> dict[str, float]:
        """How often which result came while this was done."""
        before = self.samples()
        action()
        after = self.samples()
        pattern = re.compile(r'mycrm_cache_reads_total\{result="(\w+)"\}')
        found = {
            m[1]: after[m[0]] - before[m[0]] for m in map(pattern.match, after) if m
        }
        return {result: number for result, number in found.items() if number}

    def find(self):
        return cache.find(self.cast.organization.pk, ["contact"], "a request")

    @skipUnless(settings.REDIS_URL, "needs Redis")
    def test_hits_misses_and_marks_are_told_apart(self):
        self.assertEqual(self.looks(self.find), {"miss": 1})
        cache.store(self.find(), b"answer")
        self.assertEqual(self.looks(self.find), {"hit": 1})
        mark = cache.mark(self.cast.organization.pk, ["contact"])
        self.assertEqual(self.looks(self.find), {"marked": 1})
        cache.lift(mark)
        self.assertEqual(self.looks(self.find), {"miss": 1})

    @override_settings(REDIS_URL="redis://127.0.0.1:1/0")
    def test_a_cache_that_is_away_is_told(self):
        with mock.patch.object(rest, "until", float("inf")):
            self.assertEqual(self.looks(self.find), {"unavailable": 1})

    @override_settings(REDIS_URL="")
    def test_no_cache_is_no_look(self):
        self.assertEqual(self.looks(self.find), {})


COUNTING = """
import sys
from core.metrics import measures, slots
measures.CHANGES.labels("tag", "create").inc()
print(slots.slot(), flush=True)
sys.stdin.read()
"""


class ProcessTests(TestCase):
    """Real processes, as servers start and lose them."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def start(self, code=COUNTING) -> tuple[subprocess.Popen, str]:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", code],
            cwd=settings.BACKEND_DIR,
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(self.folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process, process.stdout.readline().strip()

    def total(self) -> str:
        """What a process that joins the others tells of all of them."""
        code = (
            "from core.metrics import measures\n"
            "from prometheus_client import CollectorRegistry, generate_latest\n"
            "from prometheus_client.multiprocess import MultiProcessCollector\n"
            "registry = CollectorRegistry()\n"
            "MultiProcessCollector(registry)\n"
            "for line in generate_latest(registry).decode().splitlines():\n"
            "    if line.startswith('mycrm_changes_total'):\n"
            "        print(line)\n"
        )
        return self.start(code)[1].rpartition(" ")[2]

    def test_processes_are_added_up_and_those_that_died_are_not_forgotten(self):
        first, slot = self.start()
        self.assertEqual(slot, "0")
        _, slot = self.start()
        self.assertEqual(slot, "1")
        self.assertEqual(self.total(), "2.0")
        first.send_signal(signal.SIGKILL)
        first.wait()
        self.assertEqual(self.total(), "2.0")
        _, slot = self.start()
        self.assertEqual(slot, "0")
        self.assertEqual(self.total(), "3.0")

    def test_however_many_processes_come_and_go_the_files_are_few(self):
        for _ in range(4):
            process, slot = self.start()
            self.assertEqual(slot, "0")
            process.communicate()
        self.assertEqual(len(list(self.folder.glob("counter_*.db"))), 1)

    def test_a_fork_takes_a_slot_of_its_own(self):
        code = (
            "import os\n"
            "from core.metrics import measures, slots\n"
            "mine = slots.slot()\n"
            "reader, writer = os.pipe()\n"
            "if os.fork() == 0:\n"
            "    measures.CHANGES.labels('tag', 'create').inc()\n"
            "    os.write(writer, slots.slot().encode())\n"
            "    os._exit(0)\n"
            "print(mine, os.read(reader, 9).decode(), flush=True)\n"
        )
        self.assertEqual(self.start(code)[1], "0 1")
        self.assertEqual(self.total(), "1.0")
