"""Reports as files, and reports that are mailed by themselves."""

import csv
import datetime
import io
import threading
import zipfile

from django.core import mail
from django.db import connection
from django.test import TestCase, TransactionTestCase

from core import letters, undo
from core.models import Letter
from core.testing import Cast, RecordContract, client_of, system_changes
from lead_management.models import ReportRun, ReportSchedule
from lead_management.reports import mailing

from .clock import stopped_at
from .test_lifecycle import DAY, MONDAY, LifecycleTestCase

PATH = "/api/report-schedules/"
HOUR = datetime.timedelta(hours=1)
WEEK = 7 * DAY


def utc(*parts) -> datetime.datetime:
    return datetime.datetime(*parts, tzinfo=datetime.UTC)


class ReportScheduleContract(RecordContract, TestCase):
    path = PATH
    valid = {"name": "Weekly {n}", "report": "pipelines"}
    change = {"hour": 9}

    def test_what_is_wrong_is_named(self):
        foreign = str(self.cast.carol.pk)
        for body, field, code in (
            ({"report": "x"}, "report", "invalid_choice"),
            ({"period": "x"}, "period", "invalid_choice"),
            ({"every": "year"}, "every", "invalid_choice"),
            ({"hour": 24}, "hour", "max_value"),
            ({"weekday": 7}, "weekday", "invalid_choice"),
            ({"day": 0}, "day", "min_value"),
            ({"recipients": "x"}, "recipients", "not_a_list"),
            ({"recipients": ["x"]}, "recipients", "not_a_list"),
            ({"recipients": [foreign]}, "recipients", "does_not_exist"),
        ):
            with self.subTest(body):
                answer = self.alice.post(self.path, self.body(**body))
                self.assertProblem(answer, 400, code, field)
        self.assertFalse(ReportSchedule.objects.exists())


class SlotTests(TestCase):
    def schedule(self, **values) -> ReportSchedule:
        cast = Cast()
        with system_changes(cast.organization) as changes:
            changes.save(cast.organization, timezone="Europe/Berlin")
        cast.organization.refresh_from_db()
        return ReportSchedule(organization=cast.organization, **values)

    def moments(self, schedule, moment, count) -> list[str]:
        found = []
        for _ in range(count):
            moment = schedule.after(moment)
            found.append(f"{moment:%m-%d %H:%M}")
        return found

    def test_an_hour_stays_the_hour_when_the_clocks_change(self):
        daily = self.schedule(every="day", hour=8)
        self.assertEqual(
            self.moments(daily, utc(2026, 3, 27, 12), 3),
            ["03-28 07:00", "03-29 06:00", "03-30 06:00"],
        )

    def test_an_hour_that_is_left_out_or_comes_twice_is_one_slot(self):
        daily = self.schedule(every="day", hour=2)
        self.assertEqual(
            self.moments(daily, utc(2026, 3, 28, 12), 2), ["03-29 01:00", "03-30 00:00"]
        )
        self.assertEqual(
            self.moments(daily, utc(2026, 10, 24, 12), 2),
            ["10-25 00:00", "10-26 01:00"],
        )

    def test_weeks_and_months(self):
        weekly = self.schedule(every="week", weekday=4, hour=0)
        self.assertEqual(
            self.moments(weekly, utc(2026, 1, 1), 2), ["01-01 23:00", "01-08 23:00"]
        )
        monthly = ReportSchedule(
            organization=weekly.organization, every="month", day=31, hour=12
        )
        self.assertEqual(
            self.moments(monthly, utc(2026, 1, 31, 12), 3),
            ["02-28 11:00", "03-31 10:00", "04-30 10:00"],
        )


class MailingTestCase(LifecycleTestCase):
    def schedule(self, **values) -> ReportSchedule:
        body = {"name": "Leads", "report": "sources", "period": "all_time", **values}
        answer = self.alice.post(PATH, body)
        self.assertEqual(answer.status_code, 201, answer.content)
        return ReportSchedule.objects.get(pk=answer.json()["id"])

    def sent(self) -> list[list[str]]:
        mailing.send_due()
        letters.send_due()
        return [message.to for message in mail.outbox]


class MailingTests(MailingTestCase):
    """On Monday the 2nd of March, at nine, in an organization in UTC."""

    def test_each_recipient_gets_what_they_may_see(self):
        alice, stranger = self.cast.alice, self.cast.stranger
        with stopped_at(MONDAY) as clock:
            self.lead(lead_source="referral")
            self.schedule(
                recipients=[str(alice.pk), str(stranger.pk)],
                attachment="csv",
                weekday=1,
            )
            self.assertEqual(self.sent(), [])
            clock.shift(DAY)
            self.sent()
        texts = {message.to[0]: message for message in mail.outbox}
        self.assertEqual(set(texts), {alice.email, stranger.email})
        self.assertIn("Referral; 1; 0; 0.0%", texts[alice.email].body)
        self.assertNotIn("Referral", texts[stranger.email].body)
        [(name, content, media_type)] = texts[alice.email].attachments
        self.assertEqual((name, media_type), ("sources-2026-03-03.csv", "text/csv"))
        self.assertEqual(content.splitlines()[1], "Referral,1,0,0.0")
        self.assertNotIn("Referral", texts[stranger.email].attachments[0].content)

    def test_a_slot_is_sent_once_and_what_was_missed_once_for_all(self):
        with stopped_at(MONDAY) as clock:
            schedule = self.schedule(every="day", hour=10)
            counts = []
            for pause in (HOUR, HOUR, 5 * DAY, HOUR, -HOUR, 20 * HOUR, 4 * HOUR):
                clock.shift(pause)
                counts.append(len(self.sent()))
            self.assertEqual(counts, [1, 1, 2, 2, 2, 2, 3])
        days = [f"{run.day:%d}" for run in ReportRun.objects.order_by("day")]
        self.assertEqual(days, ["02", "07", "08"])
        ids = {m.message()["Message-ID"] for m in mail.outbox}
        self.assertEqual(len(ids), 3)
        schedule.refresh_from_db()
        self.assertEqual(schedule.version, 1)

    def test_a_clock_that_was_ahead_misses_and_doubles_nothing(self):
        with stopped_at(MONDAY) as clock:
            self.schedule(every="day", hour=10)
            clock.shift(400 * DAY)
            self.assertEqual(len(self.sent()), 1)
            clock.shift(-400 * DAY)
            self.assertEqual(len(self.sent()), 1)
            clock.shift(HOUR)
            self.assertEqual(len(self.sent()), 2)

    def test_another_hour_of_a_day_that_was_sent_sends_nothing_more(self):
        with stopped_at(MONDAY) as clock:
            schedule = self.schedule(every="day", hour=10)
            clock.shift(HOUR)
            self.sent()
            self.alice.patch(f"{PATH}{schedule.pk}/", {"hour": 12})
            clock.shift(3 * HOUR)
            self.assertEqual(len(self.sent()), 1)

    def test_what_is_off_or_deleted_or_may_not_be_seen_is_not_sent(self):
        with stopped_at(MONDAY) as clock:
            self.schedule(every="day", hour=10, is_active=False)
            gone = self.schedule(every="day", hour=10)
            self.alice.delete(f"{PATH}{gone.pk}/")
            self.schedule(every="day", hour=10)
            clock.shift(HOUR)
            mailing.send_due()
            [letter] = Letter.objects.all()
            with system_changes(self.cast.organization) as changes:
                changes.save(self.cast.alice, is_active=False)
            letters.send_due()
        letter.refresh_from_db()
        self.assertEqual((letter.state, mail.outbox), ("ended", []))

    def test_it_can_be_sent_now_by_whoever_may_edit_it(self):
        schedule = self.schedule()
        address = f"{PATH}{schedule.pk}/send/"
        tried = self.alice.post(f"{address}?dry_run=true")
        self.assertEqual((tried.status_code, tried.json()), (202, {"letters": 1}))
        self.assertFalse(Letter.objects.exists())
        answer = self.alice.post(address)
        self.assertEqual((answer.status_code, answer.json()), (202, {"letters": 1}))
        letters.send_due()
        [message] = mail.outbox
        self.assertEqual(message.to, [self.cast.alice.email])
        refused = client_of(self.cast.carol).post(address)
        self.assertEqual(refused.status_code, 404)
        self.assertEqual(Letter.objects.count(), 1)


class TimeZoneTests(MailingTestCase):
    """On Monday the 2nd of March, at nine, in an organization that moves from UTC."""

    def move(self, zone):
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.organization, timezone=zone)

    def due(self, schedule) -> str:
        schedule.refresh_from_db()
        return f"{schedule.next_at:%m-%d %H:%M}"

    def test_the_hour_is_that_of_the_new_time_zone_at_once(self):
        with stopped_at(MONDAY):
            daily = self.schedule(every="day", hour=10)
            weekly = self.schedule(every="week", weekday=4, hour=23)
            monthly = self.schedule(every="month", day=31, hour=0)
            schedules = (daily, weekly, monthly)
            found = [[self.due(schedule) for schedule in schedules]]
            for zone in ("America/New_York", "Asia/Tokyo", "UTC"):
                self.move(zone)
                found.append([self.due(schedule) for schedule in schedules])
        self.assertEqual(
            found,
            [
                ["03-02 10:00", "03-06 23:00", "03-31 00:00"],
                ["03-02 15:00", "03-07 04:00", "03-31 04:00"],
                ["03-02 01:00", "03-06 14:00", "03-30 15:00"],
                ["03-02 01:00", "03-06 23:00", "03-31 00:00"],
            ],
        )
        daily.refresh_from_db()
        self.assertEqual(daily.version, 1)

    def test_a_day_is_neither_missed_nor_sent_twice(self):
        for zone, sent_at in (
            ("America/New_York", ["02 15", "03 15"]),
            # There Monday's hour is over: it is sent now, and Tuesday's at its hour.
            ("Asia/Tokyo", ["02 09", "03 01"]),
        ):
            with self.subTest(zone), stopped_at(MONDAY) as clock:
                self.schedule(every="day", hour=10)
                self.move(zone)
                self.assertEqual(self.hours(clock, 36), sent_at)
                days = [f"{run.day:%d}" for run in ReportRun.objects.order_by("day")]
                self.assertEqual(days, ["02", "03"])
                ReportSchedule._base_manager.all().delete()
                self.move("UTC")

    def test_a_day_that_was_sent_is_not_sent_again_where_its_hour_comes_later(self):
        with stopped_at(MONDAY) as clock:
            self.schedule(every="day", hour=10)
            self.assertEqual(self.hours(clock, 3), ["02 10"])
            self.move("America/New_York")
            self.assertEqual(self.hours(clock, 30), ["03 15"])

    def hours(self, clock, count) -> list[str]:
        """The day and the hour of each sending, of those that come now."""
        found = []
        for _ in range(count):
            before = len(mail.outbox)
            if len(self.sent()) > before:
                found.append(f"{clock.moment:%d %H}")
            clock.shift(HOUR)
        return found

    def test_what_has_come_already_is_sent_and_what_is_off_stays_off(self):
        with stopped_at(MONDAY) as clock:
            came = self.schedule(every="day", hour=10)
            off = self.schedule(every="day", hour=10, is_active=False)
            clock.shift(2 * HOUR)
            self.move("Europe/Berlin")
            self.assertEqual(self.due(came), "03-02 10:00")
            off.refresh_from_db()
            self.assertIsNone(off.next_at)
            self.assertEqual(len(self.sent()), 1)
            self.assertEqual(self.due(came), "03-03 09:00")

    def test_other_organizations_and_other_changes_move_nothing(self):
        with stopped_at(MONDAY):
            schedule = self.schedule(every="day", hour=10)
            there = self.cast.other_organization
            with system_changes(there) as changes:
                changes.save(there, timezone="Asia/Tokyo")
            with system_changes(self.cast.organization) as changes:
                changes.save(self.cast.organization, name="Moved")
            self.assertEqual(self.due(schedule), "03-02 10:00")

    def test_an_undo_gives_the_hour_back(self):
        with stopped_at(MONDAY):
            schedule = self.schedule(every="week", weekday=4, hour=10)
            with system_changes(self.cast.organization) as changes:
                changes.save(self.cast.organization, timezone="Asia/Tokyo")
            self.assertEqual(self.due(schedule), "03-06 01:00")
            undo.undo(changes.change_set, None)
            self.assertEqual(self.due(schedule), "03-06 10:00")


class FileTests(LifecycleTestCase):
    def setUp(self):
        super().setUp()
        for _ in range(2):
            self.lead(lead_source="referral")

    def get(self, name, **parameters):
        return self.alice.get(f"/api/reports/{name}/", parameters)

    def test_csv(self):
        answer = self.get("sources", format="csv")
        rows = list(csv.reader(io.StringIO(answer.content.decode())))
        head = ["Source", "Leads", "Converted", "Rate"]
        self.assertEqual(rows, [head, ["Referral", "2", "0", "0.0"]])
        self.assertIn('attachment; filename="sources-', answer["Content-Disposition"])

    def test_a_workbook_has_its_chart(self):
        answer = self.get("sources", format="xlsx")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
            chart = book.read("xl/charts/chart1.xml").decode()
        self.assertIn("'Sources by yield'!$B$2<", chart)
        self.assertIn("<c:v>2</c:v>", chart)
        self.assertIn('<c:barDir val="bar"/>', chart)

    def test_every_report_is_every_file(self):
        from lead_management.reports import REPORTS

        for name in REPORTS:
            for ending in ("csv", "xlsx", "html"):
                with self.subTest(f"{name} {ending}"):
                    answer = self.get(name, format=ending)
                    self.assertEqual(answer.status_code, 200, answer.content[:300])

    def test_a_page_is_drawn_with_cells_alone(self):
        page = self.get("sources", format="html").content.decode()
        self.assertIn('width="240" height="16" bgcolor="#4338ca"', page)
        self.assertNotIn("<svg", page)
        self.assertNotIn("<script", page)

    def test_unknown_formats_are_named(self):
        answer = self.get("sources", format="pdf")
        self.assertEqual(answer.status_code, 400)
        self.assertEqual(answer.json()["errors"][0]["field"], "format")


class ParallelTests(TransactionTestCase):
    def test_two_beats_send_a_report_once(self):
        cast = Cast()
        with system_changes(cast.organization) as changes:
            schedule = ReportSchedule(owner=cast.alice)
            changes.save(schedule, name="Leads", report="sources", every="day")
        past = datetime.datetime.now(datetime.UTC) - HOUR
        ReportSchedule._base_manager.update(next_at=past)
        ready = threading.Barrier(4)

        def beat():
            ready.wait()
            try:
                mailing.send_due()
                letters.send_due()
            finally:
                connection.close()

        threads = [threading.Thread(target=beat) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        letters.send_due()
        self.assertEqual((ReportRun.objects.count(), len(mail.outbox)), (1, 1))
