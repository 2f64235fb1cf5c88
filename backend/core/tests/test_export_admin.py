import csv
import io
from unittest import mock
from urllib.parse import quote

from django.test import TestCase

from contact_management.models import Contact
from core import jobs
from core.access import Scope, Verb
from core.exporting.job import file_of
from core.models import Job, SecurityEvent
from core.testing import ALL, Cast, make_role, make_user, system_changes

CONTACTS = "/admin/contact_management/contact/"
JOBS = "/admin/core/job/"


class ExportAdminTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        here = cls.cast.organization
        cls.staff = make_user(
            here, "staff", make_role(here, "staff", ALL), is_staff=True
        )
        cls.contacts = [
            Contact(owner=cls.cast.alice, last_name=f"King {n}") for n in range(4)
        ]
        with system_changes(here) as changes:
            changes.bulk_create(Contact, cls.contacts)
            changes.delete(cls.contacts[3])

    def setUp(self):
        self.client.force_login(self.staff)
        for patch in (
            mock.patch.object(jobs, "PAUSE_SECONDS", 0),
            mock.patch.object(type(self.staff), "signed_in_at", self.signed_in_at),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        self.is_recent = True

    def signed_in_at(self, request):
        return 2**40 if self.is_recent else 0

    def act(self, contacts=(), query="", **fields):
        body = {
            "action": "export_selected",
            "_selected_action": [str(contact.pk) for contact in contacts],
            **fields,
        }
        return self.client.post(f"{CONTACTS}{query}", body)

    def export(self, contacts, query="", **fields) -> Job:
        body = {"apply": "1", "format": "csv", "version": "4.0", **fields}
        response = self.act(contacts, query, **body)
        job = Job.objects.get()
        self.addCleanup(file_of(job.pk).unlink, missing_ok=True)
        self.assertRedirects(response, f"{JOBS}{job.pk}/change/")
        jobs.run(job.pk)
        job.refresh_from_db()
        self.assertEqual(job.status, "done", job.error)
        return job

    def names(self, job) -> list[str]:
        response = self.client.get(f"{JOBS}{job.pk}/download/")
        self.assertEqual(response.status_code, 200)
        text = b"".join(response.streaming_content).decode("utf-8-sig")
        rows = csv.DictReader(io.StringIO(text, newline=""))
        return sorted(row["last_name"] for row in rows)

    def test_the_page_asks_for_the_format(self):
        response = self.act(self.contacts[:2])
        self.assertContains(response, "2 contacts")
        self.assertContains(response, "Excel workbook")
        self.assertFalse(Job.objects.exists())

    def test_the_selected_are_exported_and_the_page_of_the_job_has_the_file(self):
        job = self.export(self.contacts[:2])
        page = self.client.get(f"{JOBS}{job.pk}/change/")
        self.assertContains(page, f"{JOBS}{job.pk}/download/")
        self.assertEqual(self.names(job), ["King 0", "King 1"])
        steps = SecurityEvent.objects.filter(kind="export").order_by("pk")
        self.assertEqual([e.detail["step"] for e in steps], ["made", "fetched"])

    def test_all_that_a_search_finds_is_exported(self):
        query = f"?q={quote('King 2')}"
        job = self.export(self.contacts[2:3], query, select_across="1")
        self.assertEqual(self.names(job), ["King 2"])

    def test_the_whole_list_is_exported_and_takes_a_recent_sign_in(self):
        self.is_recent = False
        body = {"apply": "1", "format": "csv", "version": "4.0", "select_across": "1"}
        response = self.act(self.contacts[:1], **body)
        self.assertEqual(response.status_code, 302)
        self.assertIn("/reauthenticate/?next=", response["Location"])
        self.assertFalse(Job.objects.exists())
        self.is_recent = True
        job = self.export(self.contacts[:1], select_across="1")
        self.assertEqual(self.names(job), ["King 0", "King 1", "King 2"])

    def test_deleted_ones_are_exported_from_the_list_of_deleted_ones(self):
        for across in ("0", "1"):
            with self.subTest(across):
                Job.objects.all().delete()
                job = self.export(
                    self.contacts[3:], "?deleted=yes", select_across=across
                )
                self.assertEqual(self.names(job), ["King 3"])

    def test_who_may_not_export_is_not_offered_it(self):
        here = self.cast.organization
        role = make_role(here, "viewer", {Verb.VIEW: Scope.ALL})
        self.client.force_login(make_user(here, "viewer", role, is_staff=True))
        self.assertNotContains(self.client.get(CONTACTS), "export_selected")
        self.act(self.contacts[:1], apply="1", format="csv", version="4.0")
        self.assertFalse(Job.objects.exists())

    def test_the_file_is_only_for_who_may_export_it_now(self):
        job = self.export(self.contacts[:2])
        with system_changes(self.cast.organization) as changes:
            rights = {**self.staff.role.rights, "*": {Verb.VIEW: "all"}}
            changes.save(self.staff.role, rights=rights)
        response = self.client.get(f"{JOBS}{job.pk}/download/")
        self.assertRedirects(response, f"{JOBS}{job.pk}/change/")
        other = make_user(
            self.cast.organization, "other", self.cast.manager.role, is_staff=True
        )
        self.client.force_login(other)
        response = self.client.get(f"{JOBS}{job.pk}/download/")
        self.assertEqual(response.status_code, 404)
