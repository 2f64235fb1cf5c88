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


class ContactFileTests(ImportTestCase):
    def test_rows_that_fill_the_whole_name_alone_have_it(self):
        """Thunderbird collects addresses so; German lists call the last name "Name"."""
        self.run_import(
            "First Name,Last Name,Display Name,Primary Email\n"
            "Ada,King,Countess,ada@example.com\n,,Bob Smith,bob@example.com\n"
        )
        self.run_import("Name;Vorname\nvan der Berg;Jan\n")
        self.assertEqual(
            self.rows("first_name", "last_name"),
            [("Ada", "King"), ("Bob", "Smith"), ("Jan", "van der Berg")],
        )

    def test_who_has_another_mobile_number_is_somebody_else(self):
        """Address books of telephones know people by little more than that."""
        text = (
            "First Name,Mobile\nThomas,0171 1111111\nThomas,0171 2222222\n"
            "Thomas,0171 1111111\n"
        )
        for mode in ("create", "upsert"):
            shown = self.run_import(text, mode=mode)
            self.assertEqual(
                self.rows("last_name", "mobile"),
                [("Thomas", "0171 1111111"), ("Thomas", "0171 2222222")],
            )
        self.assertCounts(shown, 0, 0, 3, 0)

    def test_what_several_columns_say_of_one_field_is_all_there(self):
        text = (
            "Last Name,Description,Notes,Notes,Tags,Labels\n"
            'King,Countess,Likes maths,,vip,"London, VIP"\n'
            "Boole,,Calls back,Calls back,,\n"
        )
        for mode, counts in (("create", (2, 0, 0, 0)), ("upsert", (0, 0, 2, 0))):
            self.assertCounts(self.run_import(text, mode=mode), *counts)
        self.assertEqual(
            self.rows("notes", "tags"),
            [("Likes maths\nCountess", ["vip", "London"]), ("Calls back", [])],
        )
