import datetime

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core import notifications
from core.models import Notification, Organization
from core.testing import client_of, make_user, system_changes
from lead_management import reminders
from lead_management.models import Activity, Lead, LeadProcess

from .clock import stopped_at
from .test_lifecycle import DAY, MONDAY, LifecycleTestCase

PATH = "/api/notifications/"
HOUR = datetime.timedelta(hours=1)


class ReminderTestCase(LifecycleTestCase):
    def told(self, client=None) -> list[tuple]:
        """(code, name of the lead) of what the user is told, the newest first."""
        answer = (client or self.alice).get(PATH).json()
        return [(n["code"], n["subject"]["last_name"]) for n in answer["results"]]

    def task(self, lead, **values) -> Activity:
        task = Activity(kind="task", owner=self.cast.alice, lead=lead)
        with system_changes(self.cast.organization) as changes:
            changes.save(task, **values)
        return task


class DateTests(ReminderTestCase):
    def test_a_follow_up_is_told_once_when_it_is_due_and_anew_for_another_moment(self):
        with stopped_at(MONDAY) as clock:
            lead = self.lead(next_follow_up_at=MONDAY + HOUR)
            self.assertEqual(reminders.remind_of_dates(), 0)
            clock.shift(HOUR)
            self.assertEqual(reminders.remind_of_dates(), 1)
            self.assertEqual(reminders.remind_of_dates(), 0)
            with system_changes(self.cast.organization) as changes:
                lead.refresh_from_db()
                changes.save(lead, next_follow_up_at=MONDAY + 2 * HOUR)
            clock.shift(HOUR)
            self.assertEqual(reminders.remind_of_dates(), 1)
        self.assertEqual(self.told(), [("follow_up_due", "Lovelace")] * 2)
        self.assertEqual(self.told(self.manager), [])

    def test_a_task_is_told_at_its_reminder_and_when_it_is_due_until_it_is_done(self):
        with stopped_at(MONDAY) as clock:
            due = {"reminder_at": MONDAY + HOUR, "due_at": MONDAY + 2 * HOUR}
            task = self.task(self.lead(), subject="Write", **due)
            codes = []
            for _ in range(3):
                clock.shift(HOUR)
                reminders.remind_of_dates()
                codes.append([n.code for n in Notification.objects.order_by("pk")])
            with system_changes(self.cast.organization) as changes:
                changes.save(
                    Activity.objects.get(pk=task.pk),
                    done_at=clock.moment,
                    due_at=clock.moment,
                )
            self.assertEqual(reminders.remind_of_dates(), 0)
        both = ["task_reminder", "task_due"]
        self.assertEqual(codes, [both[:1], both, both])
        [_, first] = self.alice.get(PATH).json()["results"]
        self.assertEqual(first["subject_type"], "activity")
        self.assertEqual(first["subject"]["subject"], "Write")
        self.assertEqual(first["at"], "2026-03-02T10:00:00Z")

    def test_nobody_is_told_of_what_is_old_deleted_converted_or_not_wanted(self):
        with stopped_at(MONDAY) as clock:
            at = {"next_follow_up_at": MONDAY - HOUR}
            self.lead(next_follow_up_at=MONDAY - 8 * DAY)
            self.lead(status="converted", **at)
            self.lead(owner=None, **at)
            gone = make_user(
                self.cast.organization, "gone", self.cast.alice.role, is_active=False
            )
            self.lead(owner=gone, **at)
            with system_changes(self.cast.organization) as changes:
                changes.delete(self.lead(**at))
                quiet = {"reminder": {"in_app": False, "email": False}}
                changes.save(self.cast.bob, notifications=quiet)
            self.lead(owner=self.cast.bob, **at)
            self.assertEqual(reminders.remind_of_dates(), 0)
            clock.shift(DAY)
        self.assertFalse(Notification.objects.exists())

    def test_many_are_told_with_as_many_queries_as_few(self):
        counts = []
        for total in (2, 10):
            for _ in range(total):
                self.lead(next_follow_up_at=timezone.now())
            with CaptureQueriesContext(connection) as queries:
                self.assertEqual(reminders.remind_of_dates(), total)
            counts.append(len(queries))
        self.assertEqual(counts[0], counts[1])

    def test_what_was_told_is_not_even_read_again(self):
        for _ in range(3):
            self.lead(next_follow_up_at=timezone.now())
        self.assertEqual(reminders.remind_of_dates(), 3)
        organizations = Organization.objects.count()
        # A search each for follow-ups, reminders and tasks that are due.
        with self.assertNumQueries(1 + 3 * organizations):
            self.assertEqual(reminders.remind_of_dates(), 0)


class SilenceTests(ReminderTestCase):
    def test_an_open_lead_that_nobody_touched_is_told_once_for_each_silence(self):
        with stopped_at(MONDAY) as clock:
            lead = self.lead(status="contacted")
            self.lead(status="lost")
            clock.shift(13 * DAY)
            self.assertEqual(reminders.remind_of_silence(), 0)
            clock.shift(DAY)
            self.assertEqual(reminders.remind_of_silence(), 1)
            clock.shift(DAY)
            self.assertEqual(reminders.remind_of_silence(), 0)
            self.move(lead, "qualified")
            clock.shift(13 * DAY)
            self.assertEqual(reminders.remind_of_silence(), 0)
            self.alice.post(
                "/api/activities/",
                {"kind": "call", "lead": lead.pk, "occurred_at": clock.moment},
            )
            clock.shift(13 * DAY)
            self.assertEqual(reminders.remind_of_silence(), 0)
            clock.shift(DAY)
            self.assertEqual(reminders.remind_of_silence(), 1)
        self.assertEqual(self.told(), [("lead_untouched", "Lovelace")] * 2)

    def test_the_organization_says_after_how_many_days_or_never(self):
        for days, count in ((3, 1), (None, 0)):
            with self.subTest(days), stopped_at(MONDAY) as clock:
                with system_changes(self.cast.organization) as changes:
                    process = LeadProcess.of(self.cast.organization)
                    changes.save(process, untouched_after_days=days)
                self.lead()
                clock.shift(4 * DAY)
                self.assertEqual(reminders.remind_of_silence(), count)
        role_less = self.alice.patch("/api/lead-process/", {"untouched_after_days": 1})
        self.assertEqual(role_less.status_code, 403)

    def test_old_leads_that_are_imported_are_no_news(self):
        with stopped_at(MONDAY) as clock:
            self.lead(status_since=MONDAY - 100 * DAY)
            clock.shift(22 * DAY)
            self.assertEqual(reminders.remind_of_silence(), 0)


class NotificationTests(ReminderTestCase):
    def setUp(self):
        super().setUp()
        for number in range(3):
            self.lead(last_name=f"King {number}", next_follow_up_at=timezone.now())
        reminders.remind_of_dates()

    def unread(self, client=None) -> int:
        return (client or self.alice).get(PATH, {"unread": "true"}).json()["count"]

    def test_those_named_are_read_or_all(self):
        first, *_ = self.alice.get(PATH).json()["results"]
        answer = self.alice.post(f"{PATH}read/", {"ids": [first["id"]]})
        self.assertEqual(answer.json(), {"read": 1})
        self.assertEqual(self.unread(), 2)
        shown = self.alice.get(f"{PATH}{first['id']}/").json()
        self.assertIsNotNone(shown.pop("read_at"))
        self.assertEqual(shown, {n: first[n] for n in shown})
        self.assertEqual(self.alice.post(f"{PATH}read/").json(), {"read": 2})
        self.assertEqual(self.unread(), 0)

    def test_those_of_others_are_not_there(self):
        first, *_ = self.alice.get(PATH).json()["results"]
        for client in (self.manager, client_of(self.cast.carol)):
            self.assertEqual(client.get(PATH).json()["count"], 0)
            self.assertEqual(client.get(f"{PATH}{first['id']}/").status_code, 404)
            answer = client.post(f"{PATH}read/", {"ids": [first["id"]]})
            self.assertEqual(answer.json(), {"read": 0})
        self.assertEqual(self.unread(), 3)

    def test_a_record_that_is_not_seen_any_more_is_not_told(self):
        with system_changes(self.cast.organization) as changes:
            for lead in Lead.objects.all():
                changes.save(lead, owner=self.cast.stranger)
        told = self.alice.get(PATH).json()["results"]
        self.assertEqual([n["subject"] for n in told], [None] * 3)
        self.assertNotIn("King", str(told))

    def test_bad_wishes_are_named_and_nothing_is_read(self):
        for body, field, code in (
            ({"ids": []}, "ids", "empty"),
            ({"ids": "x"}, "ids", "not_a_list"),
            ({"ids": ["x"]}, "ids.0", "invalid"),
            ({"id": 1}, "id", "unknown_field"),
        ):
            answer = self.alice.post(f"{PATH}read/", body)
            self.assertEqual(answer.status_code, 400, answer.content)
            [error] = answer.json()["errors"]
            self.assertEqual((error["field"], error["code"]), (field, code))
        self.assertEqual(self.unread(), 3)

    def test_a_dry_run_reads_nothing(self):
        answer = self.alice.post(f"{PATH}read/?dry_run=true")
        self.assertEqual(answer.json(), {"read": 3})
        self.assertEqual(self.unread(), 3)

    def test_a_page_takes_the_same_queries_for_few_and_many(self):
        with CaptureQueriesContext(connection) as few:
            self.alice.get(PATH, {"page_size": 2})
        with CaptureQueriesContext(connection) as many:
            self.alice.get(PATH)
        # Only where there are more rows than on the page are they counted.
        self.assertEqual(len(few), len(many) + 1)

    def test_what_is_old_is_forgotten(self):
        old = timezone.now() - (notifications.KEPT_DAYS + 1) * DAY
        Notification.objects.filter(read_at=None).update(created_at=old)
        notifications.forget()
        self.assertFalse(Notification.objects.exists())
