"""The versions of the rules: written, simulated, published, and who may."""

from django.test import SimpleTestCase

from core.jobs import run
from core.models import Change, Job
from core.testing import client_of, make_role, make_user
from lead_management.models import LeadScore, ScoringModel
from lead_management.scoring.simulation import Outcomes
from user_management.roles import BUILT_IN

from .scoring import engagement, fit, make_model, publish, publish_rules, start
from .test_scoring import DAY, MONDAY, ScoringTestCase

PATH = "/api/scoring-models/"


class ModelTestCase(ScoringTestCase):
    @classmethod
    def setUpTestData(cls):
        super().setUpTestData()
        here = cls.cast.organization
        role = make_role(here, "sales", {}, **BUILT_IN["manager"])
        cls.seller = make_user(here, "seller", role)

    def setUp(self):
        super().setUp()
        self.client = client_of(self.seller)

    def post(self, status=201, **body):
        answer = self.client.post(PATH, {"name": "Rules", **body})
        self.assertEqual(answer.status_code, status, answer.content)
        return answer.json()

    def act(self, model, action, status=202):
        answer = self.client.post(f"{PATH}{model['id']}/{action}/")
        self.assertEqual(answer.status_code, status, answer.content)
        return answer.json()


class WritingTests(ModelTestCase):
    def test_a_draft_is_made_with_defaults_and_numbered(self):
        made = self.post(rules=[fit("Germany", 20, country="DE")])
        self.assertEqual(
            [made[n] for n in ("number", "status", "fit_cap", "engagement_cap")],
            [1, "draft", 60, 40],
        )
        self.assertEqual(made["half_life_days"], 30)
        self.assertEqual(made["grades"], {"A": 75, "B": 50, "C": 25, "D": 0})
        self.assertEqual(self.post()["number"], 2)
        [rule] = made["rules"]
        self.assertEqual(rule, fit("Germany", 20, country="DE"))
        calls = {"name": "Calls", "group": "engagement", "points": 5}
        made = self.post(rules=[{**calls, "filter": {"kind": "call"}}])
        self.assertEqual(made["rules"], [engagement("Calls", 5, kind="call")])

    def test_a_rule_that_is_none_is_refused_by_its_place_and_field(self):
        good = fit("Germany", 20, country="DE")
        call = engagement("Call", 5, kind="call")
        for rule, field, code in (
            ({**good, "filter": {"planet": "x"}}, "filter.planet", "unknown_parameter"),
            ({**good, "filter": {"status": "x"}}, "filter.status", "invalid_choice"),
            (
                {**good, "filter": {"custom_fields.x": "1"}},
                "filter.custom_fields.x",
                "unknown_parameter",
            ),
            ({**good, "filter": {"owner": "me"}}, "filter.owner", "not_allowed"),
            (
                {**good, "filter": {"lead_score__gte": 5}},
                "filter.lead_score__gte",
                "not_allowed",
            ),
            ({**good, "filter": {"country": []}}, "filter.country", "invalid"),
            ({**good, "filter": {"country": ""}}, "filter.country", "blank"),
            ({**good, "filter": []}, "filter", "not_a_dict"),
            ({**good, "points": 101}, "points", "max_value"),
            ({**good, "points": "x"}, "points", "invalid"),
            ({**good, "group": "x"}, "group", "invalid_choice"),
            ({**good, "name": ""}, "name", "blank"),
            ({**good, "name": "A"}, "name", "unique"),
            ({**good, "surprise": 1}, "surprise", "unknown_field"),
            ({**good, "at_most": 5}, "at_most", "not_counted"),
            ({**call, "at_least": 0}, "at_least", "min_value"),
            ({**call, "at_most": 51}, "at_most", "max_value"),
            ({**call, "filter": {"due": "today"}}, "filter.due", "not_allowed"),
            ({**call, "filter": {"kind": "x"}}, "filter.kind", "invalid_choice"),
        ):
            with self.subTest(f"{field}: {rule}"):
                rules = [{**good, "name": "a"}, rule]
                answer = self.client.post(PATH, {"name": "Rules", "rules": rules})
                self.assertProblem(answer, 400, code, f"rules.1.{field}")
        self.assertFalse(ScoringModel.objects.exists())

    def test_other_bad_input_names_the_field(self):
        for field, value, code in (
            ("rules", {}, "not_a_list"),
            ("rules", [fit(f"{n}", 1) for n in range(101)], "max_length"),
            ("fit_cap", 101, "max_value"),
            ("half_life_days", 0, "min_value"),
            ("grades", {"A": 50}, "invalid"),
            ("grades", {"A": 101, "B": 0}, "invalid"),
            ("grades", {"A": 0, "B": 0}, "invalid"),
            ("grades", {}, "invalid"),
            ("status", "published", "read_only"),
            ("number", 7, "read_only"),
            ("simulation", {}, "unknown_field"),
        ):
            with self.subTest(f"{field}: {value}"):
                answer = self.client.post(PATH, {"name": "Rules", field: value})
                self.assertProblem(answer, 400, code, field)
        self.assertFalse(ScoringModel.objects.exists())

    def test_a_rule_asks_nothing_that_its_writer_does_not_see(self):
        role = make_role(
            self.here,
            "limited",
            {},
            {"lead": {"hidden": ["city"]}},
            **BUILT_IN["manager"],
        )
        limited = client_of(make_user(self.here, "limited", role))
        body = {"name": "Rules", "rules": [fit("Berlin", 5, city="Berlin")]}
        answer = limited.post(PATH, body)
        field = "rules.0.filter.city"
        self.assertProblem(answer, 400, "unknown_parameter", field)

    def test_what_was_published_is_not_changed_any_more(self):
        model = publish_rules(self.here)
        address = f"{PATH}{model.pk}/"
        for method, body in (
            (self.client.patch, {"name": "Other"}),
            (self.client.patch, {"rules": [fit("Other", 1)]}),
            (self.client.delete, None),
        ):
            self.assertProblem(method(address, body), 409, "not_draft")
        answer = self.client.post(f"{address}publish/")
        self.assertProblem(answer, 409, "not_draft")
        model.refresh_from_db()
        self.assertEqual((model.name, model.status), ("Rules", "published"))

    def test_a_dry_run_publishes_and_simulates_nothing(self):
        made = self.post(rules=[fit("Berlin", 5, city="Berlin")])
        for step in ("simulate", "publish"):
            with self.subTest(step):
                answer = self.client.post(f"{PATH}{made['id']}/{step}/?dry_run=true")
                self.assertEqual(answer.status_code, 202, answer.content)
                self.assertEqual(answer["Dry-Run"], "true")
        self.assertFalse(Job.objects.exists())
        self.assertEqual(self.client.get(f"{PATH}{made['id']}/").json(), made)

    def test_a_change_of_the_rules_sends_whole_ones(self):
        """DRF would take what a rule lacks for what a PATCH leaves as it is."""
        made = self.post()
        needed = ("name", "group", "filter", "points")
        for rules in ([{}], [fit("Berlin", 5), {}]):
            place = len(rules) - 1
            for method in (self.client.patch, self.client.put):
                with self.subTest(f"{method.__name__} {rules}"):
                    body = {"name": "Rules", "rules": rules}
                    answer = method(f"{PATH}{made['id']}/", body)
                    self.assertEqual(answer.status_code, 400, answer.content)
                    found = {(e["field"], e["code"]) for e in answer.json()["errors"]}
                    wanted = {(f"rules.{place}.{name}", "required") for name in needed}
                    self.assertEqual(found, wanted)

    def test_a_draft_is_put_away(self):
        made = self.post()
        answer = self.client.delete(f"{PATH}{made['id']}/")
        self.assertEqual(answer.status_code, 204)
        told = self.client.get(f"{PATH}{made['id']}/").json()
        self.assertEqual(told["status"], "retired")

    def test_everybody_reads_them_and_only_who_has_the_right_writes(self):
        made = self.post()
        address = f"{PATH}{made['id']}/"
        self.assertEqual(self.alice.get(address).json(), made)
        for answer in (
            self.alice.post(PATH, {"name": "x"}),
            self.alice.patch(address, {"name": "x"}),
            self.alice.post(f"{address}simulate/"),
            self.alice.post(f"{address}publish/"),
        ):
            self.assertProblem(answer, 403, "permission_denied")
        carol = client_of(self.cast.carol)
        self.assertProblem(carol.get(address), 404, "not_found")
        self.assertFalse(Job.objects.exists())


class PublishingTests(ModelTestCase):
    def test_it_takes_the_place_of_the_one_before(self):
        lead = self.lead()
        old = publish_rules(self.here, fit("Old", 20))
        made = self.post(rules=[fit("New", 50)])
        job = self.act(made, "publish")
        self.assertEqual(
            self.alice.get(f"/api/leads/{lead.pk}/").json()["lead_score"], 20
        )
        self.assertEqual(
            self.client.get(f"{PATH}{made['id']}/").json()["status"], "computing"
        )
        run(job["id"])
        job = self.client.get(f"/api/jobs/{job['id']}/").json()
        self.assertEqual((job["status"], job["counts"]), ("done", {"computed": 1}))
        self.assertEqual(
            self.alice.get(f"/api/leads/{lead.pk}/").json()["lead_score"], 50
        )
        statuses = ScoringModel.objects.order_by("number").values_list(
            "status", flat=True
        )
        self.assertEqual(list(statuses), ["retired", "published"])
        changes = Change.objects.filter(change_set=job["change_set"])
        self.assertEqual(
            {c.record_id for c in changes},
            {old.pk, ScoringModel.objects.get(pk=made["id"]).pk},
        )

    def test_one_version_is_computed_at_a_time(self):
        job = start(make_model(self.here))
        made = self.post(rules=[fit("New", 50)])
        answer = self.client.post(f"{PATH}{made['id']}/publish/")
        self.assertProblem(answer, 409, "computing")
        run(job.pk)
        self.act(made, "publish")

    def test_without_rules_nothing_is_published(self):
        made = self.post()
        answer = self.client.post(f"{PATH}{made['id']}/publish/")
        self.assertProblem(answer, 400, "required", "rules")
        self.assertFalse(Job.objects.exists())

    def test_who_lost_the_right_meanwhile_does_not_publish(self):
        self.lead()
        made = self.post(rules=[fit("New", 50)])
        job = self.act(made, "publish")
        self.change(self.seller, role=self.cast.alice.role)
        run(job["id"])
        job = Job.objects.get(pk=job["id"])
        self.assertEqual(
            (job.status, job.error["code"]), ("failed", "permission_denied")
        )
        self.assertEqual(ScoringModel.objects.get().status, "draft")

    def test_a_draft_that_was_computed_once_is_computed_anew(self):
        self.lead()
        model = make_model(self.here, fit("A", 20))
        LeadScore.begin(model, LeadScore.without(model))
        LeadScore.objects.update(total=99)
        publish(model)
        self.assertEqual(LeadScore.objects.get().total, 20)


class SimulationTests(ModelTestCase):
    def simulated(self, made, client=None):
        self.assertEqual(
            self.client.get(f"{PATH}{made['id']}/simulation/").status_code, 404
        )
        job = self.act(made, "simulate")
        run(job["id"])
        answer = (client or self.client).get(f"{PATH}{made['id']}/simulation/")
        self.assertEqual(answer.status_code, 200, answer.content)
        return answer.json()

    def test_it_tells_who_moves_and_changes_nothing(self):
        german = self.lead(country="DE")
        french = self.lead(country="FR")
        self.lead()
        publish_rules(
            self.here, fit("Germany", 60, country="DE"), fit("All", 10), fit_cap=100
        )
        made = self.post(
            rules=[fit("France", 80, country="FR"), fit("All", 10)], fit_cap=100
        )
        told = self.simulated(made)
        self.assertEqual(told["leads"], 3)
        self.assertEqual(
            told["grades"],
            {
                "before": {"A": 0, "B": 1, "C": 0, "D": 2},
                "after": {"A": 1, "B": 0, "C": 0, "D": 2},
            },
        )
        self.assertEqual(told["moved"], {"up": 1, "down": 1, "same": 1})
        self.assertEqual(
            told["movers"],
            [
                {"lead": str(french.pk), "before": 10, "after": 90},
                {"lead": str(german.pk), "before": 70, "after": 10},
            ],
        )
        self.assertEqual((told["version"], told["compared_to"]), (1, 1))
        self.assertEqual(ScoringModel.objects.get(pk=made["id"]).version, 1)
        self.assertEqual(LeadScore.objects.count(), 3)
        with self.subTest("movers are those that the reader sees"):
            stranger = client_of(self.cast.stranger)
            told = stranger.get(f"{PATH}{made['id']}/simulation/").json()
            self.assertEqual((told["leads"], told["movers"]), (3, []))

    def test_it_tells_how_well_past_conversions_would_have_been_told(self):
        for country, status in (
            ("DE", "converted"),
            ("DE", "converted"),
            ("DE", "lost"),
            ("FR", "converted"),
            ("FR", "unqualified"),
            ("FR", "lost"),
            ("FR", "new"),
        ):
            self.lead(country=country, status=status, status_reason="x")
        told = self.simulated(self.post(rules=[fit("Germany", 50, country="DE")]))
        self.assertEqual((told["converted"], told["not_converted"]), (3, 3))
        # Of 9 pairs 4 are in order, 1 is not, and 4 are even.
        self.assertEqual(told["auc"], {"before": None, "after": 0.6667})
        shares = [row["share"] for row in told["deciles"]]
        self.assertEqual(shares, [0.6667] * 5 + [0.3333] * 5)
        self.assertEqual(told["deciles"][0]["lift"], 1.33)
        self.assertEqual(told["moved"], None)

    def test_what_came_after_the_end_of_a_lead_does_not_count_for_it(self):
        lead = self.lead(status="converted", status_since=MONDAY)
        self.log(lead, kind="call", occurred_at=MONDAY - DAY)
        self.log(lead, kind="meeting", occurred_at=MONDAY + DAY)
        rules = [
            engagement("Call", 40, kind="call"),
            engagement("Meeting", 40, kind="meeting"),
        ]
        made = self.post(rules=rules, half_life_days=1, engagement_cap=100)
        told = self.simulated(made)
        # The call had half its points left by then.
        self.assertEqual(told["grades"]["after"], {"A": 0, "B": 0, "C": 0, "D": 1})
        publish(ScoringModel.objects.get(pk=made["id"]))
        other = self.post(rules=rules, half_life_days=None, engagement_cap=100)
        self.assertEqual(
            self.simulated(other)["movers"],
            [{"lead": str(lead.pk), "before": 20, "after": 40}],
        )


class OutcomeTests(SimpleTestCase):
    def outcomes(self, *pairs) -> Outcomes:
        outcomes = Outcomes()
        for score, converted in pairs:
            outcomes.add(score, converted)
        return outcomes

    def test_the_area_is_the_share_of_pairs_in_order(self):
        for pairs, area in (
            ([(90, True), (10, False)], 1),
            ([(10, True), (90, False)], 0),
            ([(50, True), (50, False)], 0.5),
            ([(90, True), (50, True), (50, False), (10, False)], 0.875),
            ([(90, True)], None),
            ([], None),
        ):
            with self.subTest(pairs):
                self.assertEqual(self.outcomes(*pairs).auc(), area)

    def test_deciles_share_what_is_known_of_equal_scores(self):
        outcomes = self.outcomes(*((100 - n, n < 5) for n in range(20)))
        rows = outcomes.deciles()
        self.assertEqual([row["share"] for row in rows], [1, 1, 0.5, *[0] * 7])
        self.assertEqual([row["lift"] for row in rows][:3], [4, 4, 2])
        rows = self.outcomes(*((50, n < 5) for n in range(20))).deciles()
        self.assertEqual({row["share"] for row in rows}, {0.25})
        self.assertEqual(sum(row["converted"] for row in rows), 5)
        self.assertEqual(self.outcomes().deciles(), [])
