from django.test import TestCase

from core.testing import RecordContract


class CompanyContract(RecordContract, TestCase):
    path = "/api/companies/"
    valid = {"name": "Analytical Engines {n}", "domain": "engines{n}.example.com"}
    change = {"industry": "Computing", "size": 12}


class AffiliationContract(RecordContract, TestCase):
    path = "/api/affiliations/"
    valid = {}
    needs = {
        "contact": ("/api/contacts/", {"last_name": "King"}),
        "company": ("/api/companies/", {"name": "Engines"}),
    }
    change = {"job_title": "Adviser"}

    def test_a_contact_is_affiliated_with_a_company_once(self):
        record = self.make()
        self.assertProblem(self.alice.post(self.path, self.body()), 409, "unique")
        self.assertEqual(self.model.objects.count(), 1)
        self.alice.delete(self.address(record))
        self.make()
