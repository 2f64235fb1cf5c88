import datetime
import re
from unittest import skipUnless
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django.apps import apps
from django.conf import settings
from django.db import connection
from django.test import SimpleTestCase, TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext

from core.models import Organization
from core.testing import (
    ALL,
    OWN,
    Cast,
    client_of,
    make_role,
    make_team,
    make_user,
    system_changes,
)
from lead_management.models import (
    Activity,
    Deal,
    DealStay,
    Lead,
    LeadProcess,
    LeadStay,
    Pipeline,
)
from lead_management.reports import REPORTS, Question
from lead_management.reports.period import Period, Preset, start_of

from .clock import stopped_at

HOUR = datetime.timedelta(hours=1)
MONDAY = datetime.datetime(2026, 3, 2, 9, tzinfo=datetime.UTC)
REASON = "No budget"


class ReportTestCase(TestCase):
    """People who all work on Monday, 2 March 2026, nine o'clock."""

    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        cls.pipeline = Pipeline.objects.get(organization=cls.cast.organization)
        cls.stages = {stage["name"]: stage["id"] for stage in cls.pipeline.stages}

    def setUp(self):
        self.clock = self.enterContext(stopped_at(MONDAY))
        self.alice = client_of(self.cast.alice)
        self.manager = client_of(self.cast.manager)
        self.number = 0

    def make(self, path, client=None, **body) -> str:
        answer = (client or self.alice).post(f"/api/{path}/", body)
        self.assertEqual(answer.status_code, 201, answer.content)
        return answer.json()["id"]

    def lead(self, *moves, client=None, **fields) -> str:
        """A new lead, moved to each status after so many hours."""
        self.number += 1
        lead = self.make("leads", client, last_name=f"Lead {self.number}", **fields)
        start = self.clock.moment
        for status, hours in moves:
            self.clock.shift(hours * HOUR)
            moved = (client or self.alice).post(
                f"/api/leads/{lead}/transition/", {"status": status, "reason": REASON}
            )
            self.assertEqual(moved.status_code, 200, moved.content)
        self.clock.moment = start
        return lead

    def converted(self, owner=None, **fields) -> Lead:
        lead = Lead()
        with system_changes(self.cast.organization) as changes:
            fields = {"last_name": "Converted", "status": "converted", **fields}
            changes.save(lead, owner=owner or self.cast.alice, **fields)
        return lead

    def deal(self, stage="Qualification", client=None, **fields) -> str:
        fields = {"name": "Engine", "stage": self.stages[stage], **fields}
        return self.make("deals", client, **fields)

    def call(self, client=None, **fields) -> str:
        return self.make("activities", client, **{"kind": "call", **fields})

    def ask(self, report, client=None, status=200, **query) -> dict:
        client = client or self.manager
        query = {"from" if n == "from_" else n: value for n, value in query.items()}
        answer = client.get(f"/api/{report}/", query)
        self.assertEqual(answer.status_code, status, answer.content)
        return answer.json()

    def report(self, name, client=None, **query) -> dict:
        return self.ask(f"reports/{name}", client, **query)

    def hiding(self, record_type, *names):
        rights = {record_type: {"hidden": list(names)}}
        name = f"without-{record_type}-{'-'.join(names)}"
        role = make_role(self.cast.organization, name, ALL, rights)
        return client_of(make_user(self.cast.organization, name, role))


class FunnelTests(ReportTestCase):
    def make_leads(self):
        self.lead(("contacted", 1), ("qualified", 2))
        self.lead(("contacted", 3), ("lost", 1))
        self.lead(("unqualified", 5))
        self.lead()
        self.converted()

    def test_it_counts_how_far_leads_have_come_and_how_long_it_took(self):
        self.make_leads()
        self.assertEqual(
            self.report("funnel"),
            {
                "period": {"from": None, "to": None},
                "leads": 5,
                "steps": [
                    {
                        **{"status": "new", "now": 1, "reached": 5},
                        **{"of_all": 1.0, "of_previous": 1.0},
                        "average_seconds": 3 * 3600.0,
                    },
                    {
                        **{"status": "contacted", "now": 0, "reached": 3},
                        **{"of_all": 0.6, "of_previous": 0.6},
                        "average_seconds": 1.5 * 3600.0,
                    },
                    {
                        **{"status": "qualified", "now": 1, "reached": 2},
                        **{"of_all": 0.4, "of_previous": 0.6667},
                        "average_seconds": None,
                    },
                    {
                        **{"status": "converted", "now": 1, "reached": 1},
                        **{"of_all": 0.2, "of_previous": 0.5},
                        "average_seconds": None,
                    },
                ],
                "ends": [
                    {
                        **{"status": "unqualified", "now": 1, "of_all": 0.2},
                        "average_seconds": None,
                    },
                    {
                        **{"status": "lost", "now": 1, "of_all": 0.2},
                        "average_seconds": None,
                    },
                ],
            },
        )

    def test_a_lead_that_went_back_has_reached_the_step_once(self):
        self.lead(("qualified", 1), ("contacted", 1), ("qualified", 1), ("lost", 1))
        self.lead(("qualified", 1), ("contacted", 1))
        reached = [step["reached"] for step in self.report("funnel")["steps"]]
        self.assertEqual(reached, [2, 2, 2, 0])

    def test_deleted_leads_and_their_stays_do_not_count(self):
        lead = self.lead(("contacted", 1))
        self.alice.delete(f"/api/leads/{lead}/")
        self.assertEqual(LeadStay.objects.count(), 1)
        funnel = self.report("funnel")
        self.assertEqual(funnel["leads"], 0)
        for step in funnel["steps"]:
            self.assertEqual((step["of_all"], step["average_seconds"]), (None, None))

    def test_the_period_is_that_of_the_leads_creation(self):
        self.lead(("contacted", 1))
        self.clock.shift(datetime.timedelta(days=31))
        self.lead()
        march = self.report("funnel", from_="2026-03-02", to="2026-03-31")
        self.assertEqual(march["period"], {"from": "2026-03-02", "to": "2026-03-31"})
        self.assertEqual([s["reached"] for s in march["steps"]], [1, 1, 0, 0])
        self.assertEqual(self.report("funnel", period="all_time")["leads"], 2)
        april = self.report("funnel", period="this_month")
        self.assertEqual(april["period"], {"from": "2026-04-01", "to": "2026-04-30"})
        self.assertEqual([s["reached"] for s in april["steps"]], [1, 0, 0, 0])
        self.assertIsNone(april["steps"][0]["average_seconds"])
        self.assertEqual(self.report("funnel", to="2026-03-01")["leads"], 0)

    def test_days_are_those_of_the_organization(self):
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.organization, timezone="America/New_York")
        self.clock.moment = datetime.datetime(2026, 3, 1, 3, tzinfo=datetime.UTC)
        self.lead()
        self.clock.shift(2 * HOUR)
        self.lead()
        manager = client_of(
            type(self.cast.manager).objects.get(pk=self.cast.manager.pk)
        )
        for day, leads in (("2026-02-28", 1), ("2026-03-01", 1), ("2026-03-02", 0)):
            with self.subTest(day):
                funnel = self.report("funnel", manager, from_=day, to=day)
                self.assertEqual(funnel["leads"], leads)


class SourcesTests(ReportTestCase):
    def won(self, client=None) -> dict:
        sources = self.report("sources", client)["sources"]
        return {source["lead_source"]: source["won"] for source in sources}

    def test_it_tells_what_came_of_the_leads_of_each_source(self):
        for source in ("website", "website", "referral", ""):
            self.lead(lead_source=source)
        self.converted(lead_source="website")
        none = {"converted": 0, "rate": 0.0, "won": []}
        self.assertEqual(
            self.report("sources")["sources"],
            [
                {
                    **{"lead_source": "website", "leads": 3, "converted": 1},
                    **{"rate": 0.3333, "won": []},
                },
                {"lead_source": "", "leads": 1, **none},
                {"lead_source": "referral", "leads": 1, **none},
            ],
        )

    def test_what_was_won_is_what_the_deals_of_converted_leads_bring(self):
        won = [
            Deal.objects.get(pk=self.deal("Won", reason="Price", **fields))
            for fields in (
                {"amount": "100.10"},
                {"amount": "50"},
                {"amount": "7", "currency": "EUR"},
                {},
            )
        ]
        lost = Deal.objects.get(pk=self.deal("Lost", amount="9", reason="Price"))
        still = Deal.objects.get(pk=self.deal("Proposal", amount="9"))
        for deal in (*won, won[0], lost, still):
            self.converted(lead_source="website", converted_deal=deal)
        self.converted(lead_source="referral", converted_deal=won[0])
        self.converted(lead_source="referral")
        self.assertEqual(
            self.won(),
            {
                "website": [
                    {"currency": "EUR", "deals": 1, "amount": "7.00"},
                    {"currency": "USD", "deals": 2, "amount": "150.10"},
                ],
                "referral": [{"currency": "USD", "deals": 1, "amount": "100.10"}],
            },
        )

    def test_what_was_won_is_told_as_far_as_the_deals_are_seen(self):
        stranger = client_of(self.cast.stranger)
        deal = self.deal("Won", stranger, amount="5", reason="Price")
        deal = Deal.objects.get(pk=deal)
        self.converted(lead_source="website", converted_deal=deal)
        self.assertEqual(self.won(self.alice), {"website": []})
        self.assertEqual(
            self.won(), {"website": [{"currency": "USD", "deals": 1, "amount": "5.00"}]}
        )
        blind = make_role(self.cast.organization, "blind", {}, lead=ALL)
        for client in (
            self.hiding("deal", "amount"),
            self.hiding("deal", "currency"),
            self.hiding("deal", "stage"),
            self.hiding("lead", "converted_deal"),
            client_of(make_user(self.cast.organization, "blind", blind)),
        ):
            [source] = self.report("sources", client)["sources"]
            self.assertNotIn("won", source)


class PipelinesTests(ReportTestCase):
    def stages_of(self, **query) -> dict:
        [pipeline] = self.report("pipelines", **query)["pipelines"]
        return {stage.pop("name"): stage for stage in pipeline["stages"]}

    def test_open_deals_are_worth_what_they_are_likely_to_bring(self):
        self.deal("Proposal", amount="100.10")
        self.deal("Proposal", amount="10", probability=33)
        self.deal("Proposal", amount="7.77", currency="EUR")
        self.deal("Proposal")
        self.deal("Won", amount="5", reason="Price")
        self.deal("Lost", amount="5", reason="Price")
        [pipeline] = self.report("pipelines")["pipelines"]
        self.assertEqual(pipeline["id"], str(self.pipeline.pk))
        self.assertEqual(pipeline["name"], "Sales")
        empty = {"deals": 0, "sums": [], "average_seconds": None}
        self.assertEqual(
            pipeline["stages"],
            [
                {"id": self.stages["Qualification"], "name": "Qualification", **empty},
                {
                    "id": self.stages["Needs analysis"],
                    "name": "Needs analysis",
                    **empty,
                },
                {
                    "id": self.stages["Proposal"],
                    "name": "Proposal",
                    "deals": 4,
                    "sums": [
                        {"currency": "EUR", "amount": "7.77", "weighted": "3.88"},
                        {"currency": "USD", "amount": "110.10", "weighted": "53.35"},
                    ],
                    "average_seconds": None,
                },
                {"id": self.stages["Negotiation"], "name": "Negotiation", **empty},
            ],
        )

    def test_the_time_in_a_stage_is_that_of_the_stays_that_ended(self):
        for hours in (1, 3):
            deal = self.deal()
            self.clock.shift(hours * HOUR)
            moved = {"stage": self.stages["Proposal"]}
            self.alice.patch(f"/api/deals/{deal}/", moved)
            self.clock.shift(5 * HOUR)
        won = {"stage": self.stages["Won"], "reason": "Price"}
        self.alice.patch(f"/api/deals/{deal}/", won)
        times = {name: s["average_seconds"] for name, s in self.stages_of().items()}
        self.assertEqual(
            times,
            {
                **{"Qualification": 2 * 3600.0, "Needs analysis": None},
                **{"Proposal": 5 * 3600.0, "Negotiation": None},
            },
        )

    def test_the_period_is_that_of_the_expected_close(self):
        self.deal(amount="1", expected_close_on="2026-03-31")
        self.deal(amount="2", expected_close_on="2026-04-01")
        self.deal(amount="4")
        for query, amount in (
            ({"to": "2026-03-31"}, "1.00"),
            ({"from_": "2026-04-01"}, "2.00"),
            ({}, "7.00"),
        ):
            with self.subTest(query):
                [total] = self.stages_of(**query)["Qualification"]["sums"]
                self.assertEqual(total["amount"], amount)


class ForecastTests(ReportTestCase):
    def test_it_adds_up_each_month_by_currency(self):
        self.deal("Proposal", amount="100", expected_close_on="2026-03-01")
        self.deal("Proposal", amount="50", expected_close_on="2026-03-31")
        self.deal(
            "Negotiation", amount="8", currency="EUR", expected_close_on="2026-03-09"
        )
        self.deal("Proposal", expected_close_on="2026-05-01")
        self.deal("Proposal", amount="1")
        self.deal("Won", amount="5", reason="x", expected_close_on="2026-03-01")
        self.assertEqual(
            self.report("forecast")["months"],
            [
                {
                    "month": "2026-03-01",
                    "deals": 3,
                    "sums": [
                        {"currency": "EUR", "amount": "8.00", "weighted": "6.00"},
                        {"currency": "USD", "amount": "150.00", "weighted": "75.00"},
                    ],
                },
                {"month": "2026-05-01", "deals": 1, "sums": []},
                {
                    "month": None,
                    "deals": 1,
                    "sums": [{"currency": "USD", "amount": "1.00", "weighted": "0.50"}],
                },
            ],
        )
        later = self.report("forecast", from_="2026-04-01")["months"]
        self.assertEqual([month["month"] for month in later], ["2026-05-01"])


class ActivityTests(ReportTestCase):
    def test_it_counts_what_everybody_did_until_today(self):
        lead = self.lead()
        self.call(lead=lead, duration_minutes=20)
        self.call(lead=lead, kind="meeting", duration_minutes=40)
        self.call(lead=lead, kind="task", done_at="2026-03-02T09:00:00Z")
        self.call(lead=lead, occurred_at="2026-03-02T23:59:00Z")
        self.call(lead=lead, occurred_at="2026-03-03T00:00:00Z")
        theirs = self.lead(client=self.manager)
        self.call(self.manager, kind="note", lead=theirs)
        kinds = dict.fromkeys(Activity.Kind.values, 0)
        self.assertEqual(
            self.report("activity")["people"],
            [
                {
                    "person": {"id": str(self.cast.alice.pk), "name": "alice"},
                    "activities": 4,
                    "kinds": {**kinds, "call": 2, "meeting": 1, "task": 1},
                    "minutes": 60,
                    "tasks_done": 1,
                },
                {
                    "person": {"id": str(self.cast.manager.pk), "name": "manager"},
                    "activities": 1,
                    "kinds": {**kinds, "note": 1},
                    "minutes": 0,
                    "tasks_done": 0,
                },
            ],
        )

    def test_the_period_is_that_of_what_was_done(self):
        self.call(lead=self.lead(), occurred_at="2026-02-28T12:00:00Z")
        for period, count in (("last_month", 1), ("this_month", 0), ("last_week", 1)):
            with self.subTest(period):
                people = self.report("activity", period=period)["people"]
                self.assertEqual(len(people), count)


class UntouchedTests(ReportTestCase):
    def test_to_move_a_lead_is_to_touch_it(self):
        self.lead(("contacted", 3 * 24))
        self.lead()
        self.clock.shift(datetime.timedelta(days=4))
        for days, leads in ((1, 1), (3, 1)):
            self.assertEqual(self.report("untouched", days=days)["leads"], leads)
        self.clock.shift(datetime.timedelta(days=1))
        self.assertEqual(self.report("untouched", days=1)["leads"], 2)

    def test_it_counts_open_leads_that_wait_for_whole_days(self):
        waits = datetime.timedelta(days=4)
        self.lead()
        self.lead(("lost", 1))
        self.converted()
        spoken = self.lead(client=self.manager)
        self.call(self.manager, lead=spoken)
        self.clock.shift(waits)
        recent = self.lead()
        told = self.report("untouched", days=3)
        self.assertEqual(
            {name: told[name] for name in ("days", "leads", "never", "longest_since")},
            {
                **{"days": 3, "leads": 2, "never": 1},
                "longest_since": "2026-03-02T09:00:00Z",
            },
        )
        self.assertCountEqual(
            told["people"],
            [
                {
                    "person": {"id": str(user.pk), "name": user.first_name},
                    **{"leads": 1, "never": never},
                    "longest_since": since,
                }
                for user, never, since in (
                    (self.cast.alice, 1, "2026-03-02T09:00:00Z"),
                    # The call moved it, a moment after it was made.
                    (self.cast.manager, 0, "2026-03-02T09:00:00.000001Z"),
                )
            ],
        )
        self.assertEqual(self.report("untouched", days=4)["leads"], 0)
        self.call(self.manager, lead=spoken)
        self.assertEqual(self.report("untouched", days=3)["leads"], 1)
        self.clock.shift(datetime.timedelta(days=1))
        self.assertEqual(self.report("untouched", days=4)["leads"], 1)
        self.assertEqual(self.report("untouched")["days"], 14)
        for days, told in ((3, 3), (None, 14)):
            process = LeadProcess.of(self.cast.organization)
            with system_changes(self.cast.organization) as changes:
                changes.save(process, untouched_after_days=days)
            self.assertEqual(self.report("untouched")["days"], told)
        self.assertIsNone(self.report("untouched")["longest_since"])
        self.assertTrue(Lead.objects.filter(pk=recent).exists())


class WhoseTests(ReportTestCase):
    """Everybody counts what they see, and asks for a part of it."""

    def setUp(self):
        super().setUp()
        self.stranger = client_of(self.cast.stranger)
        for client in (self.alice, self.stranger):
            lead = self.lead(client=client, lead_source="website")
            self.call(client, lead=lead)
            self.deal("Proposal", client, amount="10", expected_close_on="2026-03-02")
        carol = client_of(self.cast.carol)
        self.call(carol, lead=self.lead(client=carol))
        self.clock.shift(datetime.timedelta(days=20))

    def counts(self, client, **query) -> dict:
        """What each report counts, of the dashboard and by itself."""
        dashboard = self.ask("dashboard", client, **query)
        counts = {}
        for name in REPORTS:
            report = self.report(name, client, **query)
            self.assertEqual(report, dashboard[name])
            counts[name] = {
                "funnel": lambda r: r["leads"],
                "sources": lambda r: sum(s["leads"] for s in r["sources"]),
                "pipelines": lambda r: sum(
                    s["deals"] for p in r["pipelines"] for s in p["stages"]
                ),
                "forecast": lambda r: sum(m["deals"] for m in r["months"]),
                "activity": lambda r: sum(p["activities"] for p in r["people"]),
                "untouched": lambda r: r["leads"],
            }[name](report)
        self.assertEqual(dashboard.keys() - REPORTS.keys(), {"period"})
        return counts

    def test_what_one_sees(self):
        for name, count in (
            ("alice", 1),
            ("bob", 1),
            ("stranger", 1),
            ("manager", 2),
            ("reader", 2),
            ("carol", 1),
        ):
            with self.subTest(name):
                client = client_of(getattr(self.cast, name))
                counts = self.counts(client)
                wanted = dict.fromkeys(REPORTS, count)
                if name == "carol":
                    wanted |= {"pipelines": 0, "forecast": 0}
                self.assertEqual(counts, wanted)

    def test_by_owner(self):
        for client, owner, count in (
            (self.manager, self.cast.alice.pk, 1),
            (self.manager, "me", 0),
            (self.alice, "me", 1),
            (self.stranger, self.cast.alice.pk, 0),
            (self.manager, self.cast.carol.pk, 0),
        ):
            with self.subTest(owner):
                counts = self.counts(client, owner=str(owner))
                self.assertEqual(set(counts.values()), {count})

    def test_by_team_and_those_below_it(self):
        above = make_team(self.cast.organization, "Head office")
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.team, parent=above)
        aside = make_team(self.cast.organization, "Support")
        for team, count in ((self.cast.team, 1), (above, 1), (aside, 0)):
            with self.subTest(team):
                counts = self.counts(self.manager, team=str(team.pk))
                self.assertEqual(set(counts.values()), {count})

    def test_the_queries_are_as_many_for_few_as_for_many(self):
        def queries(path):
            with CaptureQueriesContext(connection) as captured:
                self.assertEqual(self.manager.get(path).status_code, 200)
            return len(captured)

        paths = ["/api/dashboard/", *(f"/api/reports/{name}/" for name in REPORTS)]
        few = [queries(path) for path in paths]
        for n in range(6):
            role = make_role(self.cast.organization, f"rep {n}", OWN)
            user = client_of(make_user(self.cast.organization, f"rep{n}", role))
            lead = self.lead(("contacted", 1), client=user, lead_source="referral")
            self.call(user, lead=lead)
            self.deal("Negotiation", user, amount="9", currency="EUR")
        self.assertEqual([queries(path) for path in paths], few)
        # All; statuses and stays; sources and what was won; deals, their stays and
        # stages; months; activities and people; days, leads and people. For each of
        # three types, who there is.
        self.assertEqual(few, [15, 3, 3, 4, 2, 3, 4])


class AskingTests(ReportTestCase):
    def test_bad_parameters_are_named(self):
        elsewhere = make_team(self.cast.other_organization)
        for query, field, code in (
            ({"surprise": 1}, "surprise", "unknown_parameter"),
            ({"days": 1}, "days", "unknown_parameter"),
            ({"page": 1}, "page", "unknown_parameter"),
            ({"period": "yesterday"}, "period", "invalid_choice"),
            ({"period": ""}, "period", "invalid_choice"),
            ({"period": "this_week", "to": "2026-01-01"}, "period", "invalid"),
            ({"from": "2026-13-01"}, "from", "invalid"),
            ({"from": ""}, "from", "invalid"),
            ({"from": "0001-01-01"}, "from", "out_of_range"),
            ({"to": "9999-12-31"}, "to", "out_of_range"),
            ({"from": "2026-01-02", "to": "2026-01-01"}, "to", "invalid"),
            ({"owner": "x"}, "owner", "invalid"),
            ({"team": "x"}, "team", "invalid"),
            ({"team": str(elsewhere.pk)}, "team", "does_not_exist"),
            ({"team": str(self.cast.alice.pk)}, "team", "does_not_exist"),
            ({"to": ["2026-01-01", "2026-01-02"]}, "to", "repeated"),
        ):
            for path in ("dashboard", *(f"reports/{name}" for name in REPORTS)):
                if "days" in query and path.endswith("untouched"):
                    continue
                with self.subTest(f"{path} {query}"):
                    answer = self.manager.get(f"/api/{path}/", query)
                    self.assertEqual(answer.status_code, 400, answer.content)
                    [error] = answer.json()["errors"]
                    self.assertEqual((error["field"], error["code"]), (field, code))
        for days in ("0", "-1", "3651", "x", "", "1e9", "9" * 400):
            with self.subTest(days):
                answer = self.manager.get("/api/reports/untouched/", {"days": days})
                [error] = answer.json()["errors"]
                self.assertEqual((answer.status_code, error["field"]), (400, "days"))
        answer = self.manager.get("/api/reports/nothing/")
        self.assertEqual(answer.status_code, 404)

    def test_the_ends_of_what_may_be_asked_are_answered_in_every_zone(self):
        for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
            with system_changes(self.cast.organization) as changes:
                changes.save(self.cast.organization, timezone=zone)
            manager = type(self.cast.manager).objects.get(pk=self.cast.manager.pk)
            with self.subTest(zone):
                days = {"from_": "1900-01-01", "to": "2999-12-31"}
                self.ask("dashboard", client_of(manager), **days)

    def test_the_list_tells_which_reports_there_are(self):
        listed = self.ask("reports")["results"]
        self.assertEqual([report["name"] for report in listed], list(REPORTS))
        for report in listed:
            with self.subTest(report["name"]):
                query = dict.fromkeys(report["parameters"], "x")
                self.assertEqual(
                    self.manager.get(report["url"], query).status_code, 400
                )
                self.ask(urlsplit(report["url"]).path.strip("/").removeprefix("api/"))
        self.assertEqual(
            listed[-1]["parameters"],
            ["from", "period", "to", "owner", "team", "days"],
        )
        self.ask("reports", status=400, surprise=1)

    def test_without_the_right_to_see_them_nothing_is_counted(self):
        role = make_role(
            self.cast.organization, "no deals", {**ALL, "view": "none"}, lead=ALL
        )
        client = client_of(make_user(self.cast.organization, "nodeals", role))
        there = {"funnel", "sources", "untouched"}
        self.assertEqual(set(self.ask("dashboard", client)), {"period", *there})
        listed = self.ask("reports", client)["results"]
        self.assertEqual({report["name"] for report in listed}, there)
        for name in REPORTS:
            with self.subTest(name):
                status = 200 if name in there else 403
                self.report(name, client, status=status)


class HiddenTests(ReportTestCase):
    """What a role hides is neither told nor counted by."""

    def setUp(self):
        super().setUp()
        lead = self.lead(lead_source="website")
        self.call(lead=lead, duration_minutes=5)
        self.deal("Proposal", amount="7777.5", expected_close_on="2026-03-02")
        self.clock.shift(datetime.timedelta(days=20))

    def assertWithout(self, client, *names):
        left = set(REPORTS) - set(names)
        self.assertEqual(set(self.ask("dashboard", client)), {"period", *left})
        listed = self.ask("reports", client)["results"]
        self.assertEqual({report["name"] for report in listed}, left)
        for name in names:
            self.report(name, client, status=404)

    def test_a_report_that_would_tell_it_is_not_there(self):
        for record_type, field, names in (
            ("lead", "status", ("funnel", "sources", "untouched")),
            ("lead", "lead_source", ("sources",)),
            ("lead", "last_contacted_at", ("untouched",)),
            ("deal", "stage", ("pipelines", "forecast")),
            ("deal", "expected_close_on", ("pipelines", "forecast")),
            ("activity", "owner", ("activity",)),
            ("activity", "kind", ("activity",)),
        ):
            with self.subTest(f"{record_type}.{field}"):
                self.assertWithout(self.hiding(record_type, field), *names)

    def test_figures_that_would_tell_it_are_absent(self):
        for field in ("amount", "currency"):
            client = self.hiding("deal", field)
            [month] = self.report("forecast", client)["months"]
            self.assertEqual(month, {"month": "2026-03-01", "deals": 1})
            answer = client.get("/api/dashboard/")
            self.assertNotIn(b"7777", answer.content)
        [month] = self.report("forecast", self.hiding("deal", "probability"))["months"]
        self.assertEqual(month["sums"], [{"currency": "USD", "amount": "7777.50"}])
        [person] = self.report(
            "activity", self.hiding("activity", "duration_minutes", "done_at")
        )["people"]
        self.assertEqual(set(person), {"person", "activities", "kinds"})

    def test_nobody_is_told_or_asked_for_whose_owners_are_hidden(self):
        client = self.hiding("lead", "owner")
        told = self.report("untouched", client)
        self.assertNotIn("people", told)
        self.assertEqual((told["leads"], told["never"]), (1, 0))
        for name in ("owner", "team"):
            query = {name: str(self.cast.team.pk)}
            for report in ("funnel", "sources", "untouched"):
                problem = self.report(report, client, status=400, **query)
                [error] = problem["errors"]
                self.assertEqual(
                    (error["field"], error["code"]), (name, "unknown_parameter")
                )
            self.report("forecast", client, **query)
            dashboard = self.ask("dashboard", client, **query)
            self.assertEqual(
                set(dashboard), {"period", "pipelines", "forecast", "activity"}
            )
        listed = {r["name"]: r for r in self.ask("reports", client)["results"]}
        self.assertNotIn("owner", listed["funnel"]["parameters"])
        self.assertIn("owner", listed["forecast"]["parameters"])


class PeriodTests(SimpleTestCase):
    def test_periods_by_name(self):
        today = datetime.date(2026, 1, 1)  # a Thursday
        for preset, first, last in (
            ("this_week", "2025-12-29", "2026-01-04"),
            ("last_week", "2025-12-22", "2025-12-28"),
            ("this_month", "2026-01-01", "2026-01-31"),
            ("last_month", "2025-12-01", "2025-12-31"),
            ("this_quarter", "2026-01-01", "2026-03-31"),
            ("last_quarter", "2025-10-01", "2025-12-31"),
            ("this_year", "2026-01-01", "2026-12-31"),
            ("last_year", "2025-01-01", "2025-12-31"),
        ):
            with self.subTest(preset):
                period = Period.named(preset, today, ZoneInfo("UTC"))
                self.assertEqual((str(period.first), str(period.last)), (first, last))

    def test_every_day_is_in_the_periods_of_its_own(self):
        day = datetime.date(2023, 12, 1)
        while day < datetime.date(2025, 2, 1):
            for preset in set(Preset) - {Preset.ALL_TIME}:
                period = Period.named(preset, day, ZoneInfo("UTC"))
                which, _, unit = preset.partition("_")
                after = period.last + datetime.timedelta(days=1)
                self.assertEqual(period.first, start_of(unit, period.last))
                self.assertEqual(after, start_of(unit, after))
                if which == "this":
                    self.assertTrue(period.first <= day <= period.last)
                else:
                    self.assertEqual(after, start_of(unit, day))
            day += datetime.timedelta(days=1)


class CachedReportTests(TransactionTestCase):
    """Kept in Redis, where there is one; by its bytes, where there is none."""

    def test_304_until_something_changes_or_the_day_ends(self):
        cast = Cast()
        alice = client_of(cast.alice)
        lead = alice.post("/api/leads/", {"last_name": "Lovelace"}).json()
        addresses = ["/api/dashboard/", "/api/reports/funnel/"]

        def read(address, **headers):
            answer = alice.get(address, headers=headers)
            return answer.status_code, answer["ETag"]

        for address in addresses:
            with self.subTest(address):
                status, first = read(address)
                self.assertEqual(read(address, if_none_match=first), (304, first))
                moved = {"status": "qualified", "reason": "x"}
                alice.post(f"/api/leads/{lead['id']}/transition/", moved)
                status, second = read(address, if_none_match=first)
                self.assertEqual(status, 200)
                self.assertEqual(read(address, if_none_match=second), (304, second))
                moved = {"status": "contacted", "reason": "x"}
                alice.post(f"/api/leads/{lead['id']}/transition/", moved)
                self.assertEqual(read(address, if_none_match=second)[0], 200)

    def test_each_sees_their_own_whoever_asked_before(self):
        cast = Cast()
        alice, manager = client_of(cast.alice), client_of(cast.manager)
        manager.post("/api/leads/", {"last_name": "Lovelace"})
        for client, leads in ((manager, 1), (alice, 0), (manager, 1)):
            answer = client.get("/api/reports/funnel/").json()
            self.assertEqual(answer["leads"], leads)
        for client, leads in ((manager, 1), (alice, 0)):
            answer = client.get("/api/reports/funnel/?owner=me").json()
            self.assertEqual(answer["leads"], leads)
        answer = client_of(cast.reader).get("/api/reports/funnel/?owner=me").json()
        self.assertEqual(answer["leads"], 0)

    def test_a_new_day_is_another_answer(self):
        cast = Cast()
        manager = client_of(cast.manager)
        manager.post("/api/leads/", {"last_name": "Lovelace"})
        address = "/api/reports/funnel/?period=this_week"
        self.assertEqual(manager.get(address).json()["leads"], 1)
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=8)
        with stopped_at(soon):
            self.assertEqual(manager.get(address).json()["leads"], 0)

    def test_a_report_reads_no_type_that_it_does_not_stand_on(self):
        asked = Question.of(Cast().manager, {"period": "this_year"})
        # What follows from records, and goes with them.
        known = {LeadStay: "lead", DealStay: "deal", Organization: "organization"}
        for report in REPORTS.values():
            with CaptureQueriesContext(connection) as queries:
                report(asked).figures()
            tables = "".join(query["sql"] for query in queries)
            read = {
                known.get(model) or model.record_type()
                for model in apps.get_models()
                if f'"{model._meta.db_table}"' in tables
            }
            with self.subTest(report.name):
                self.assertIn(report.model.record_type(), read)
                always = {"user", "team", "organization"}
                self.assertLessEqual(read - always, report.record_types())

    @skipUnless(settings.REDIS_URL, "needs Redis")
    def test_a_forecast_follows_the_probabilities_of_stages(self):
        cast = Cast()
        role = make_role(cast.organization, "sales", ALL, pipeline=ALL)
        admin = client_of(make_user(cast.organization, "ada", role))
        deal = {"name": "Engine", "amount": "100.00", "currency": "EUR"}
        self.assertEqual(admin.post("/api/deals/", deal).status_code, 201)
        [pipeline] = admin.get("/api/pipelines/").json()["results"]

        def weighted():
            [month] = admin.get("/api/reports/forecast/").json()["months"]
            return month["sums"][0]["weighted"]

        for probability, wanted in ((40, "40.00"), (60, "60.00")):
            pipeline["stages"][0]["probability"] = probability
            address = f"/api/pipelines/{pipeline['id']}/"
            changed = admin.patch(address, {"stages": pipeline["stages"]})
            self.assertEqual(changed.status_code, 200, changed.content)
            self.assertEqual(weighted(), wanted)

    def test_a_report_reads_no_field_that_it_does_not_stand_on(self):
        cast = Cast()
        asked = Question.of(cast.manager, {"period": "this_year", "owner": "me"})
        always = {"id", "organization_id", "owner_id", "deleted_at", "created_at"}
        declared = {
            (report, model): {model._meta.get_field(name).attname for name in fields}
            for report in REPORTS.values()
            for model, fields in report.reads.items()
        }
        self.assertTrue(declared)
        for (report, model), columns in declared.items():
            with CaptureQueriesContext(connection) as queries:
                report(asked).figures()
            read = set()
            for sql in (query["sql"] for query in queries):
                table = model._meta.db_table
                names = {table, *re.findall(rf'"{table}" "?(\w+)"?', sql)}
                for name in names:
                    read |= set(re.findall(rf'"?\b{name}"?\."(\w+)"', sql))
            # Two subqueries may call their tables the same.
            read &= {field.column for field in model._meta.concrete_fields}
            with self.subTest(report.name):
                self.assertEqual(read - columns - always, set())
                self.assertLessEqual(columns - {"status_since"}, read)

    @skipUnless(settings.REDIS_URL, "needs Redis")
    def test_only_reports_of_what_changed_are_worked_out_again(self):
        cast = Cast()
        alice = client_of(cast.alice)
        alice.post("/api/leads/", {"last_name": "Lovelace"})
        contact = alice.post("/api/contacts/", {"last_name": "Boole"}).json()

        def tables():
            """What is asked to show the dashboard, beside its reader's rights."""
            with CaptureQueriesContext(connection) as queries:
                shown = alice.get("/api/dashboard/").json()
            names = {
                model.record_type()
                for model in (Activity, Deal, Lead)
                if any(f'FROM "{model._meta.db_table}"' in q["sql"] for q in queries)
            }
            return names, shown

        names, before = tables()
        self.assertEqual(names, {"activity", "deal", "lead"})
        self.assertEqual(tables(), (set(), before))
        note = {"kind": "note", "subject": "Tea", "contact": contact["id"]}
        self.assertEqual(alice.post("/api/activities/", note).status_code, 201)
        names, after = tables()
        self.assertEqual(names, {"activity"})
        self.assertEqual(after["activity"]["people"][0]["activities"], 1)
        self.assertEqual({**after, "activity": None}, {**before, "activity": None})

    @skipUnless(settings.REDIS_URL, "needs Redis")
    def test_only_those_are_counted_again_of_whom_something_changed(self):
        cast = Cast()
        alice, bob, manager = map(client_of, (cast.alice, cast.bob, cast.manager))
        lead, deal = {}, {}
        for client in (alice, bob):
            made = client.post("/api/leads/", {"last_name": "Lovelace"}).json()
            lead[client] = f"/api/leads/{made['id']}/"
            call = {"kind": "call", "subject": "Tea", "lead": made["id"]}
            self.assertEqual(client.post("/api/activities/", call).status_code, 201)
            sold = {"name": "Engine", "amount": "100.00", "currency": "EUR"}
            made = client.post("/api/deals/", sold).json()
            deal[client] = f"/api/deals/{made['id']}/"

        def counted():
            """What the dashboard says, and whose records were counted to say it."""
            with CaptureQueriesContext(connection) as queries:
                shown = manager.get("/api/dashboard/").json()
            told = {
                "steps": [step["now"] for step in shown["funnel"]["steps"]],
                "sums": shown["forecast"]["months"][0]["sums"][0]["amount"],
                "calls": {
                    one["person"]["id"]: one["kinds"]["call"]
                    for one in shown["activity"]["people"]
                },
            }
            return told, {
                name
                for name in ("alice", "bob")
                if any(
                    f"'{getattr(cast, name).pk}'" in query["sql"]
                    for query in queries
                    if f'FROM "{Lead._meta.app_label}_' in query["sql"]
                )
            }

        a, b = str(cast.alice.pk), str(cast.bob.pk)
        told = {"steps": [0, 2, 0, 0], "sums": "200.00", "calls": {a: 1, b: 1}}
        # At first all are counted, and nobody is named.
        self.assertEqual(counted(), (told, set()))
        self.assertEqual(counted(), (told, set()))
        moved = {"status": "qualified"}
        alice.post(f"{lead[alice]}transition/", moved)
        told["steps"] = [0, 1, 1, 0]
        self.assertEqual(counted(), (told, {"alice"}))
        bob.patch(deal[bob], {"amount": "50.00"})
        told["sums"] = "150.00"
        self.assertEqual(counted(), (told, {"bob"}))
        # What is given away is counted for both.
        manager.patch(lead[alice], {"owner": b})
        self.assertEqual(counted(), (told, {"alice", "bob"}))
        alice.delete(deal[alice])
        told["sums"] = "50.00"
        self.assertEqual(counted(), (told, {"alice"}))

    @skipUnless(settings.REDIS_URL, "needs Redis")
    def test_nobody_is_counted_whose_records_are_not_seen(self):
        cast = Cast()
        alice, bob = client_of(cast.alice), client_of(cast.bob)
        role = make_role(cast.organization, "seller", OWN)
        seller = make_user(cast.organization, "seller", role)
        for client in (client_of(seller), alice):
            client.post("/api/leads/", {"last_name": "Lovelace"})

        def asked(path):
            with CaptureQueriesContext(connection) as queries:
                answer = client_of(seller).get(path).json()
            leads = f'FROM "{Lead._meta.db_table}"'
            return answer["leads"], any(leads in query["sql"] for query in queries)

        path = "/api/reports/funnel/"
        self.assertEqual(asked(path), (1, True))
        for client in (alice, bob):
            client.post("/api/leads/", {"last_name": "Boole"})
        self.assertEqual(asked(path), (1, False))
        client_of(seller).post("/api/leads/", {"last_name": "Boole"})
        self.assertEqual(asked(path), (2, True))

    @skipUnless(settings.REDIS_URL, "needs Redis")
    def test_a_report_is_worked_out_again_where_a_field_that_it_reads_changes(self):
        cast = Cast()
        alice = client_of(cast.alice)
        lead = alice.post("/api/leads/", {"last_name": "Lovelace"}).json()
        address = f"/api/leads/{lead['id']}/"

        def funnel():
            with CaptureQueriesContext(connection) as queries:
                steps = alice.get("/api/reports/funnel/").json()["steps"]
            return [step["now"] for step in steps], bool(queries)

        for change, wanted in (
            (lambda: None, ([1, 0, 0, 0], True)),
            (lambda: alice.patch(address, {"priority": "high"}), ([1, 0, 0, 0], False)),
            (
                lambda: alice.post(f"{address}transition/", {"status": "contacted"}),
                ([0, 1, 0, 0], True),
            ),
            (lambda: alice.delete(address), ([0, 0, 0, 0], True)),
            (lambda: alice.post(f"{address}restore/"), ([0, 1, 0, 0], True)),
            (
                lambda: alice.post("/api/leads/", {"last_name": "Boole"}),
                ([1, 1, 0, 0], True),
            ),
        ):
            change()
            self.assertEqual(funnel(), wanted)

    @skipUnless(settings.REDIS_URL, "needs Redis")
    def test_waiting_leads_are_counted_again_where_one_is_spoken_to_only(self):
        cast = Cast()
        alice = client_of(cast.alice)
        lead = alice.post("/api/leads/", {"last_name": "Lovelace"}).json()
        call = {"kind": "call", "subject": "Tea", "lead": lead["id"]}
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3)

        def untouched():
            with CaptureQueriesContext(connection) as queries:
                answer = alice.get("/api/reports/untouched/?days=1").json()
            return answer["leads"], bool(queries)

        with stopped_at(soon):
            self.assertEqual(untouched(), (1, True))
            alice.patch(f"/api/leads/{lead['id']}/", {"priority": "high"})
            self.assertEqual(untouched(), (1, False))
            alice.post("/api/activities/", call)
            self.assertEqual(untouched(), (0, True))
