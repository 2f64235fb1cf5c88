import os
import shutil
import tempfile
import time
import uuid
from datetime import timedelta
from pathlib import Path
from unittest import mock

from django.db import transaction
from django.test import TestCase, override_settings
from django.utils import timezone

from contact_management.models import Contact
from core import jobs, tasks
from core.exporting.job import file_of as exported_file_of
from core.models import ChangeSet, Heartbeat, IdempotencyKey, Job, Organization, Upload
from core.purge import purge_rows_of_jobs
from core.redis import Rest
from core.testing import Cast, client_of, system_changes

HOUR = 3600


class Making(jobs.JobHandler):
    """Makes as many contacts as asked, one in each chunk."""

    cleaned: list = []

    def __init__(self, job):
        self.owner = job.owner

    def step(self, job):
        job.total = job.params["count"]
        if job.done < job.total:
            self.before(job)
            with ChangeSet.open(
                actor=job.owner, source=ChangeSet.Source.SYSTEM
            ) as changes:
                changes.save(Contact(), last_name=f"King {job.done}")
            self.after(job)
            job.done += 1
        return job.done >= job.total

    def before(self, job):
        """For a test to interfere."""

    def after(self, job):
        """For a test to interfere."""

    @staticmethod
    def clean_up(job):
        Making.cleaned.append((job.pk, job.status))


class JobTestCase(TestCase):
    def assertTold(self, send, job):
        """A worker was told once, of this job, and nobody waits for the broker."""
        (call,) = send.call_args_list
        self.assertEqual(call.args, ((str(job.pk),),))
        self.assertIs(call.kwargs["retry"], False)
        options = call.kwargs["producer"].connection.transport_options
        self.assertEqual(options["socket_timeout"], 0.15)

    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        self.enterContext(mock.patch.object(jobs, "_broker_rest", Rest()))
        Making.cleaned = []
        handlers = mock.patch.dict(jobs.HANDLERS, {"making": Making})
        handlers.start()
        self.addCleanup(handlers.stop)
        self.alice = client_of(self.cast.alice)

    def submit(self, user=None, count=3, **fields) -> Job:
        user = user or self.cast.alice
        return jobs.submit(
            Job(
                organization=user.organization,
                owner=user,
                kind="making",
                params={"count": count},
                **fields,
            )
        )

    def update(self, job, **values):
        Job.objects.filter(pk=job.pk).update(**values)

    def names(self):
        return sorted(Contact.objects.values_list("last_name", flat=True))

    def ago(self, seconds):
        return timezone.now() - timedelta(seconds=seconds)

    def interfere(self, name, function):
        patch = mock.patch.object(Making, name, function)
        patch.start()
        self.addCleanup(patch.stop)


class RunTests(JobTestCase):
    def test_a_job_goes_from_queued_to_done(self):
        job = self.submit()
        self.assertEqual((job.status, job.started_at), ("queued", None))
        self.assertIs(jobs.run(job.pk), False)
        job.refresh_from_db()
        self.assertEqual((job.status, job.done, job.total), ("done", 3, 3))
        self.assertIsNotNone(job.started_at)
        self.assertIsNotNone(job.finished_at)
        self.assertEqual((job.lease, job.lease_until), (None, None))
        self.assertEqual(self.names(), ["King 0", "King 1", "King 2"])
        self.assertEqual(Making.cleaned, [(job.pk, "done")])

    def test_a_job_that_ended_is_not_run_again(self):
        job = self.submit()
        jobs.run(job.pk)
        self.assertIs(jobs.run(job.pk), False)
        self.assertEqual(len(self.names()), 3)

    def test_a_slice_of_time_ends_with_a_chunk_and_lets_go(self):
        job = self.submit()
        self.assertIs(jobs.run(job.pk, seconds=-1), True)
        job.refresh_from_db()
        self.assertEqual((job.status, job.done, job.lease), ("running", 1, None))
        self.assertIsNone(job.finished_at)
        self.assertIs(jobs.run(job.pk, seconds=-1), True)
        self.assertIs(jobs.run(job.pk, seconds=-1), False)
        self.assertEqual(self.names(), ["King 0", "King 1", "King 2"])

    def test_a_job_that_does_not_exist_is_nothing_to_do(self):
        self.assertIs(jobs.run(uuid.uuid4()), False)

    # Leases

    def test_while_one_worker_has_the_job_a_second_gets_nothing(self):
        seconds = []
        self.interfere("before", lambda self, job: seconds.append(jobs.run(job.pk)))
        job = self.submit()
        jobs.run(job.pk)
        self.assertEqual(seconds, [False] * 3)
        self.assertEqual(self.names(), ["King 0", "King 1", "King 2"])

    def test_a_job_is_left_alone_until_its_lease_is_over(self):
        job = self.submit()
        lease = jobs._claim(job.pk)
        self.assertIsNotNone(lease)
        self.assertIs(jobs.run(job.pk), False)
        self.assertEqual(self.names(), [])
        self.update(job, lease_until=self.ago(1))
        jobs.run(job.pk)
        self.assertEqual(len(self.names()), 3)

    def test_a_worker_that_was_given_up_writes_nothing_more(self):
        job = self.submit()
        old = jobs._claim(job.pk)
        self.update(job, lease_until=self.ago(1))
        new = jobs._claim(job.pk)
        with self.assertRaises(jobs.LeaseLost), transaction.atomic():
            jobs._locked(job.pk, old)
        with transaction.atomic():
            self.assertEqual(jobs._locked(job.pk, new).pk, job.pk)

    def test_a_worker_whose_job_was_taken_over_between_chunks_stops(self):
        elsewhere = uuid.uuid4()

        def run_and_lose(job_id):
            """The first chunk commits; then, as in a long pause, another takes over."""
            real = jobs._locked

            def locked(job_id, lease):
                job = real(job_id, lease)
                if job.done == 1:
                    self.update(job, lease=elsewhere)
                    return real(job_id, lease)
                return job

            with mock.patch.object(jobs, "_locked", locked):
                return jobs.run(job_id)

        job = self.submit()
        self.assertIs(run_and_lose(job.pk), False)
        self.assertEqual(self.names(), ["King 0"])
        job.refresh_from_db()
        self.assertEqual((job.status, job.done), ("running", 1))
        self.assertEqual(Making.cleaned, [])

    def test_the_failure_of_a_worker_that_was_given_up_does_not_count(self):
        job = self.submit()
        old = jobs._claim(job.pk)
        self.update(job, lease_until=self.ago(1))
        jobs._claim(job.pk)
        jobs._fail(job.pk, old, {"code": "x", "detail": "x", "line": None})
        job.refresh_from_db()
        self.assertEqual((job.status, job.error), ("running", None))
        self.assertEqual(Making.cleaned, [])

    # Failing

    def test_a_chunk_that_fails_leaves_nothing_and_is_tried_again(self):
        def crash_once(handler, job):
            if job.done == 1 and not crashes:
                crashes.append(job.done)
                raise ConnectionError("The network is away.")

        crashes = []
        self.interfere("after", crash_once)
        job = self.submit()
        with self.assertLogs("core.jobs", "ERROR"):
            self.assertIs(jobs.run(job.pk), False)
        job.refresh_from_db()
        self.assertEqual((job.status, job.done, job.lease), ("running", 1, None))
        self.assertEqual(self.names(), ["King 0"])
        jobs.run(job.pk)
        self.assertEqual(self.names(), ["King 0", "King 1", "King 2"])
        job.refresh_from_db()
        self.assertEqual((job.status, job.attempts), ("done", 0))

    def test_a_job_that_always_fails_is_given_up(self):
        def crash(handler, job):
            raise ConnectionError("The network is away.")

        self.interfere("before", crash)
        job = self.submit()
        with self.assertLogs("core.jobs", "ERROR"):
            for _ in range(jobs.MAX_ATTEMPTS):
                self.assertIs(jobs.run(job.pk), False)
                job.refresh_from_db()
                self.assertEqual(job.status, "running")
        self.assertIs(jobs.run(job.pk), False)
        job.refresh_from_db()
        self.assertEqual((job.status, job.error["code"]), ("failed", "internal_error"))
        self.assertNotIn("network", job.error["detail"])
        self.assertIsNotNone(job.finished_at)
        self.assertEqual(self.names(), [])
        self.assertEqual(Making.cleaned, [(job.pk, "failed")])

    def test_workers_that_die_at_a_chunk_again_and_again_are_enough_too(self):
        job = self.submit()
        for _ in range(jobs.MAX_ATTEMPTS):
            self.assertIsNotNone(jobs._claim(job.pk))
            self.update(job, lease_until=self.ago(1))
        jobs.run(job.pk)
        job.refresh_from_db()
        self.assertEqual((job.status, job.error["code"]), ("failed", "internal_error"))

    def test_attempts_count_from_the_last_chunk_that_succeeded(self):
        job = self.submit(count=jobs.MAX_ATTEMPTS * 2)
        for _ in range(jobs.MAX_ATTEMPTS * 2):
            jobs.run(job.pk, seconds=-1)
        job.refresh_from_db()
        self.assertEqual((job.status, job.done), ("done", job.total))

    def test_what_cannot_be_done_fails_at_once_with_its_reason(self):
        def refuse(handler, job):
            if job.done == 1:
                raise jobs.JobFailed("too_sad", "It cannot be done.", line=7)

        self.interfere("after", refuse)
        job = self.submit()
        self.assertIs(jobs.run(job.pk), False)
        shown = self.alice.get(f"/api/jobs/{job.pk}/").json()
        self.assertEqual(shown["status"], "failed")
        self.assertEqual(
            shown["error"],
            {"code": "too_sad", "detail": "It cannot be done.", "line": 7},
        )
        self.assertEqual(self.names(), ["King 0"])
        self.assertEqual(Making.cleaned, [(job.pk, "failed")])

    def test_the_owners_rights_count_as_they_are_now(self):
        job = self.submit()
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.alice, is_active=False)
        with self.assertLogs("core.jobs", "ERROR"):
            jobs.run(job.pk)
        self.assertEqual(self.names(), [])


class CancelTests(JobTestCase):
    def cancel(self, job, user=None, **headers):
        client = client_of(user or self.cast.alice)
        return client.post(f"/api/jobs/{job.pk}/cancel/", **headers)

    def test_a_waiting_job_is_cancelled_at_once(self):
        job = self.submit()
        answer = self.cancel(job)
        self.assertEqual(
            (answer.status_code, answer.json()["status"]), (200, "cancelled")
        )
        self.assertIs(jobs.run(job.pk), False)
        self.assertEqual(self.names(), [])
        job.refresh_from_db()
        self.assertIsNotNone(job.finished_at)

    def test_a_job_at_work_stops_after_its_chunk(self):
        def cancel_first(handler, job):
            if job.done == 0:
                self.update(job, cancel_requested=True)
                job.cancel_requested = True

        self.interfere("after", cancel_first)
        job = self.submit()
        self.assertIs(jobs.run(job.pk), False)
        job.refresh_from_db()
        self.assertEqual((job.status, job.done), ("cancelled", 1))
        self.assertIsNotNone(job.finished_at)
        self.assertEqual(self.names(), ["King 0"])
        self.assertEqual(Making.cleaned, [(job.pk, "cancelled")])

    def test_a_job_that_a_worker_has_is_only_asked_to_stop(self):
        job = self.submit()
        lease = jobs._claim(job.pk)
        answer = self.cancel(job).json()
        self.assertEqual(
            (answer["status"], answer["cancel_requested"]), ("running", True)
        )
        job.refresh_from_db()
        self.assertEqual(job.lease, lease)

    def test_a_job_whose_worker_died_is_cancelled_at_once(self):
        job = self.submit()
        lease = jobs._claim(job.pk)
        self.update(job, lease_until=self.ago(1))
        self.assertEqual(self.cancel(job).json()["status"], "cancelled")
        with self.assertRaises(jobs.LeaseLost), transaction.atomic():
            jobs._locked(job.pk, lease)

    def test_what_ended_cannot_be_cancelled(self):
        job = self.submit()
        jobs.run(job.pk)
        answer = self.cancel(job)
        self.assertEqual(
            (answer.status_code, answer.json()["code"]), (409, "not_active")
        )
        job.refresh_from_db()
        self.assertEqual((job.status, job.cancel_requested), ("done", False))

    def test_a_dry_run_cancels_nothing(self):
        job = self.submit()
        answer = self.alice.post(f"/api/jobs/{job.pk}/cancel/?dry_run=true")
        self.assertEqual(answer.json()["status"], "cancelled")
        job.refresh_from_db()
        self.assertEqual((job.status, job.cancel_requested), ("queued", False))

    def test_a_repeated_cancel_with_a_key_gives_the_first_answer(self):
        job = self.submit()
        first = self.cancel(job, HTTP_IDEMPOTENCY_KEY="k")
        again = self.cancel(job, HTTP_IDEMPOTENCY_KEY="k")
        self.assertEqual((again.status_code, again.content), (200, first.content))


class VisibilityTests(JobTestCase):
    def test_jobs_are_seen_by_whoever_asked_for_them(self):
        mine, theirs = self.submit(), self.submit(self.cast.stranger)
        listed = self.alice.get("/api/jobs/").json()
        self.assertEqual([j["id"] for j in listed["results"]], [str(mine.pk)])
        missing = self.alice.get(f"/api/jobs/{uuid.uuid4()}/")
        for method, suffix in (("get", ""), ("get", "errors/"), ("post", "cancel/")):
            with self.subTest(suffix):
                answer = getattr(self.alice, method)(f"/api/jobs/{theirs.pk}/{suffix}")
                self.assertEqual(answer.status_code, 404)
                self.assertEqual(answer.content, missing.content)
        theirs.refresh_from_db()
        self.assertEqual((theirs.status, theirs.cancel_requested), ("queued", False))

    def test_jobs_of_other_organizations_are_not_there(self):
        job = self.submit(self.cast.carol)
        self.assertEqual(self.alice.get(f"/api/jobs/{job.pk}/").status_code, 404)
        self.assertEqual(self.alice.get("/api/jobs/").json()["count"], 0)

    def test_anonymous_is_refused(self):
        job = self.submit()
        nobody = client_of(None)
        for answer in (
            nobody.get("/api/jobs/"),
            nobody.get(f"/api/jobs/{job.pk}/"),
            nobody.post(f"/api/jobs/{job.pk}/cancel/"),
        ):
            self.assertEqual(answer.status_code, 401)
        job.refresh_from_db()
        self.assertEqual(job.status, "queued")

    def test_jobs_are_filtered_by_status_and_paged_by_cursor(self):
        made = [self.submit() for _ in range(3)]
        jobs.run(made[0].pk)
        done = self.alice.get("/api/jobs/", {"status": "done"}).json()
        self.assertEqual([j["id"] for j in done["results"]], [str(made[0].pk)])
        page = self.alice.get("/api/jobs/", {"cursor": "", "page_size": 2}).json()
        seen = [j["id"] for j in page["results"]]
        rest = self.alice.get(page["next"]).json()
        seen += [j["id"] for j in rest["results"]]
        self.assertEqual(seen, [str(j.pk) for j in reversed(made)])


class WakeTests(JobTestCase):
    def test_a_worker_is_told_after_the_commit_and_not_before(self):
        with mock.patch.object(tasks.run_job, "apply_async") as send:
            with self.captureOnCommitCallbacks(execute=True):
                job = self.submit()
                send.assert_not_called()
            self.assertTold(send, job)

    def test_nobody_is_told_about_what_was_rolled_back(self):
        with (
            mock.patch.object(tasks.run_job, "apply_async") as send,
            self.captureOnCommitCallbacks(execute=True),
            transaction.atomic(),
        ):
            self.submit()
            transaction.set_rollback(True)
        send.assert_not_called()
        self.assertFalse(Job.objects.exists())

    def test_a_broker_that_is_away_costs_only_time(self):
        broken = mock.patch.object(
            tasks.run_job, "apply_async", side_effect=ConnectionError("refused")
        )
        with (
            broken,
            self.assertLogs("core.jobs", "WARNING"),
            self.captureOnCommitCallbacks(execute=True),
        ):
            job = self.submit()
        self.assertEqual(jobs.due(), [])
        self.update(job, sent_at=self.ago(jobs.RESEND_SECONDS + 1))
        self.assertEqual(jobs.due(), [job.pk])

    def test_a_waiting_job_is_due_once_in_a_while(self):
        job = self.submit()
        self.assertEqual(jobs.due(), [])
        self.update(job, sent_at=self.ago(jobs.RESEND_SECONDS + 1))
        self.assertEqual(jobs.due(), [job.pk])
        self.assertEqual(jobs.due(), [])
        self.update(job, sent_at=None)
        self.assertEqual(jobs.due(), [job.pk])

    def test_a_job_is_due_when_its_worker_died_and_not_while_it_works(self):
        job = self.submit(count=1)
        jobs._claim(job.pk)
        long_ago = self.ago(HOUR)
        self.update(job, sent_at=long_ago)
        self.assertEqual(jobs.due(), [])
        self.update(job, lease_until=self.ago(1))
        self.assertEqual(jobs.due(), [job.pk])
        jobs.run(job.pk)
        self.update(job, sent_at=long_ago)
        self.assertEqual(jobs.due(), [])

    def test_jobs_are_due_in_the_order_they_were_asked_for(self):
        made = [self.submit() for _ in range(3)]
        Job.objects.update(sent_at=self.ago(HOUR))
        self.assertEqual(jobs.due(), [job.pk for job in made])

    def test_the_task_queues_a_long_job_up_again(self):
        job = self.submit()
        with (
            mock.patch.object(tasks.run_job, "apply_async") as send,
            mock.patch.object(jobs.run, "__defaults__", (-1,)),
        ):
            tasks.run_job(str(job.pk))
            self.assertTold(send, job)
            tasks.run_job(str(job.pk))
            tasks.run_job(str(job.pk))
        self.assertEqual(send.call_count, 2)
        job.refresh_from_db()
        self.assertEqual(job.status, "done")


class PurgeTests(JobTestCase):
    def ended(self, days, count=1) -> Job:
        job = self.submit()
        Job.objects.filter(pk=job.pk).update(
            status="done", finished_at=self.ago(days * 24 * HOUR)
        )
        for line in range(count):
            job.errors.create(line=line, code="invalid", row=["Ada", "ada@example"])
            job.skips.create(line=line, reason="duplicate")
        return job

    def left(self, *jobs) -> list[tuple[int, int]]:
        return [(job.errors.count(), job.skips.count()) for job in jobs]

    def test_rows_that_jobs_could_not_do_are_kept_as_long_as_deleted_records(self):
        old, young, active = self.ended(31), self.ended(29), self.ended(31)
        Job.objects.filter(pk=active.pk).update(status="running", finished_at=None)
        tasks.purge_deleted()
        self.assertEqual(self.left(old, young, active), [(0, 0), (1, 1), (1, 1)])
        self.assertEqual(Job.objects.count(), 3)
        with system_changes(self.cast.organization) as changes:
            changes.save(
                Organization.objects.get(pk=self.cast.organization.pk),
                purge_after_days=28,
            )
        tasks.purge_deleted()
        self.assertEqual(self.left(young, active), [(0, 0), (1, 1)])

    def test_their_batches_are_bounded(self):
        job = self.ended(31, count=3)
        purge = purge_rows_of_jobs
        organization, now = self.cast.organization, timezone.now()
        self.assertEqual(purge(organization, now, limit=2), 4)
        self.assertEqual(self.left(job), [(1, 1)])
        self.assertEqual(purge(self.cast.other_organization, now), 0)
        self.assertEqual(purge(organization, now), 2)


class SweepTests(JobTestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        media = override_settings(MEDIA_ROOT=folder)
        media.enable()
        self.addCleanup(media.disable)
        self.uploads = Path(folder) / "imports"
        self.uploads.mkdir()

    def upload(self, name, age=0) -> Path:
        path = self.uploads / str(name)
        path.write_text("email\n")
        moment = time.time() - age
        os.utime(path, (moment, moment))
        return path

    def test_a_sweep_leaves_a_heartbeat(self):
        Heartbeat.objects.create(name=tasks.WORKER, at=self.ago(HOUR))
        tasks.sweep()
        self.assertGreater(Heartbeat.objects.get(name=tasks.WORKER).at, self.ago(60))

    def test_a_sweep_wakes_a_worker_for_each_waiting_job(self):
        job, busy = self.submit(), self.submit()
        jobs._claim(busy.pk)
        Job.objects.update(sent_at=self.ago(HOUR))
        with mock.patch.object(tasks.run_job, "apply_async") as send:
            tasks.sweep()
            tasks.sweep()
        self.assertTold(send, job)

    def test_what_goes_by_itself_meanwhile_does_not_end_a_sweep(self):
        """A link to nothing is listed, and is not there to be looked at."""
        folders = {
            self.uploads,
            exported_file_of("any").parent,
            Upload(pk="any").path.parent,
        }
        self.assertEqual(len(folders), 3)
        left = []
        for folder in folders:
            folder.mkdir(exist_ok=True)
            (folder / "gone").symlink_to(folder / "nowhere")
            left += [folder / "a", folder / "z"]
        for path in left:
            path.touch()
            os.utime(path, (0, 0))
        tasks.sweep()
        self.assertFalse([path for path in left if path.exists()])

    def test_a_sweep_forgets_old_idempotency_keys(self):
        def key(name, hours):
            IdempotencyKey.objects.create(
                user=self.cast.alice, key=name, created_at=self.ago(hours * HOUR)
            )

        key("old", 49)
        key("young", 47)
        tasks.sweep()
        self.assertEqual(IdempotencyKey.objects.get().key, "young")

    def test_a_sweep_removes_old_files_that_no_job_waits_for(self):
        done = self.submit()
        jobs.run(done.pk)
        active = self.submit()
        day = 24 * HOUR
        gone = [self.upload(done.pk, day + 60), self.upload(uuid.uuid4(), day + 60)]
        kept = [
            self.upload(active.pk, day + 60),
            self.upload(uuid.uuid4(), day - 60),
        ]
        tasks.sweep()
        self.assertEqual([path.exists() for path in gone], [False, False])
        self.assertEqual([path.exists() for path in kept], [True, True])

    def test_a_sweep_is_not_stopped_by_a_file_that_is_none_of_ours(self):
        self.upload(".gitkeep", 25 * HOUR)
        orphan = self.upload(uuid.uuid4(), 25 * HOUR)
        tasks.sweep()
        self.assertFalse(orphan.exists())

    def test_a_sweep_needs_no_folder_of_uploads(self):
        self.uploads.rmdir()
        tasks.sweep()
        self.assertTrue(Heartbeat.objects.exists())
