"""What people are told of, in the app and by e-mail."""

from django.core import mail
from django.db import connection
from django.test import TransactionTestCase
from django.test.utils import CaptureQueriesContext

from core import jobs, letters, notifications
from core.models import ChangeSet, Job, Notification
from core.testing import ALL, Cast, client_of, make_role, make_user, system_changes
from lead_management.models import AssignmentRule, Lead
from user_management.tests.test_limits import in_threads

from .test_lifecycle import LifecycleTestCase

PATH = "/api/notifications/"
LEADS = "/api/leads/"
NOTES = "/api/activities/"


class NewsTestCase(LifecycleTestCase):
    def setUp(self):
        super().setUp()
        self.bob = client_of(self.cast.bob)

    def told(self, client) -> list[tuple]:
        results = client.get(PATH).json()["results"]
        return [(n["code"], n["subject_type"], n["count"]) for n in results]

    def mailed(self) -> list[tuple]:
        notifications.post_due()
        letters.send_due()
        return [(message.to, message.subject) for message in mail.outbox]

    def make(self, client=None, **body):
        body = {"last_name": "King", **body}
        answer = (client or self.manager).post(LEADS, body)
        self.assertEqual(answer.status_code, 201, answer.content)
        return answer.json()

    def note(self, body, client=None, **values) -> dict:
        lead = Lead.objects.first() or self.lead(owner=self.cast.alice)
        sent = {"kind": "note", "lead": str(lead.pk), "body": body, **values}
        answer = (client or self.alice).post(NOTES, sent)
        self.assertEqual(answer.status_code, 201, answer.content)
        return answer.json()


class AssignmentTests(NewsTestCase):
    def test_who_is_made_owner_by_somebody_else_is_told_once(self):
        lead = self.make(owner=str(self.cast.bob.pk))
        self.assertEqual(self.told(self.bob), [("assigned", "lead", 1)])
        [told] = self.bob.get(PATH).json()["results"]
        self.assertEqual(told["subject"]["last_name"], "King")
        self.assertEqual(told["actor"]["email"], self.cast.manager.email)
        self.manager.patch(f"{LEADS}{lead['id']}/", {"last_name": "Kong"})
        self.assertEqual(len(self.told(self.bob)), 1)
        self.assertEqual(self.told(self.manager), [])
        expected = f"{self.cast.manager} made you the owner of the lead Kong"
        for _ in range(2):
            self.assertEqual(self.mailed(), [([self.cast.bob.email], expected)])

    def test_ones_own_records_and_what_the_program_does_are_no_news(self):
        self.make(self.alice)
        self.lead(owner=self.cast.alice)
        self.assertFalse(Notification.objects.exists())

    def test_a_change_that_is_rolled_back_is_told_to_nobody(self):
        answer = self.manager.post(
            f"{LEADS}?dry_run=true",
            {"last_name": "King", "owner": str(self.cast.bob.pk)},
        )
        self.assertLess(answer.status_code, 300, answer.content)
        self.assertFalse(Notification.objects.exists())

    def test_many_records_of_one_change_are_one_summary_however_many_chunks(self):
        bob = self.cast.bob
        change_set = ChangeSet(
            organization=bob.organization, actor=self.cast.manager, source="bulk"
        )
        counts = []
        for size in (3, 30, 30):
            leads = [self.lead() for _ in range(size)]
            with (
                CaptureQueriesContext(connection) as queries,
                change_set.writing() as changes,
            ):
                changes.bulk_set(Lead, leads, owner=bob.pk)
            counts.append(len([q for q in queries if "notification" in q["sql"]]))
        self.assertEqual(self.told(self.bob), [("assigned", "changeset", 63)])
        # However many there are.
        self.assertEqual(counts, [2, 2, 2])
        job = Job.objects.create(
            organization=bob.organization, kind="bulk", change_set=change_set
        )
        self.assertEqual(self.mailed(), [])  # there may be more
        Job.objects.filter(pk=job.pk).update(status=Job.Status.DONE)
        [(_, subject)] = self.mailed()
        self.assertEqual(
            subject, f"{self.cast.manager} made you the owner of 63 records"
        )


class AssignmentRuleTests(NewsTestCase):
    """Every new lead goes to bob, by a rule."""

    def setUp(self):
        super().setUp()
        with system_changes(self.cast.organization) as changes:
            rule = AssignmentRule()
            changes.save(rule, name="All", method="user", user=self.cast.bob)

    def want(self, **channels):
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.bob, notifications={"assignment": channels})

    def test_whom_a_rule_gives_a_lead_is_told_by_whose_doing(self):
        lead = self.make(self.alice)
        self.assertEqual(lead["owner"], str(self.cast.bob.pk))
        [told] = self.bob.get(PATH).json()["results"]
        self.assertEqual((told["code"], told["subject_id"]), ("assigned", lead["id"]))
        self.assertEqual(told["actor"]["email"], self.cast.alice.email)
        self.assertEqual(self.told(self.alice), [])
        expected = f"{self.cast.alice} made you the owner of the lead King"
        for _ in range(2):
            self.assertEqual(self.mailed(), [([self.cast.bob.email], expected)])

    def test_each_way_is_chosen_by_itself(self):
        for in_app, email in ((True, False), (False, True), (False, False)):
            with self.subTest(in_app=in_app, email=email):
                self.want(in_app=in_app, email=email)
                self.make(self.alice)
                self.assertEqual(len(self.told(self.bob)), int(in_app))
                self.assertEqual(len(self.mailed()), int(email))
                Notification.objects.all().delete()
                mail.outbox.clear()

    def test_a_rule_that_gives_a_lead_back_to_its_maker_tells_nobody(self):
        lead = self.make(self.bob)
        self.assertEqual(lead["owner"], str(self.cast.bob.pk))
        self.assertFalse(Notification.objects.exists())

    def test_a_lead_that_is_assigned_anew_is_told_to_who_gets_it(self):
        lead = self.lead(owner=self.cast.alice)
        answer = self.manager.post(f"{LEADS}{lead.pk}/assign/")
        self.assertEqual(answer.status_code, 200, answer.content)
        self.assertEqual(self.told(self.bob), [("assigned", "lead", 1)])
        self.assertEqual(self.told(self.alice), [])

    def test_many_that_are_shared_out_are_one_summary(self):
        for _ in range(3):
            self.lead(owner=self.cast.alice)
        body = {"change": {"assign": True}, "filter": {}}
        answer = self.manager.post(f"{LEADS}bulk/", body)
        jobs.run(answer.json()["id"])
        self.assertEqual(self.told(self.bob), [("assigned", "changeset", 3)])

    def test_what_is_only_tried_is_told_to_nobody(self):
        answer = self.alice.post(f"{LEADS}?dry_run=true", {"last_name": "King"})
        self.assertEqual(answer.json()["owner"], str(self.cast.bob.pk))
        self.assertFalse(Notification.objects.exists())


class MentionTests(NewsTestCase):
    def test_an_id_an_address_and_what_is_before_its_at_mention(self):
        manager = self.cast.manager
        before = manager.email.partition("@")[0]
        for name in (f"{{{manager.pk}}}", manager.email, before, before.upper()):
            with self.subTest(name):
                note = self.note(f"See this, @{name}.")
                newest = self.manager.get(PATH).json()["results"][0]
                self.assertEqual(
                    (newest["code"], newest["subject_id"]), ("mentioned", note["id"])
                )

    def test_only_those_are_told_who_see_the_record(self):
        cast = self.cast
        names = " ".join(
            f"@{{{user.pk}}}" for user in (cast.stranger, cast.carol, cast.alice)
        )
        self.note(f"{names} @nobody @{{x}} a@b @")
        self.assertFalse(Notification.objects.exists())

    def test_a_name_that_two_have_mentions_nobody(self):
        role = self.cast.alice.role
        for domain in ("a.example", "b.example"):
            make_user(self.cast.organization, f"x{domain}", role, email=f"eve@{domain}")
        self.note("@eve")
        self.assertFalse(Notification.objects.exists())

    def test_an_edit_tells_those_who_are_new_in_it(self):
        manager, bob = self.cast.manager, self.cast.bob
        note = self.note(f"@{{{manager.pk}}}")
        self.alice.patch(f"{NOTES}{note['id']}/", {"body": f"@{{{manager.pk}}} done"})
        self.assertEqual(self.told(self.manager), [("mentioned", "activity", 1)])
        self.alice.patch(
            f"{NOTES}{note['id']}/", {"body": f"@{{{manager.pk}}} @{{{bob.pk}}}"}
        )
        self.assertEqual(self.told(self.manager), [("mentioned", "activity", 1)])
        self.assertEqual(self.told(self.bob), [("mentioned", "activity", 1)])

    def test_a_field_that_is_hidden_tells_nothing(self):
        role = make_role(
            self.cast.organization,
            "blind",
            ALL,
            field_rights={"lead": {"hidden": ["notes"], "read_only": []}},
        )
        blind = make_user(self.cast.organization, "blind", role)
        self.make(notes=f"@{{{blind.pk}}}")
        self.assertFalse(Notification.objects.filter(user=blind).exists())


class PreferenceTests(NewsTestCase):
    def want(self, **channels):
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.bob, notifications={"assignment": channels})

    def test_each_way_is_chosen_by_itself(self):
        for in_app, email in ((True, False), (False, True), (False, False)):
            with self.subTest(in_app=in_app, email=email):
                self.want(in_app=in_app, email=email)
                self.make(owner=str(self.cast.bob.pk))
                self.assertEqual(len(self.told(self.bob)), int(in_app))
                self.assertEqual(len(self.mailed()), int(email))
                Notification.objects.all().delete()
                mail.outbox.clear()

    def test_news_that_came_together_are_one_letter_and_what_is_read_is_none(self):
        for name in ("King", "Kong", "Bell"):
            self.make(owner=str(self.cast.bob.pk), last_name=name)
        newest = self.bob.get(PATH).json()["results"][0]
        self.bob.post(f"{PATH}read/", {"ids": [newest["id"]]})
        self.assertEqual(self.mailed(), [([self.cast.bob.email], "2 news from MyCRM")])
        [message] = mail.outbox
        self.assertIn("the lead King", message.body)
        self.assertNotIn("Bell", message.body)

    def test_a_record_that_is_not_seen_any_more_is_not_told_by_e_mail(self):
        lead = self.make(owner=str(self.cast.bob.pk))
        stranger = self.cast.stranger
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.bob, role=stranger.role)
            changes.save(Lead.objects.get(pk=lead["id"]), owner=stranger)
        self.assertEqual(self.mailed(), [])


class JobTests(NewsTestCase):
    def export(self) -> str:
        """The id of a job of alice's that waits."""
        self.lead()
        answer = self.alice.post(
            "/api/exports/", {"record_type": "lead", "format": "csv"}
        )
        self.assertEqual(answer.status_code, 202, answer.content)
        return answer.json()["id"]

    def fail(self) -> str:
        """The id of a job of alice's that failed, for she may not export any more."""
        pk = self.export()
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.alice, role=self.cast.reader.role)
        for _ in range(2):
            jobs.run(pk)
        self.assertEqual(Job.objects.get(pk=pk).status, "failed")
        return pk

    def want(self, **channels):
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.alice, notifications={"job_done": channels})

    def test_who_asked_for_a_job_is_told_how_it_ended(self):
        pk = self.export()
        for _ in range(2):
            jobs.run(pk)
        self.assertEqual(self.told(self.alice), [("job_done", "job", 1)])
        self.assertEqual(self.mailed(), [])  # by default in the app alone

    def test_who_asked_for_a_job_that_failed_is_told_so_once(self):
        pk = self.fail()
        self.assertEqual(self.told(self.alice), [("job_failed", "job", 1)])
        [told] = self.alice.get(PATH).json()["results"]
        self.assertEqual((told["subject_id"], told["actor"]), (pk, None))
        self.assertEqual(self.told(self.manager), [])
        self.assertEqual(self.mailed(), [])  # by default in the app alone

    def test_a_job_that_failed_is_mailed_to_who_wants_that(self):
        self.want(in_app=False, email=True)
        self.fail()
        self.assertEqual(self.told(self.alice), [])
        expected = ([self.cast.alice.email], "Failed: export")
        for _ in range(2):
            self.assertEqual(self.mailed(), [expected])

    def test_a_job_that_was_given_up_is_told_as_failed(self):
        pk = self.export()
        Job.objects.filter(pk=pk).update(attempts=jobs.MAX_ATTEMPTS)
        jobs.run(pk)
        self.assertEqual(self.told(self.alice), [("job_failed", "job", 1)])

    def test_who_wants_no_word_and_who_cancelled_it_gets_none(self):
        answer = self.alice.post(f"/api/jobs/{self.export()}/cancel/")
        self.assertEqual(answer.json()["status"], "cancelled")
        self.want(in_app=False, email=False)
        self.fail()
        self.assertFalse(Notification.objects.exists())


class ParallelTests(TransactionTestCase):
    def test_two_beats_write_one_letter(self):
        cast = Cast()
        with ChangeSet.open(actor=cast.manager, source="api") as changes:
            changes.save(Lead(owner=cast.bob), last_name="King")
        in_threads(lambda n: notifications.post_due(), 4, 4)
        letters.send_due()
        self.assertEqual(len(mail.outbox), 1)
