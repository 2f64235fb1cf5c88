"""What was exported is imported again, and nothing is new."""

from unittest import mock

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import TestCase

from contact_management.models import Company, Contact
from core import jobs
from core.exporting import wish
from core.exporting.job import file_of
from core.models import Change, Job
from core.testing import Cast, client_of, system_changes

NASTY = (
    *("=1+1", "+49 171 1234567", "-5", "@SUM(A1)", "'=1+1", "''-5", "'quoted'"),
    *(
        'a,b;c:"d"',
        "line\nbreak",
        "007",
        "1e5",
        "2026-03-01",
        "TRUE",
        "3.0",
        "Ñandú 数",
    ),
    *("http://x.com", "[1]", '["x"]', "NULL", "#N/A", "٣", "a ::: b", "1 234,50"),
)


class RoundTripTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        people = (cls.cast.alice, cls.cast.bob, cls.cast.manager)
        companies = [
            Company(owner=cls.cast.bob, name="Engines", domain="engines.com", size=7),
            Company(owner=cls.cast.bob, name="No domain"),
        ]
        contacts = [
            {
                "owner": people[number % 3],
                "salutation": text[:30],
                "first_name": text,
                "last_name": text[::-1],
                "email": f"{number}@x.com",
                "email_label": "Work",
                "other_emails": [{"value": f"b{number}@x.com", "label": "Home"}],
                "phone": "+49 171 1234567",
                "phone_label": "a, b",
                "mobile": "(030) 12 34 56",
                "other_phones": [
                    {"value": "tel: 5", "label": ""},
                    {"value": "+1 212 5550123", "label": "Fax"},
                ],
                "company": (*companies, None)[number % 3],
                "company_name": text,
                "job_title": text,
                "department": text,
                "address_line_1": text,
                "city": text,
                "state": text,
                "postal_code": "01234",
                "country": ("DE", "Elbonia", "")[number % 3],
                "website": "https://x.com/a?b=1,2;3",
                "status": Contact.Status.values[number % 3],
                "source": text,
                "notes": f"{text}\n\n{text}",
                "tags": [text, "vip", "a,b"] if number % 2 else [],
                "external_ids": {"crm": text, "old_one": str(number)},
            }
            for number, text in enumerate(NASTY)
        ]
        with system_changes(cls.cast.organization) as changes:
            changes.bulk_create(Company, companies)
            for values in contacts:
                changes.save(Contact(), **values)

    def setUp(self):
        for patch in (
            mock.patch.object(wish, "CHUNK_ROWS", 5),
            mock.patch.object(jobs, "PAUSE_SECONDS", 0),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        self.manager = client_of(self.cast.manager)

    def exported(self, kind, record_type="contact") -> bytes:
        body = {"record_type": record_type, "format": kind}
        response = self.manager.post("/api/exports/", body)
        self.assertEqual(response.status_code, 202, response.content)
        job = Job.objects.get(pk=response.json()["id"])
        self.addCleanup(file_of(job.pk).unlink, missing_ok=True)
        jobs.run(job.pk)
        job.refresh_from_db()
        self.assertEqual(job.status, "done", job.error)
        return file_of(job.pk).read_bytes()

    def imported(self, content, kind, record_type="contact", **fields) -> dict:
        file = SimpleUploadedFile(f"file.{kind}", content)
        body = {"record_type": record_type, "file": file, **fields}
        response = self.manager.post("/api/imports/", body, format="multipart")
        self.assertEqual(response.status_code, 202, response.content)
        jobs.run(response.json()["id"])
        return self.manager.get(f"/api/imports/{response.json()['id']}/").json()

    def test_the_suggested_mapping_finds_everything_unchanged(self):
        before = Change.objects.count()
        for kind in ("csv", "xlsx"):
            content = self.exported(kind)
            for match in ("", "id", "external_ids.old_one"):
                with self.subTest(kind=kind, match=match):
                    done = self.imported(content, kind, mode="upsert", match=match)
                    self.assertEqual(done["errors"], [])
                    self.assertEqual(done["unknown_owners"], {})
                    self.assertEqual(done["skipped_because"], {"unchanged": len(NASTY)})
                    used = {n for n in done["mapping"].values() if n}
                    self.assertTrue(
                        {
                            *("notes", "tags", "other_phones", "owner"),
                            *("company_domain", "external_ids.crm", "company_name"),
                        }
                        <= used,
                        used,
                    )
        self.assertEqual(Change.objects.count(), before)

    def test_companies_come_back_unchanged_too(self):
        for kind in ("csv", "xlsx"):
            with self.subTest(kind):
                content = self.exported(kind, "company")
                done = self.imported(content, kind, "company", mode="upsert")
                self.assertEqual(done["skipped_because"], {"unchanged": 2})

    def test_a_file_in_another_organization_makes_the_same_contacts(self):
        names = ("first_name", "last_name", "notes", "tags", "other_phones", "phone")
        names = (*names, "external_ids", "country", "other_emails", "postal_code")
        carol = self.cast.carol
        for kind in ("csv", "xlsx"):
            with self.subTest(kind):
                self.manager = client_of(self.cast.manager)
                content = self.exported(kind)
                self.manager = client_of(carol)
                done = self.imported(content, kind)
                self.assertEqual((done["created"], done["errors"]), (len(NASTY), []))
                made = Contact.objects.visible_to(carol).order_by("email")
                kept = Contact.objects.visible_to(self.cast.manager).order_by("email")
                self.assertEqual(list(made.values(*names)), list(kept.values(*names)))
                with system_changes(carol.organization) as changes:
                    changes.delete(*made)
