from unittest import mock

from django.test import TestCase

from contact_management import services
from contact_management.models import Contact, Tag, tagged_types
from core import jobs
from core.models import Job
from core.testing import Cast, RecordContract, client_of, system_changes

TAGS = "/api/tags/"


class TagContract(RecordContract, TestCase):
    path = "/api/tags/"
    valid = {"name": "vip {n}"}
    change = {"color": "gold"}


class TagTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        cls.tag = Tag()
        with system_changes(cls.cast.organization) as changes:
            changes.save(cls.tag, name="vip", owner=cls.cast.alice)
            for owner, tags in (
                (cls.cast.manager, ["vip", "a"]),
                (cls.cast.manager, ["a", "gold", "vip"]),
                (cls.cast.manager, ["VIP+"]),
            ):
                contact = Contact()
                changes.save(contact, last_name="King", owner=owner, tags=tags)
        cls.address = f"{TAGS}{cls.tag.pk}/"

    def setUp(self):
        self.alice = client_of(self.cast.alice)
        self.manager = client_of(self.cast.manager)

    def rename(self, name, client=None) -> Job:
        response = (client or self.manager).patch(self.address, {"name": name})
        self.assertEqual(response.status_code, 200, response.content)
        return Job.objects.latest("created_at")

    def run_job(self, job):
        jobs.run(job.pk)
        job.refresh_from_db()
        self.assertEqual(job.status, "done")

    def tags_of_contacts(self):
        return list(Contact.objects.order_by("pk").values_list("tags", flat=True))

    def test_a_new_name_goes_to_every_record_and_back_with_one_undo(self):
        before = self.tags_of_contacts()
        for chunk in (1, 1000):
            with (
                self.subTest(chunk),
                mock.patch.object(services, "CHUNK_RECORDS", chunk),
            ):
                job = self.rename("gold")
                self.run_job(job)
                self.assertEqual(
                    self.tags_of_contacts(), [["gold", "a"], ["a", "gold"], ["VIP+"]]
                )
                self.assertEqual(job.counts["changed"], 2)
                self.assertEqual((job.done, job.total), (2, 2))
                undo = self.manager.post(f"/api/change-sets/{job.change_set_id}/undo/")
                self.assertEqual(undo.json()["undone"], 3)
                self.assertEqual(self.tags_of_contacts(), before)
                self.tag.refresh_from_db()
                self.assertEqual(self.tag.name, "vip")
        self.assertEqual(Job.objects.count(), 2)

    def test_of_two_new_names_the_later_holds_whichever_job_is_first(self):
        first, second = self.rename("silver"), self.rename("platinum")
        self.run_job(second)
        self.run_job(first)
        self.assertEqual(
            self.tags_of_contacts(),
            [["platinum", "a"], ["a", "gold", "platinum"], ["VIP+"]],
        )

    def test_deleted_records_get_the_new_name_too(self):
        contact = Contact.objects.order_by("pk").first()
        with system_changes(self.cast.organization) as changes:
            changes.delete(contact)
        self.run_job(self.rename("silver"))
        contact.refresh_from_db()
        self.assertEqual(contact.tags, ["silver", "a"])

    def test_a_change_of_color_alone_needs_no_job(self):
        self.manager.patch(self.address, {"color": "red"})
        self.assertFalse(Job.objects.exists())

    def test_a_dry_run_starts_no_job(self):
        self.manager.patch(f"{self.address}?dry_run=true", {"name": "gold"})
        self.assertFalse(Job.objects.exists())

    def test_who_may_not_edit_a_record_that_carries_it_cannot_rename_a_tag(self):
        response = self.alice.patch(self.address, {"name": "gold"})
        self.assertEqual(response.status_code, 403, response.content)
        self.tag.refresh_from_db()
        self.assertEqual(self.tag.name, "vip")
        self.assertFalse(Job.objects.exists())
        with system_changes(self.cast.organization) as changes:
            for contact in Contact.objects.all():
                changes.save(contact, owner=self.cast.alice)
        self.run_job(self.rename("gold", self.alice))
        self.assertEqual(self.tags_of_contacts()[0], ["gold", "a"])

    def test_the_system_renames_at_once(self):
        with system_changes(self.cast.organization) as changes:
            changes.save(Tag.objects.get(), name="gold")
        self.assertEqual(self.tags_of_contacts()[0], ["gold", "a"])
        self.assertFalse(Job.objects.exists())

    def test_a_deleted_tag_stays_on_the_records(self):
        before = self.tags_of_contacts()
        self.assertEqual(self.alice.delete(self.address).status_code, 204)
        self.assertEqual(self.tags_of_contacts(), before)

    def test_uses_count_the_records_that_the_reader_sees(self):
        for client, count in ((self.manager, 2), (self.alice, 0)):
            answer = client.get(f"{self.address}uses/").json()
            uses = {**dict.fromkeys(tagged_types(), 0), "contact": count}
            self.assertEqual(answer, {"uses": uses})
