from django.test import TestCase

from core.testing import RecordContract


class CompanyContract(RecordContract, TestCase):
    path = "/api/companies/"
    valid = {"name": "Analytical Engines {n}", "domain": "engines{n}.example.com"}
    change = {"industry": "Computing", "size": 12}


class AffiliationContract(RecordContract, TestCase):
    path = "/api/affiliations/"
    valid = {}
    change = {"job_title": "Adviser"}

    def setUp(self):
        super().setUp()
        self.pairs = {}

    def body(self, n=1, **fields):
        """With a contact and a company of alice's, the same for the same `n`."""
        if n not in self.pairs:
            contact = self.alice.post("/api/contacts/", {"last_name": f"King {n}"})
            company = self.alice.post("/api/companies/", {"name": f"Engines {n}"})
            self.pairs[n] = {
                "contact": contact.json()["id"],
                "company": company.json()["id"],
            }
        return super().body(n, **self.pairs[n], **fields)

    def test_a_contact_is_affiliated_with_a_company_once(self):
        record = self.make()
        self.assertProblem(self.alice.post(self.path, self.body()), 409, "unique")
        self.assertEqual(self.model.objects.count(), 1)
        self.alice.delete(self.address(record))
        self.make()
