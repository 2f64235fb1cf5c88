from collections import Counter
from unittest import skipUnless

from django.db import connection
from django.test import TransactionTestCase

from contact_management.models import Company, Contact
from core.testing import Cast, client_of
from core.tests.test_races import at_once
from lead_management.models import Deal, DealContact, LeadStay

THREADS = 8
EVERYTHING = {"contact": {}, "company": {}, "deal": {}}


@skipUnless(connection.vendor == "postgresql", "needs connections that wait for locks")
class ConversionRaceTests(TransactionTestCase):
    def setUp(self):
        self.cast = Cast()
        self.alice = client_of(self.cast.alice)

    def make(self, path, **body) -> str:
        answer = self.alice.post(f"/api/{path}/", body)
        self.assertEqual(answer.status_code, 201, answer.content)
        return answer.json()["id"]

    def lead(self, n=0) -> str:
        return self.make(
            "leads",
            last_name="Lovelace",
            email=f"ada{n}@example.com",
            company_name="Engines",
            website="https://engines.example.com",
        )

    def convert(self, lead, **body):
        client = client_of(self.cast.alice)
        return client.post(f"/api/leads/{lead}/convert/", body or EVERYTHING)

    def test_of_many_conversions_of_one_lead_one_is_made(self):
        lead = self.lead()
        answers = at_once(*[lambda: self.convert(lead)] * THREADS)
        statuses = Counter(answer.status_code for answer in answers)
        self.assertEqual(statuses, {200: 1, 409: THREADS - 1})
        [made] = [a.json() for a in answers if a.status_code == 200]
        for answer in answers:
            if answer.status_code == 409:
                problem = answer.json()
                self.assertEqual(problem["code"], "converted")
                for name in EVERYTHING:
                    self.assertEqual(problem[name], made[name]["id"])
        for model in (Contact, Company, Deal, DealContact, LeadStay):
            self.assertEqual(model.objects.count(), 1, model)

    def test_leads_of_one_company_become_contacts_of_one_company(self):
        leads = [self.lead(n) for n in range(THREADS)]
        wish = {"company": {"match": True}}
        answers = at_once(
            *(lambda lead=lead: self.convert(lead, **wish) for lead in leads)
        )
        statuses = Counter(answer.status_code for answer in answers)
        self.assertEqual(statuses, {200: THREADS})
        company = Company.objects.get()
        self.assertEqual(Contact.objects.filter(company=company).count(), THREADS)

    def test_what_is_there_is_written_by_others_meanwhile(self):
        """Whatever locks what first: none is refused, and nothing is lost."""
        ids = {
            "contact": self.make("contacts", last_name="King"),
            "company": self.make("companies", name="Engines"),
        }
        ids["deal"] = self.make("deals", name="Engine", company=ids["company"])

        def patch(path, pk, **body):
            client = client_of(self.cast.alice)
            return client.patch(f"/api/{path}/{pk}/", body)

        wish: dict = {name: {"id": pk} for name, pk in ids.items()}
        wish["contact"]["values"] = {"email": ""}
        for n in range(5):
            leads = [self.lead(f"{n}-{m}") for m in range(3)]
            answers = at_once(
                *(lambda lead=lead: self.convert(lead, **wish) for lead in leads),
                lambda n=n: patch("deals", ids["deal"], notes=f"{n}"),
                lambda n=n: patch("contacts", ids["contact"], company=ids["company"]),
                lambda n=n: patch("contacts", ids["contact"], notes=f"{n}"),
                lambda n=n: patch("companies", ids["company"], industry=f"{n}"),
            )
            statuses = Counter(answer.status_code for answer in answers)
            self.assertEqual(statuses, {200: len(answers)})
        contact = Contact.objects.get()
        self.assertEqual((contact.notes, Company.objects.get().industry), ("4", "4"))
        self.assertEqual(DealContact.objects.count(), 1)
