"""What runs by itself: the table that Beat reads, and its pages."""

from datetime import timedelta
from unittest import mock

from celery.beat import Service
from django.contrib import admin
from django.test import TestCase
from django.utils import timezone
from django.utils.module_loading import import_string
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

from backend.celery import app
from core.schedule import Scheduler
from core.testing import make_role, make_user
from user_management.tests.test_admin import AdminTestCase

PAGES = "/admin/django_celery_beat/periodictask/"
SWEEP = {
    "task": "core.tasks.sweep",
    "schedule": timedelta(seconds=5),
    "options": {"expire_seconds": 30},
}
FORGET = {
    "task": "user_management.tasks.forget_attempts",
    "schedule": timedelta(hours=1),
}


def start_beat(schedule: dict | None = None) -> Scheduler:
    """Beat's scheduler, as it starts with these settings; by default with ours."""
    named = app.conf.beat_schedule if schedule is None else schedule
    with mock.patch.dict(app.conf.beat_schedule, named, clear=True):
        return Service(app, scheduler_cls=app.conf.beat_scheduler).get_scheduler()


def put_by_hand(name: str, **values) -> PeriodicTask:
    interval = IntervalSchedule.objects.create(every=7, period="minutes")
    values = {"task": "core.tasks.sweep", "interval": interval, **values}
    return PeriodicTask.objects.create(name=name, **values)


def rows() -> dict[str, tuple]:
    """By name, what the table says: the task, how often, and how long it may wait."""
    return {
        row.name: (row.task, row.schedule.run_every, row.expire_seconds)
        for row in PeriodicTask.objects.select_related("interval")
    }


class BeatMixin:
    def setUp(self):
        # A test is one transaction, and Beat would close its connection.
        patch = mock.patch("django_celery_beat.schedulers.close_old_connections")
        patch.start()
        self.addCleanup(patch.stop)
        super().setUp()


class BeatTests(BeatMixin, TestCase):
    def test_the_table_says_what_the_settings_say(self):
        beat = start_beat()
        expected = {
            name: (
                entry["task"],
                entry["schedule"],
                entry.get("options", {}).get("expire_seconds"),
            )
            for name, entry in app.conf.beat_schedule.items()
        }
        self.assertIn("end_sessions", expected)
        self.assertEqual(rows(), expected)
        self.assertEqual(set(beat.schedule), set(expected))

    def test_each_of_them_is_a_task_that_runs(self):
        for name, entry in app.conf.beat_schedule.items():
            with self.subTest(name):
                task = import_string(entry["task"])
                self.assertEqual(task.name, entry["task"])
                task()

    def test_what_was_changed_is_set_right_and_when_it_ran_is_kept(self):
        start_beat({"sweep": SWEEP})
        ran = timezone.now() - timedelta(days=1)
        other = put_by_hand("other").interval
        PeriodicTask.objects.filter(name="sweep").update(
            task="core.tasks.nothing",
            interval=other,
            expire_seconds=None,
            last_run_at=ran,
            total_run_count=12,
        )
        start_beat({"sweep": SWEEP})
        sweep = PeriodicTask.objects.get(name="sweep")
        self.assertEqual(
            rows()["sweep"], ("core.tasks.sweep", timedelta(seconds=5), 30)
        )
        self.assertEqual((sweep.last_run_at, sweep.total_run_count), (ran, 12))
        slower = {**SWEEP, "schedule": timedelta(minutes=1), "options": {}}
        start_beat({"sweep": slower})
        self.assertEqual(
            rows()["sweep"], ("core.tasks.sweep", timedelta(minutes=1), None)
        )

    def test_what_the_settings_name_no_more_leaves_and_what_is_by_hand_stays(self):
        start_beat({"sweep": SWEEP, "old": SWEEP, "older": FORGET})
        put_by_hand("by hand")
        put_by_hand("with words", description="Every seven minutes")
        beat = start_beat({"sweep": SWEEP})
        self.assertEqual(set(rows()), {"sweep", "by hand", "with words"})
        self.assertEqual(set(beat.schedule), {"sweep", "by hand", "with words"})

    def test_a_beat_that_runs_drops_what_another_took_away(self):
        running = start_beat({"sweep": SWEEP, "old": SWEEP})
        self.assertEqual(set(running.schedule), {"sweep", "old"})
        start_beat({"sweep": SWEEP})
        self.assertEqual(set(running.schedule), {"sweep"})
        running.sync()
        self.assertEqual(set(rows()), {"sweep"})


class PeriodicTaskAdminTests(BeatMixin, AdminTestCase):
    def setUp(self):
        super().setUp()
        start_beat({"sweep": SWEEP, "forget": FORGET})
        self.sweep = PeriodicTask.objects.get(name="sweep")
        PeriodicTask.objects.filter(pk=self.sweep.pk).update(total_run_count=4711)
        self.path = f"{PAGES}{self.sweep.pk}/change/"

    def test_whoever_runs_the_organization_sees_what_runs_and_when_it_ran(self):
        listed = self.page(PAGES)
        names = [task.name for task in listed.context["cl"].result_list]
        self.assertEqual(names, ["forget", "sweep"])
        self.assertContains(listed, "every 5 seconds")
        self.assertContains(listed, "4711")
        found = self.page(f"{PAGES}?q=attempts").context["cl"].result_list
        self.assertEqual([task.name for task in found], ["forget"])
        page = self.page(self.path)
        self.assertContains(page, "core.tasks.sweep")
        self.assertContains(page, "every 5 seconds")
        self.assertContains(self.page("/admin/"), PAGES)

    def test_nobody_adds_changes_deletes_or_runs_one(self):
        before = list(PeriodicTask.objects.order_by("pk").values())
        self.assertEqual(self.page(PAGES).context["action_form"], None)
        for path in ("add/", f"{self.sweep.pk}/delete/"):
            self.page(f"{PAGES}{path}", 403)
        filled = {"name": "mine", "task": "core.tasks.sweep", "enabled": ""}
        for path, body in (
            (f"{PAGES}add/", filled),
            (self.path, filled),
            (f"{PAGES}{self.sweep.pk}/delete/", {"post": "yes"}),
        ):
            with self.subTest(path):
                self.assertEqual(self.client.post(path, body).status_code, 403)
        for action in (
            *("delete_selected", "run_tasks", "disable_tasks"),
            *("enable_tasks", "toggle_tasks"),
        ):
            with self.subTest(action):
                body = {"action": action, "_selected_action": [self.sweep.pk]}
                self.client.post(PAGES, {**body, "post": "yes"})
        self.assertEqual(list(PeriodicTask.objects.order_by("pk").values()), before)

    def test_others_do_not_see_them(self):
        role = make_role(
            self.organization, "own", {}, organization={"view": "all", "edit": "own"}
        )
        clerk = make_user(self.organization, "clerk", role, is_staff=True)
        for user in (self.reader, self.seller, clerk):
            self.client.force_login(user)
            for path in (PAGES, self.path, f"{PAGES}{self.sweep.pk}/history/"):
                with self.subTest(f"{user}: {path}"):
                    self.page(path, 403)
            self.assertNotContains(self.page("/admin/"), PAGES)

    def test_the_kinds_of_schedules_have_no_pages_of_their_own(self):
        kinds = (ClockedSchedule, CrontabSchedule, IntervalSchedule, SolarSchedule)
        for model in kinds:
            self.assertFalse(admin.site.is_registered(model), model)
