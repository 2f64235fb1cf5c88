import datetime

from core.testing import system_changes
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
        self.assertUndone(shown)

    def test_it_stays_where_it_was_since_the_moment_that_is_told(self):
        shown = self.run_import(
            "Last Name,Converted,Converted Date\n"
            "Lovelace,true,2024-05-02T10:00:00Z\n"
            "Byron,no,02.05.2024 10:00\n"
            "King,1,\n"
        )
        self.assertCounts(shown, 3, 0, 0, 0)
        may = datetime.datetime(2024, 5, 2, 10, tzinfo=datetime.UTC)
        ada, byron, king = Lead.objects.order_by("pk")
        self.assertEqual((ada.status, ada.status_since), ("converted", may))
        self.assertEqual((byron.status, byron.status_since), ("new", may))
        self.assertEqual(king.status, "converted")
        [stay] = self.alice.get(f"/api/leads/{ada.pk}/stays/").json()
        self.assertEqual(stay["entered_at"], "2024-05-02T10:00:00Z")
        [creation] = self.alice.get(f"/api/leads/{ada.pk}/history/").json()["results"]
        self.assertEqual(creation["after"]["status"], "converted")
        self.assertEqual(creation["after"]["status_since"], "2024-05-02T10:00:00Z")
        self.assertUndone(shown)

    def test_what_is_no_status_or_moment_is_refused_at_its_column(self):
        shown = self.run_import(
            "Last Name,Status,Converted,Converted Date\n"
            "A,sold,,\nB,,perhaps,\nC,,,soon\nD,,,2999-01-01\nE,,,0001-01-01T00:00+09:00\n"
            "F,new,,\n"
        )
        self.assertCounts(shown, 1, 0, 0, 5)
        self.assertEqual(
            self.codes(shown),
            [
                (2, "Status", "invalid_choice"),
                (3, "Converted", "invalid"),
                (4, "Converted Date", "not_a_date"),
                (5, "Converted Date", "future"),
                (6, "Converted Date", "invalid"),
            ],
        )

    def test_a_moment_without_an_offset_is_of_the_importing_user(self):
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.alice, timezone="Asia/Tokyo")
        self.run_import("Last Name,Next Follow Up\nKing,2026-12-24 09:00\n")
        follow_up = Lead.objects.get().next_follow_up_at
        self.assertEqual(follow_up.isoformat(), "2026-12-24T00:00:00+00:00")

    def test_a_time_may_be_of_a_clock_with_twelve_hours(self):
        """As Salesforce writes it in its reports, and other programs in America."""
        moments = {
            '"5/14/2025, 9:12 AM"': "2025-05-14T09:12:00+00:00",
            '"5/14/2025, 9:12\u202fPM"': "2025-05-14T21:12:00+00:00",
            "5/14/2025 12:00 am": "2025-05-14T00:00:00+00:00",
            "05/14/2025 12:30:15PM": "2025-05-14T12:30:15+00:00",
            "14.05.2025 9:12": "2025-05-14T09:12:00+00:00",
        }
        none = ("5/14/2025 13:00 PM", "5/14/2025 0:30 AM", "5/14/2025 25:00")
        rows = "".join(f"{n},{text}\n" for n, text in enumerate([*moments, *none]))
        shown = self.run_import(f"Last Name,Last Contacted\n{rows}")
        found = Lead.objects.order_by("last_name")
        self.assertEqual(
            [lead.last_contacted_at.isoformat() for lead in found],
            list(moments.values()),
        )
        self.assertEqual(
            self.codes(shown),
            [(line, "Last Contacted", "invalid") for line in (7, 8, 9)],
        )

    def assertUndone(self, shown):
        undo = f"/api/change-sets/{shown['change_set']}/undo/"
        answer = self.alice.post(undo)
        self.assertEqual((answer.status_code, answer.json()["undone"]), (200, 3))
        self.assertFalse(Lead.objects.live().exists())

    def test_an_import_moves_no_lead_that_is_there(self):
        self.run_import("Last Name,Email\nLovelace,ada@example.com\n")
        shown = self.run_import(
            "Last Name,Email,Status\nKing,ada@example.com,lost\n", mode="upsert"
        )
        self.assertCounts(shown, 0, 0, 0, 1)
        self.assertEqual(self.codes(shown), [(2, "Status", "read_only")])
        self.assertEqual(Lead.objects.get().version, 1)
        shown = self.run_import(
            "Last Name,Email,Converted,Converted Date\n"
            "King,ada@example.com,1,2020-01-01\n",
            mode="upsert",
        )
        self.assertEqual(self.codes(shown), [(2, "Converted", "read_only")])
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
