import json

from django.utils import timezone

from core.testing import ALL, make_role, make_user, system_changes
from lead_management.models import Activity, Deal, Lead, Pipeline
from user_management.tests.test_admin import AdminTestCase

PATH = "/admin/"


class DashboardTests(AdminTestCase):
    """The reports as charts, on the front page of the admin."""

    @classmethod
    def setUpTestData(cls):
        super().setUpTestData()
        cls.pipeline = Pipeline.objects.get(organization=cls.organization)
        with system_changes(cls.organization) as changes:
            lead = Lead()
            changes.save(
                lead, last_name="Lovelace", owner=cls.admin, lead_source="website"
            )
            changes.save(
                Lead(), last_name="Byron", owner=cls.seller, status="converted"
            )
            for amount, currency in (("1000.50", "USD"), ("20", "USD"), ("7", "EUR")):
                changes.save(
                    Deal(),
                    name="Engine",
                    amount=amount,
                    currency=currency,
                    owner=cls.admin,
                    expected_close_on=timezone.now().date(),
                )
            changes.save(
                Activity(),
                kind="call",
                lead=lead,
                owner=cls.admin,
                duration_minutes=90,
            )

    def setUp(self):
        super().setUp()
        self.month = f"{timezone.now():%b %Y}"

    def cards(self, user=None, query="") -> dict:
        self.client.force_login(user or self.admin)
        cards = self.page(f"{PATH}{query}").context["cards"]
        return {card["title"]: card for card in cards}

    def staff(self, name, scopes, field_rights=None, **more):
        role = make_role(self.organization, name, scopes, field_rights, **more)
        return make_user(self.organization, name, role, is_staff=True)

    def test_every_report_is_a_chart_with_its_figures(self):
        cards = self.cards()
        self.assertEqual(
            list(cards),
            [
                *("Lead funnel", "Sources by yield"),
                *("Pipeline value: Sales, EUR", "Pipeline value: Sales, USD"),
                *("Forecast per month, EUR", "Forecast per month, USD"),
                *("Activity per user", "Leads without a touch for 14 days"),
            ],
        )
        self.assertEqual(
            cards["Lead funnel"]["rows"][:2],
            [
                ["New", "2", "100.0%", "100.0%", "0", "0 h 0 min"],
                ["Contacted", "2", "100.0%", "100.0%", "1", ""],
            ],
        )
        self.assertEqual(
            cards["Sources by yield"]["rows"],
            [["unknown", "1", "1", "100.0%"], ["website", "1", "0", "0.0%"]],
        )
        forecast = cards["Forecast per month, USD"]
        self.assertEqual(forecast["headers"], ["Month", "Amount", "Weighted"])
        self.assertEqual(forecast["rows"], [[self.month, "1,020.50", "102.05"]])
        chart = json.loads(forecast["chart"]["data"])
        self.assertEqual(chart["labels"], [self.month])
        self.assertEqual(
            {one["label"]: one["data"] for one in chart["datasets"]},
            {"Amount": [1020.5], "Weighted": [102.05]},
        )
        self.assertEqual(
            cards["Activity per user"]["rows"],
            [["admin@example.com", "1", "0", "0", "0", "0", "90", "0"]],
        )

    def test_everybody_has_what_the_api_would_tell_them(self):
        """The seller's role sees a team, of which there is none here."""
        cards = self.cards(self.seller)
        self.assertEqual(cards["Lead funnel"]["rows"][0][1], "1")
        self.assertEqual(cards["Pipeline value: Sales"]["headers"][1], "Deals")
        self.assertEqual(cards["Forecast per month"]["rows"], [])
        elsewhere = self.elsewhere.manager
        with system_changes(elsewhere.organization) as changes:
            changes.save(elsewhere, is_staff=True)
        self.assertEqual(self.cards(elsewhere)["Lead funnel"]["rows"][0][1], "0")

    def test_who_sees_no_records_has_no_charts(self):
        for user, titles in (
            (self.staff("blind", {}), []),
            (self.staff("deals", {}, deal=ALL), ["Pipeline value: Sales, EUR"]),
        ):
            with self.subTest(user):
                self.assertEqual(list(self.cards(user))[:1], titles)

    def test_what_a_role_hides_is_not_drawn(self):
        hidden = {"deal": {"hidden": ["amount"]}, "lead": {"hidden": ["owner"]}}
        user = self.staff("frugal", ALL, hidden)
        cards = self.cards(user)
        self.assertEqual(cards["Forecast per month"]["rows"], [[self.month, "3"]])
        content = self.page(PATH).content
        for secret in (b"1,020.50", b"1020.5", b"102.05"):
            self.assertNotIn(secret, content)
        [row] = cards["Leads without a touch for 14 days"]["rows"]
        self.assertEqual(row, ["all", "0", "0", ""])

    def test_a_period_is_chosen(self):
        self.assertEqual(
            self.cards(query="?period=last_year")["Lead funnel"]["rows"][0][1], "0"
        )
        page = self.page(f"{PATH}?period=last_year")
        active = [p["title"] for p in page.context["periods"] if p["active"]]
        self.assertEqual(active, ["Last year"])
        self.assertContains(page, 'href="?period=this_month"')
        [active] = [p for p in self.page(PATH).context["periods"] if p["active"]]
        self.assertEqual(active["title"], "This quarter")
        today = timezone.now().date()
        for days in ("?period=all_time", f"?from={today}&to={today}"):
            self.assertIn("Forecast per month, USD", self.cards(query=days))

    def test_what_is_no_period_is_said_and_all_is_shown(self):
        for query in (
            *("?period=x", "?period=%00", "?from=0001-01-01", "?surprise=1"),
            *("?team=x", f"?team={self.admin.pk}", "?owner="),
        ):
            with self.subTest(query):
                page = self.page(f"{PATH}{query}")
                [message] = [str(message) for message in page.context["messages"]]
                self.assertIn(query.strip("?").partition("=")[0], message)
                self.assertEqual(len(page.context["cards"]), 8)

    def test_names_are_no_markup(self):
        name = '"><script>alert(1)</script>'
        stages = self.pipeline.stages
        stages[0]["name"] = name
        with system_changes(self.organization) as changes:
            changes.save(self.pipeline, stages=stages, name=name)
        page = self.page(PATH)
        self.assertNotContains(page, "<script>alert")
        self.assertContains(page, "&lt;script&gt;alert(1)")
