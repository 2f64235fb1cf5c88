from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import TestCase

from contact_management.models import Company, Contact
from core import jobs
from core.models import Job
from core.testing import OWN, Cast, client_of, make_role, make_user

IMPORTS = "/api/imports/"


class ImportTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def run_import(self, text, user=None, name="people.csv", **options) -> Job:
        client = client_of(user or self.cast.alice)
        file = SimpleUploadedFile(name, text.encode())
        body = {"record_type": "contact", "file": file, **options}
        response = client.post(IMPORTS, body, format="multipart")
        self.assertEqual(response.status_code, 202, response.content)
        jobs.run(response.json()["id"])
        job = Job.objects.get(pk=response.json()["id"])
        self.assertEqual(job.status, Job.Status.DONE, job.error)
        return job

    def errors(self, job):
        return [(e.line, e.column, e.code) for e in job.errors.order_by("line")]


class CompanyTests(ImportTestCase):
    def test_rows_find_or_make_the_company_of_a_domain_or_an_external_id(self):
        text = (
            "Email,Company Name,Company Domain Name,Associated Company IDs\n"
            "ada@example.com,Engines,https://www.engines.example/,\n"
            "charles@example.com,Engines Ltd,engines.example,\n"
            "luigi@example.com,Cards,,4711;4712\n"
            "mary@example.com,Engines,,\n"
        )
        for _ in range(2):
            self.run_import(text)
            companies = Company.objects.order_by("name")
            self.assertEqual(
                list(companies.values_list("name", "domain", "external_ids")),
                [
                    ("Cards", "", {"hubspot": "4711"}),
                    ("Engines", "engines.example", {}),
                ],
            )
            contacts = Contact.objects.order_by("email")
            self.assertEqual(
                list(contacts.values_list("email", "company__name")),
                [
                    ("ada@example.com", "Engines"),
                    ("charles@example.com", "Engines"),
                    ("luigi@example.com", "Cards"),
                    # Its name alone tells no company.
                    ("mary@example.com", None),
                ],
            )

    def test_an_id_without_a_name_makes_no_company_and_keeps_the_contact(self):
        text = "LASTNAME,ACCOUNTID\nKing,001A\nHopper,001B\nTuring,\n"
        client_of(self.cast.alice).put(
            "/api/companies/by/salesforce/001A/", {"name": "Engines"}, format="json"
        )
        for dry_run in (True, False):
            job = self.run_import(text, dry_run=dry_run)
            self.assertEqual((job.counts["created"], job.counts["failed"]), (3, 0))
            shown = client_of(self.cast.alice).get(f"{IMPORTS}{job.pk}/").json()
            self.assertEqual(shown["not_found"], {"ACCOUNTID": 1})
        self.assertEqual(
            set(Contact.objects.values_list("last_name", "company__name")),
            {("King", "Engines"), ("Hopper", None), ("Turing", None)},
        )
        self.assertEqual(Company.objects.count(), 1)

    def test_a_contact_that_is_there_gets_the_company(self):
        self.run_import("Email,Last Name\nada@example.com,King\n")
        text = "Email,Company Domain\nada@example.com,engines.example\n"
        for _ in range(2):
            job = self.run_import(text, mode="update")
        self.assertEqual((job.counts["updated"], job.counts["skipped"]), (0, 1))
        self.assertEqual(Contact.objects.get().company.domain, "engines.example")

    def test_a_row_with_a_domain_that_is_none_fails_by_itself(self):
        job = self.run_import(
            "Email,Company Domain\nada@example.com,no domain\n"
            "mary@example.com,engines.example\n"
        )
        self.assertEqual(self.errors(job), [(2, "Company Domain", "invalid")])
        self.assertEqual(Contact.objects.get().company.domain, "engines.example")

    def test_no_company_is_made_for_a_row_that_is_left_out(self):
        self.run_import("Email\nada@example.com\n")
        stranger = self.cast.stranger
        self.run_import("Email\nbob@example.com\n", stranger)
        for text, mode, reasons in (
            ("ada@example.com,Cork,there.example", "create", {"exists": 1}),
            ("mary@example.com,Cork,there.example", "update", {"not_found": 1}),
            # Whose it is nobody is told, and it is not the importer's to change.
            ("bob@example.com,Cork,there.example", "upsert", {}),
            (",Cork,there.example", "create", {}),
        ):
            with self.subTest(text):
                job = self.run_import(f"Email,City,Company Domain\n{text}\n", mode=mode)
                self.assertEqual(job.state["skipped_because"], reasons)
                self.assertEqual(job.counts["failed"], 0 if reasons else 1)
                self.assertFalse(Company.objects.exists())
        self.run_import(
            "Email,Company Domain\nm@example.com,one.example\n"
            "m@example.com,two.example\n"
        )
        self.assertEqual(Company.objects.get().domain, "one.example")

    def test_a_dry_run_makes_no_company(self):
        text = "Email,Company Domain\nada@example.com,engines.example\n"
        job = self.run_import(text, dry_run=True)
        self.assertEqual(job.counts["created"], 1)
        self.assertFalse(Company.objects.exists())
        self.assertFalse(Contact.objects.exists())

    def test_whoever_may_make_no_companies_gets_an_error_for_the_row(self):
        seeing = {"view": "own"}
        role = make_role(self.cast.organization, "clerk", OWN, company=seeing)
        clerk = make_user(self.cast.organization, "clerk", role)
        text = "Email,Company Domain\nada@example.com,engines.example\n"
        job = self.run_import(text, clerk)
        self.assertEqual(self.errors(job), [(2, "Company Domain", "permission_denied")])
        self.assertFalse(Company.objects.exists())
        self.assertFalse(Contact.objects.exists())

    def test_who_does_not_see_the_company_field_maps_nothing_to_it(self):
        rights = {"contact": {"hidden": ["company"]}}
        role = make_role(self.cast.organization, "blind", OWN, field_rights=rights)
        blind = make_user(self.cast.organization, "blind", role)
        text = "Email,Company Domain\nada@example.com,engines.example\n"
        self.run_import(text, blind)
        self.assertIsNone(Contact.objects.get().company)
        self.assertFalse(Company.objects.exists())


class FurtherValuesTests(ImportTestCase):
    def test_second_addresses_and_phones_go_to_the_further_ones(self):
        text = (
            "Last Name,Email,Home Email,Business Phone,Home Phone,Mobile\n"
            "King,ada@example.com,ada@home.example,(415) 555-2671,415 555 2672,"
            "4155552673\n"
        )
        self.run_import(text)
        contact = Contact.objects.get()
        self.assertEqual(
            contact.other_emails, [{"value": "ada@home.example", "label": "home"}]
        )
        [phone] = contact.other_phones
        self.assertEqual((phone["value"], phone["label"]), ("415 555 2672", "home"))
        self.assertEqual(phone["e164"], "+14155552672")
        job = self.run_import(text, mode="upsert")
        self.assertEqual(job.counts["skipped"], 1)

    def test_a_card_keeps_all_its_addresses(self):
        card = (
            "BEGIN:VCARD\r\nVERSION:3.0\r\nN:King;Ada;;;\r\n"
            "EMAIL:ada@example.com\r\nEMAIL:ada@home.example\r\n"
            "TEL:415 555 2671\r\nTEL:415 555 2672\r\nEND:VCARD\r\n"
        )
        self.run_import(card, name="ada.vcf")
        contact = Contact.objects.get()
        self.assertEqual(
            [e["value"] for e in contact.other_emails], ["ada@home.example"]
        )
        self.assertEqual([p["e164"] for p in contact.other_phones], ["+14155552672"])
