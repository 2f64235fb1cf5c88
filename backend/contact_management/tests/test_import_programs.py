"""Files as other programs write them, and what arrives of them."""

from contact_management.models import Company
from core.tests.test_imports import ImportTestCase


class CompanyFileTests(ImportTestCase):
    def run_import(self, text, **fields):
        return super().run_import(text, record_type="company", **fields)

    def test_a_company_without_a_name_is_refused_as_everywhere(self):
        """The API and the admin take none, and a second import would not find it."""
        text = "Website,Name\nengines.example,\ncards.example,Cards\n"
        for dry_run in (True, False):
            shown = self.run_import(text, dry_run=dry_run)
            self.assertCounts(shown, 1, 0, 0, 1)
            self.assertEqual(self.codes(shown), [(2, "", "blank")])
            self.assertIn("name", shown["errors"][0]["message"])
        self.assertEqual(Company.objects.get().name, "Cards")

    def test_a_company_that_is_there_needs_no_column_of_its_name(self):
        self.run_import("Name,Domain\nEngines,engines.example\n")
        shown = self.run_import(
            "Domain,City\nengines.example,Cork\ncards.example,Rome\n", mode="upsert"
        )
        self.assertCounts(shown, 0, 1, 0, 1)
        self.assertEqual(self.codes(shown), [(3, "", "blank")])
        self.assertEqual(Company.objects.get().city, "Cork")
