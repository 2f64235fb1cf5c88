from unittest import skipUnless

from django.core.exceptions import ValidationError
from django.db import connection
from django.test import TestCase, TransactionTestCase

from contact_management.models import Company
from core.testing import Cast, RecordContract, system_changes
from core.tests.test_races import second_writer


class CompanyContract(RecordContract, TestCase):
    path = "/api/companies/"
    valid = {"name": "Analytical Engines {n}", "domain": "engines{n}.example.com"}
    change = {"industry": "Computing", "size": 12}

    def test_a_company_cannot_be_above_itself(self):
        above, below = self.make(), self.make(n=2)
        self.alice.patch(self.address(below), {"parent": above["id"]})
        for parent in (above, below):
            with self.subTest(parent["name"]):
                answer = self.alice.patch(self.address(above), {"parent": parent["id"]})
                self.assertProblem(answer, 400, "invalid")
                self.assertEqual(answer.json()["errors"][0]["code"], "circular")
        self.assertIsNone(self.model.objects.get(pk=above["id"]).parent)


@skipUnless(connection.vendor == "postgresql", "needs connections that wait for locks")
class CircleTests(TransactionTestCase):
    def test_two_at_once_close_no_circle_of_companies(self):
        organization = Cast().organization
        a, b, c = (Company(name=name) for name in "abc")
        with system_changes(organization) as changes:
            changes.save(c)
            changes.save(b, parent=c)
            changes.save(a)
        stored = Company.objects.get(pk=c.pk)

        def close():
            with system_changes(organization) as changes:
                changes.save(stored, parent=a)

        with system_changes(organization) as changes:
            changes.save(a, parent=b)
            second = second_writer(close)
        second.join()
        self.assertIsInstance(second.error, ValidationError)
        self.assertEqual(second.error.error_dict["parent"][0].code, "circular")
        self.assertIsNone(Company.objects.get(pk=c.pk).parent)


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
