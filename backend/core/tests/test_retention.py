from datetime import timedelta
from unittest import mock

from django.test import TestCase
from django.utils import timezone

from contact_management.models import Contact
from core import audit, jobs, merging, retention, tasks, undo
from core.access import Scope, Verb
from core.append_only import erasing
from core.models import Change, ChangeSet, Job, Organization, SecurityEvent
from core.testing import ALL, Cast, client_of, make_role, make_user, system_changes

DAYS = 90


def age(row, days: int) -> None:
    """Let a row of a log be this many days old."""
    with erasing():
        type(row)._base_manager.filter(pk=row.pk).update(
            created_at=timezone.now() - timedelta(days=days)
        )


def age_set(change_set, days: int) -> None:
    age(change_set, days)
    for change in change_set.changes.all():
        age(change, days)


class RetentionTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        everything = {Verb.VIEW: Scope.ALL, Verb.EDIT: Scope.ALL}
        role = make_role(
            cls.cast.organization,
            "administrator",
            ALL,
            auditlog=everything,
            job=everything,
            changeset=everything,
        )
        cls.admin = make_user(cls.cast.organization, "admin", role)

    def setUp(self):
        self.client = client_of(self.admin)
        self.keep(DAYS)

    def keep(self, days, organization=None):
        organization = Organization.objects.get(
            pk=(organization or self.cast.organization).pk
        )
        with system_changes(organization) as changes:
            changes.save(organization, audit_retention_days=days)

    def save(self, contact=None, days=0, **fields) -> tuple[Contact, ChangeSet]:
        contact = contact or Contact()
        with ChangeSet.open(actor=self.cast.alice, source="api") as changes:
            changes.save(contact, **{"last_name": "King", **fields})
        age_set(changes.change_set, days)
        return contact, changes.change_set

    def event(self, organization, days, kind="sign_in") -> SecurityEvent:
        event = SecurityEvent.objects.create(organization=organization, kind=kind)
        age(event, days)
        return event

    def erase(self) -> Job | None:
        """What the hourly task and a worker do."""
        tasks.erase_old_logs()
        job = Job.objects.filter(kind=retention.KIND).first()
        if job:
            while jobs.run(job.pk, seconds=0):
                pass
            job.refresh_from_db()
        return job

    def undo(self, change_set, **body):
        return self.client.post(f"/api/change-sets/{change_set.pk}/undo/", body)

    def assertErased(self, response):
        self.assertEqual(response.status_code, 409, response.content)
        self.assertEqual(response.json()["code"], "erased")

    def logs(self):
        return [
            list(model.objects.order_by("pk").values())
            for model in (Change, ChangeSet, SecurityEvent)
        ]


class ErasureTests(RetentionTestCase):
    def test_what_is_older_than_the_organization_keeps_is_erased_and_told(self):
        _, old = self.save(days=DAYS + 1)
        _, young = self.save(days=DAYS - 1)
        event = self.event(self.cast.organization, DAYS + 1)
        job = self.erase()
        self.assertEqual((job.status, job.owner), ("done", None))
        self.assertEqual(
            job.counts, {"changes": 1, "change_sets": 1, "security_events": 1}
        )
        self.assertFalse(ChangeSet.objects.filter(pk=old.pk).exists())
        self.assertEqual(young.changes.count(), 1)
        self.assertFalse(SecurityEvent.objects.filter(pk=event.pk).exists())
        told = SecurityEvent.objects.get()
        day = timezone.now().date() - timedelta(days=DAYS)
        self.assertEqual((told.kind, told.user), ("erasure", None))
        self.assertEqual(told.detail, {"before": day.isoformat(), **job.counts})
        entry = self.client.get("/api/audit-log/").json()["results"][0]
        self.assertEqual(entry["action"], "erasure")
        self.assertEqual(entry["detail"]["changes"], 1)

    def test_days_are_counted_from_midnight(self):
        now = timezone.now()
        _, kept = self.save()
        _, gone = self.save()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        for change_set, moment in (
            (kept, midnight - timedelta(days=DAYS)),
            (gone, midnight - timedelta(days=DAYS, microseconds=1)),
        ):
            with erasing():
                Change._base_manager.filter(change_set=change_set).update(
                    created_at=moment
                )
        self.erase()
        self.assertEqual([kept.changes.count(), gone.changes.count()], [1, 0])

    def test_without_a_setting_nothing_is_ever_erased(self):
        self.keep(None)
        self.save(days=9999)
        self.event(self.cast.organization, 9999)
        before = self.logs()
        self.assertIsNone(self.erase())
        self.assertEqual(self.logs(), before)

    def test_another_organization_is_left_alone(self):
        carol = self.cast.carol
        with ChangeSet.open(actor=carol, source="api") as changes:
            changes.save(Contact(), last_name="Babbage")
        age_set(changes.change_set, 9999)
        event = self.event(self.cast.other_organization, 9999)
        self.save(days=DAYS + 1)
        self.erase()
        self.assertEqual(changes.change_set.changes.count(), 1)
        self.assertTrue(SecurityEvent.objects.filter(pk=event.pk).exists())

    def test_nothing_old_needs_no_job_and_a_second_one_waits_for_the_first(self):
        self.assertIsNone(self.erase())
        self.save(days=DAYS + 1)
        tasks.erase_old_logs()
        tasks.erase_old_logs()
        self.assertEqual(Job.objects.count(), 1)
        self.erase()
        tasks.erase_old_logs()
        self.assertEqual(Job.objects.count(), 1)

    def test_each_transaction_erases_one_batch(self):
        for _ in range(5):
            self.save(days=DAYS + 1)
        tasks.erase_old_logs()
        job = Job.objects.get()
        done = []
        with mock.patch.object(retention, "BATCH_ROWS", 2):
            while jobs.run(job.pk, seconds=0):
                job.refresh_from_db()
                done.append(job.done)
        # The first notes on the organization what is going to happen.
        self.assertEqual(done, [0, 2, 4, 5, 7, 9, 10])

    def test_a_batch_that_fails_is_erased_by_the_next_worker(self):
        _, old = self.save(days=DAYS + 1)
        tasks.erase_old_logs()
        job = Job.objects.get()
        with (
            mock.patch.object(
                retention.ErasureHandler, "_erase", side_effect=ZeroDivisionError
            ),
            self.assertLogs("core.jobs", "ERROR"),
        ):
            jobs.run(job.pk)
        self.assertEqual(old.changes.count(), 1)
        while jobs.run(job.pk):
            pass
        self.assertFalse(ChangeSet.objects.filter(pk=old.pk).exists())
        self.assertEqual(SecurityEvent.objects.get().detail["changes"], 1)

    def test_keeping_longer_stops_what_was_about_to_be_erased(self):
        for days in (DAYS + 1, None):
            with self.subTest(days):
                self.keep(DAYS)
                self.save(days=DAYS + 1)
                tasks.erase_old_logs()
                job = Job.objects.get(status="queued")
                self.keep(days)
                before = self.logs()
                jobs.run(job.pk)
                job.refresh_from_db()
                self.assertEqual(
                    (job.status, job.error["code"]), ("failed", "kept_longer")
                )
                self.assertEqual(self.logs(), before)

    def test_an_administrator_sees_the_job_and_may_stop_it(self):
        self.save(days=DAYS + 1)
        tasks.erase_old_logs()
        listed = self.client.get("/api/jobs/").json()["results"]
        self.assertEqual(
            [(j["kind"], j["owner"]) for j in listed], [("audit_erasure", None)]
        )
        stopped = self.client.post(f"/api/jobs/{listed[0]['id']}/cancel/")
        self.assertEqual(stopped.json()["status"], "cancelled")
        self.assertEqual(
            client_of(self.cast.alice).get("/api/jobs/").json()["count"], 0
        )

    def test_events_of_unknown_accounts_are_kept_as_long_as_any_log(self):
        event = self.event(None, DAYS + 1, "sign_in_failed")
        there = self.cast.other_organization

        def erased() -> bool:
            tasks.erase_old_logs()
            for job in Job.objects.filter(status="queued"):
                while jobs.run(job.pk, seconds=0):
                    pass
            return not SecurityEvent.objects.filter(pk=event.pk).exists()

        self.assertFalse(erased())  # the other organization keeps all for ever
        self.keep(DAYS + 10, there)
        self.assertFalse(erased())
        self.keep(DAYS, there)
        self.assertTrue(erased())


class AfterwardsTests(RetentionTestCase):
    def test_history_goes_on_without_the_creation(self):
        contact, _ = self.save(days=DAYS + 2)
        self.save(contact, days=DAYS + 1, first_name="Ada")
        self.save(contact, first_name="Augusta")
        self.erase()
        history = self.client.get(f"/api/contacts/{contact.pk}/history/").json()
        self.assertEqual(
            [(e["verb"], e["before"], e["after"]) for e in history["results"]],
            [("update", {"first_name": "Ada"}, {"first_name": "Augusta"})],
        )

    def test_what_a_kept_creation_made_is_still_told(self):
        contact, _ = self.save(days=DAYS - 1, first_name="Ada")
        self.save(contact, first_name="Augusta")
        self.save(days=DAYS + 1)
        self.erase()
        history = self.client.get(f"/api/contacts/{contact.pk}/history/").json()
        self.assertEqual(history["results"][-1]["after"]["first_name"], "Ada")

    def test_a_set_that_is_wholly_gone_is_not_found(self):
        contact, old = self.save(days=DAYS + 1)
        self.erase()
        self.assertEqual(self.undo(old).status_code, 404)
        self.assertEqual(Contact.objects.get(pk=contact.pk).version, 1)

    def two_chunks(self) -> tuple[Contact, Contact, ChangeSet]:
        """A set of which the first chunk is too old, and the second is not."""
        first, change_set = self.save()
        second = Contact()
        with change_set.writing() as changes:
            changes.save(second, last_name="Lovelace")
        age(change_set, DAYS + 1)
        age(change_set.changes.get(record_id=first.pk), DAYS + 1)
        return first, second, change_set

    def test_a_set_that_is_partly_gone_stays_and_is_not_undone(self):
        first, second, change_set = self.two_chunks()
        self.erase()
        detail = self.client.get(f"/api/change-sets/{change_set.pk}/").json()
        self.assertEqual([c["count"] for c in detail["changes"]], [1])
        before = self.logs()
        for body in ({}, {"partial": True}):
            self.assertErased(self.undo(change_set, **body))
        self.assertEqual(self.logs(), before)
        live = Contact.objects.filter(deleted_at=None)
        self.assertEqual({c.pk for c in live}, {first.pk, second.pk})

    def test_what_is_about_to_be_erased_is_not_undone_by_a_job_either(self):
        _, _, change_set = self.two_chunks()
        job = undo.start(change_set, self.admin, partial=True, dry_run=False)
        self.erase()
        jobs.run(job.pk)
        job.refresh_from_db()
        self.assertEqual((job.status, job.error["code"]), ("failed", "erased"))
        self.assertEqual(Contact.objects.filter(deleted_at=None).count(), 2)

    def test_a_job_to_undo_what_is_gone_by_then_fails(self):
        _, change_set = self.save(days=DAYS + 1)
        job = undo.start(change_set, self.admin, partial=True, dry_run=False)
        self.erase()
        jobs.run(job.pk)
        job.refresh_from_db()
        self.assertEqual((job.status, job.error["code"]), ("failed", "erased"))

    def test_an_erasure_while_an_undo_reads_is_noticed(self):
        _, change_set = self.save(days=DAYS + 1)
        read = undo._net_changes

        def read_late(*args):
            Organization._base_manager.filter(pk=self.cast.organization.pk).update(
                erased_before=timezone.now() - timedelta(days=DAYS)
            )
            return read(*args)

        with mock.patch.object(undo, "_net_changes", read_late):
            self.assertErased(self.undo(change_set))
        self.assertFalse(change_set.undone_by.exists())

    def test_a_set_that_a_kept_undo_names_stays_until_that_goes_too(self):
        _, change_set = self.save(days=DAYS + 2)
        undone = ChangeSet.objects.get(pk=self.undo(change_set).json()["change_set"])
        age_set(undone, DAYS - 1)
        self.erase()
        shown = self.client.get(f"/api/change-sets/{undone.pk}/").json()
        self.assertEqual(shown["undoes"], str(change_set.pk))
        self.assertEqual(change_set.changes.count(), 0)
        self.assertErased(self.undo(change_set))
        age_set(undone, DAYS + 1)
        self.erase()
        left = ChangeSet.objects.filter(pk__in=[change_set.pk, undone.pk])
        self.assertFalse(left.exists())

    def test_a_set_that_a_job_names_stays(self):
        _, change_set = self.save(days=DAYS + 1)
        job = Job.objects.create(
            organization=self.cast.organization,
            owner=self.cast.alice,
            kind="import",
            status="done",
            change_set=change_set,
        )
        self.assertEqual(self.erase().status, "done")
        shown = self.client.get(f"/api/jobs/{job.pk}/").json()
        self.assertEqual(shown["change_set"], str(change_set.pk))
        self.assertErased(self.undo(change_set))
        tasks.erase_old_logs()
        self.assertFalse(Job.objects.filter(status="queued").exists())

    def test_a_cursor_goes_on_past_what_was_erased(self):
        for days in (1, 2, DAYS + 1, DAYS + 2):
            self.save(days=days)
        page = self.client.get(
            "/api/audit-log/?cursor=&page_size=1&record_type=contact"
        )
        first = page.json()
        self.erase()
        second = self.client.get(first["next"]).json()
        self.assertEqual(len(second["results"]), 1)
        self.assertNotEqual(second["results"], first["results"])
        self.assertIsNone(second["next"])

    def test_an_entry_erased_while_its_page_is_made_is_left_out(self):
        self.save(days=DAYS + 1)
        changes = merging.Stream(audit.LOGS[0].model.objects.all())
        places = merging.places([changes], 100)
        shown = audit.entries(places, self.admin)
        self.erase()
        self.assertEqual(len(audit.entries(places, self.admin)), len(shown) - 1)
