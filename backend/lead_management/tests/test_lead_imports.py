from core.tests.test_imports import ImportTestCase
from lead_management.models import Lead, LeadStay


class LeadImportTests(ImportTestCase):
    def run_import(self, text, **fields):
        return super().run_import(text, record_type="lead", **fields)

    def test_old_leads_come_with_the_status_that_they_ended_in(self):
        shown = self.run_import(
            "Last Name,Email,Lead Source,Lead Status,Estimated Value\n"
            "Lovelace,ada@example.com,website,converted,1000.5\n"
            "Byron,byron@example.com,referral,lost,\n"
            "Babbage,cb@example.com,,,\n"
        )
        self.assertCounts(shown, 3, 0, 0, 0)
        rows = Lead.objects.order_by("pk")
        self.assertEqual(
            list(rows.values_list("last_name", "lead_source", "status", "currency")),
            [
                ("Lovelace", "website", "converted", "USD"),
                ("Byron", "referral", "lost", ""),
                ("Babbage", "", "new", ""),
            ],
        )
        # The stays of what was imported are the leads' own fields.
        self.assertFalse(LeadStay.objects.exists())

    def test_an_import_moves_no_lead_that_is_there(self):
        self.run_import("Last Name,Email\nLovelace,ada@example.com\n")
        shown = self.run_import(
            "Last Name,Email,Status\nKing,ada@example.com,lost\n", mode="upsert"
        )
        self.assertCounts(shown, 0, 0, 0, 1)
        self.assertEqual(self.codes(shown), [(2, "Status", "read_only")])
        self.assertEqual(Lead.objects.get().version, 1)
        same = "Last Name,Email,Status\nKing,ada@example.com,new\n"
        self.assertCounts(self.run_import(same, mode="upsert"), 0, 1, 0, 0)

    def test_an_import_leaves_a_converted_lead_as_it_is(self):
        text = "Last Name,Email,Status\n{},ada@example.com,converted\n"
        self.run_import(text.format("Lovelace"))
        shown = self.run_import(text.format("King"), mode="upsert")
        self.assertCounts(shown, 0, 0, 0, 1)
        self.assertEqual([code for _, _, code in self.codes(shown)], ["converted"])
        self.assertEqual(Lead.objects.get().last_name, "Lovelace")
