import datetime
import io

import xlsxwriter

from core.testing import system_changes
from core.tests.test_imports import ImportTestCase
from lead_management.models import Deal, DealStay, Pipeline
from lead_management.models.deal import AS_IMPORTED


class DealImportTests(ImportTestCase):
    def setUp(self):
        super().setUp()
        self.pipeline = Pipeline.objects.get(organization=self.cast.organization)
        self.stages = {stage["name"]: stage["id"] for stage in self.pipeline.stages}

    def run_import(self, text, **fields):
        return super().run_import(text, record_type="deal", **fields)

    def partners(self, **fields):
        partners = Pipeline(name="Partners", position=1)
        with system_changes(self.cast.organization) as changes:
            changes.save(partners, **fields)
        return partners

    def placed(self) -> list[tuple]:
        deals = Deal.objects.order_by("pk").select_related("stage__pipeline")
        return [(d.stage.pipeline.name, d.stage.name) for d in deals]

    def test_a_row_names_the_stage_of_its_deal(self):
        partners = self.partners()
        shown = self.run_import(
            "Deal Name,Stage,Pipeline,Status,Lost Reason\n"
            "A,,,,\n"
            "B,negotiation,sales,open,\n"
            f"C,{partners.stages[2]['id']},,,\n"
            "D,,Partners,,\n"
            "E,Proposal,Partners,Lost,Too dear\n"
            "F,closedwon,Partners,,\n"
            "G,,,Won,\n"
            "H,,,Open,\n"
        )
        self.assertCounts(shown, 8, 0, 0, 0)
        self.assertEqual(
            self.placed(),
            [
                ("Sales", "Qualification"),
                ("Sales", "Negotiation"),
                ("Partners", "Proposal"),
                ("Partners", "Qualification"),
                ("Partners", "Lost"),
                ("Partners", "Won"),
                ("Sales", "Won"),
                ("Sales", "Qualification"),
            ],
        )
        self.assertEqual(Deal.objects.get(name="E").reason, "Too dear")

    def test_a_share_of_a_workbook_is_a_probability(self):
        """Half is 0.5 in the file, and shown as 50%."""
        file = io.BytesIO()
        with xlsxwriter.Workbook(file) as book:
            sheet = book.add_worksheet()
            sheet.write_row(0, 0, ["Deal name", "Probability"])
            share = book.add_format({"num_format": "0%"})
            sheet.write(1, 0, "A")
            sheet.write_number(1, 1, 0.5, share)
        self.assertCounts(self.run_import(file.getvalue()), 1, 0, 0, 0)
        self.assertEqual(Deal.objects.get().probability, 50)

    def test_a_stage_that_is_none_or_several_is_refused_at_its_column(self):
        self.partners()
        shown = self.run_import(
            "Deal Name,Stage,Pipeline,Status\n"
            "A,Prospecting,,\nB,Proposal,,\nC,,Elsewhere,\nD,,,Sold\n"
        )
        self.assertCounts(shown, 0, 0, 0, 4)
        self.assertEqual(
            self.codes(shown),
            [
                (2, "Stage", "does_not_exist"),
                (3, "Stage", "ambiguous"),
                (4, "Pipeline", "does_not_exist"),
                (5, "Status", "invalid_choice"),
            ],
        )
        self.assertIn("Qualification, Needs analysis", shown["errors"][0]["message"])

    def test_without_an_active_pipeline_no_row_fits(self):
        with system_changes(self.cast.organization) as changes:
            changes.save(Pipeline.objects.get(pk=self.pipeline.pk), is_active=False)
        shown = self.run_import("Deal Name,Stage,Pipeline\nA,Won,\nB,Won,Sales\nC,,\n")
        self.assertCounts(shown, 0, 0, 0, 3)
        self.assertEqual(
            {code for _, _, code in self.codes(shown)},
            {"does_not_exist", "inactive", "required"},
        )

    def test_what_was_over_elsewhere_is_over_since_then(self):
        shown = self.run_import(
            "Deal Name,Stage,Close Date,Won Time,Probability,Amount\n"
            'A,Closed Won,2024-05-02,,100.0,"1.200,50"\n'
            "B,Won,2024-05-02,2024-05-01 10:00,100%,300\n"
            "C,Won,2999-01-01,,,\n"
            "D,Proposal,2024-05-02,,40,\n"
        )
        self.assertCounts(shown, 4, 0, 0, 0)
        a, b, c, d = Deal.objects.order_by("pk")
        day = datetime.datetime(2024, 5, 2, tzinfo=datetime.UTC)
        self.assertEqual((a.closed_at, a.stage_since), (day, day))
        self.assertEqual((str(a.amount), a.probability), ("1200.50", None))
        self.assertEqual(a.reason, AS_IMPORTED)
        self.assertEqual(b.closed_at.isoformat(), "2024-05-01T10:00:00+00:00")
        self.assertLess(c.closed_at, datetime.datetime.now(datetime.UTC))
        self.assertEqual((d.closed_at, d.reason, d.probability), (None, "", 40))
        self.assertFalse(DealStay.objects.exists())

    def test_a_row_moves_a_deal_that_is_there_as_everything_does(self):
        text = "Deal Name,external_ids.crm,Stage,Lost Reason\nA,1,{},{}\n"
        options = {"mode": "upsert", "match": "external_ids.crm"}
        self.run_import(text.format("Proposal", ""), **options)
        shown = self.run_import(text.format("Lost", ""), **options)
        self.assertCounts(shown, 0, 0, 0, 1)
        self.assertEqual([code for _, _, code in self.codes(shown)], ["required"])
        shown = self.run_import(text.format("Lost", "Too dear"), **options)
        self.assertCounts(shown, 0, 1, 0, 0)
        deal = Deal.objects.get()
        self.assertEqual((deal.stage.name, deal.reason), ("Lost", "Too dear"))
        self.assertEqual(deal.stays.get().stage.name, "Proposal")
        again = self.run_import(text.format("Lost", "Too dear"), **options)
        self.assertCounts(again, 0, 0, 1, 0)
        self.run_import(text.format("Proposal", ""), **options)
        deal = Deal.objects.get()
        self.assertEqual((deal.reason, deal.closed_at), ("", None))

    def test_the_company_is_found_or_made_as_for_contacts(self):
        shown = self.run_import(
            "Deal Name,Company,Company Domain,Account ID\n"
            "A,George,george.org,\nB,George,george.org,\nC,Mill,,001\nD,Loom,,\n"
            "E,,no domain,\nF,,,002\n"
        )
        self.assertCounts(shown, 5, 0, 0, 1)
        self.assertEqual(self.codes(shown), [(6, "Company Domain", "invalid")])
        self.assertEqual(shown["not_found"], {"Account ID": 1})
        found = Deal.objects.order_by("pk").values_list("company__name", "company_name")
        self.assertEqual(
            list(found),
            [
                *((name, name) for name in ("George", "George", "Mill")),
                *((None, "Loom"), (None, "")),
            ],
        )
