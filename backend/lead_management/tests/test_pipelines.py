from django.test import TestCase

from core.models import Change, ChangeSet
from core.testing import ALL, Cast, client_of, make_role, make_user
from lead_management.models import Deal, Pipeline, Stage
from user_management.roles import BUILT_IN
from user_management.services import create_organization

PATH = "/api/pipelines/"


class PipelineTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        role = make_role(cls.cast.organization, "sales", ALL, **BUILT_IN["manager"])
        cls.seller = make_user(cls.cast.organization, "seller", role)
        cls.pipeline = Pipeline.objects.get(organization=cls.cast.organization)
        cls.elsewhere = Pipeline.objects.get(organization=cls.cast.other_organization)

    def setUp(self):
        self.client = client_of(self.seller)
        self.alice = client_of(self.cast.alice)
        self.address = f"{PATH}{self.pipeline.pk}/"
        self.stages = self.client.get(self.address).json()["stages"]
        self.ids = {stage["name"]: stage["id"] for stage in self.stages}

    def patch(self, stages, status=200, **headers):
        answer = self.client.patch(self.address, {"stages": stages}, headers=headers)
        self.assertEqual(answer.status_code, status, answer.content)
        return answer.json()

    def deal(self, **fields) -> str:
        answer = self.alice.post("/api/deals/", {"name": "Engine", **fields})
        self.assertEqual(answer.status_code, 201, answer.content)
        return f"/api/deals/{answer.json()['id']}/"

    def rows(self):
        """The stages as rows, as deals see them."""
        rows = Stage.objects.filter(pipeline=self.pipeline, is_removed=False)
        return [
            {
                "id": str(row.pk),
                "name": row.name,
                "kind": row.kind,
                "probability": row.probability,
            }
            for row in rows.order_by("position")
        ]


class StageTests(PipelineTestCase):
    def test_an_organization_starts_with_a_pipeline(self):
        admin = create_organization(
            "Royal Society", "sir@example.com", "s3cret-tea-pot"
        )
        [pipeline] = client_of(admin).get(PATH).json()["results"]
        self.assertEqual(pipeline["name"], "Sales")
        self.assertEqual(
            [(s["name"], s["kind"], s["probability"]) for s in pipeline["stages"]],
            [
                ("Qualification", "open", 10),
                ("Needs analysis", "open", 25),
                ("Proposal", "open", 50),
                ("Negotiation", "open", 75),
                ("Won", "won", 100),
                ("Lost", "lost", 0),
            ],
        )

    def test_rows_are_what_the_list_says(self):
        self.assertEqual(self.rows(), self.stages)
        first, *middle, won, lost = self.stages
        middle[0]["name"] = "Discovery"
        new = {"name": "Trial", "probability": 60}
        answer = self.patch([*middle, new, first, won, lost])
        made = answer["stages"][3]
        self.assertEqual({**made, "id": None}, {**new, "kind": "open", "id": None})
        self.assertEqual(
            answer["stages"],
            [*middle, {**new, "kind": "open", "id": made["id"]}, first, won, lost],
        )
        self.assertEqual(self.rows(), answer["stages"])
        self.assertEqual(answer["version"], 2)

    def test_a_list_that_is_the_same_changes_nothing(self):
        answer = self.patch(self.stages)
        self.assertEqual(answer["version"], 1)
        self.assertEqual(Change.objects.filter(record_id=self.pipeline.pk).count(), 1)

    def test_a_put_without_stages_keeps_them(self):
        answer = self.client.put(self.address, {"name": "Machines"})
        self.assertEqual(answer.json()["stages"], self.stages)

    def test_the_journal_tells_the_list_and_undo_brings_it_back(self):
        kept = [s for s in self.stages if s["name"] != "Proposal"]
        self.patch(kept)
        self.assertEqual(self.rows(), kept)
        [update, _] = self.client.get(f"{self.address}history/").json()["results"]
        self.assertEqual(update["before"], {"stages": self.stages})
        self.assertEqual(update["after"], {"stages": kept})
        undone = self.client.post(
            f"/api/change-sets/{update['change_set']['id']}/undo/"
        )
        self.assertEqual(undone.status_code, 200, undone.content)
        self.assertEqual(self.rows(), self.stages)
        self.assertEqual(self.client.get(self.address).json()["stages"], self.stages)

    def test_a_stage_with_deals_is_not_removed(self):
        self.deal(stage=self.ids["Proposal"])
        gone = self.deal(stage=self.ids["Proposal"])
        self.alice.delete(gone)
        kept = [s for s in self.stages if s["name"] != "Proposal"]
        problem = self.patch(kept, 409)
        self.assertEqual((problem["code"], problem["deals"]), ("in_use", 2))
        self.assertEqual(
            problem["detail"],
            "The stage 'Proposal' cannot be removed: deals stand in it: 2, of which"
            " deleted: 1.",
        )
        self.assertEqual(problem["errors"][0]["field"], "stages")
        self.assertEqual(self.rows(), self.stages)

    def test_a_stage_with_deals_does_not_change_in_kind(self):
        self.deal(stage=self.ids["Proposal"])
        changed = [
            {**s, "kind": "won", "probability": 100} if s["name"] == "Proposal" else s
            for s in self.stages
        ]
        self.assertEqual(self.patch(changed, 409)["code"], "in_use")
        renamed = [{**s, "name": f"The {s['name']}"} for s in self.stages]
        self.assertEqual(self.patch(renamed)["stages"], renamed)

    def test_undo_does_not_remove_a_stage_that_deals_came_to(self):
        answer = self.patch([{"name": "Trial", "probability": 5}, *self.stages])
        self.deal(stage=answer["stages"][0]["id"])
        change_set = ChangeSet.objects.get(
            changes__record_id=self.pipeline.pk, changes__version=2
        )
        undone = self.client.post(f"/api/change-sets/{change_set.pk}/undo/")
        self.assertEqual(undone.status_code, 409)
        self.assertEqual([c["code"] for c in undone.json()["conflicts"]], ["in_use"])
        self.assertEqual(self.rows(), answer["stages"])

    def test_what_is_no_list_of_stages_is_refused(self):
        won, lost = self.stages[-2:]
        new = {"name": "Trial", "probability": 5}
        foreign = self.elsewhere.stages[0]
        for stages, field in (
            ("x", "stages"),
            ([1, won, lost], "stages.0"),
            ([won, lost], "stages"),
            ([new, won], "stages"),
            ([new, {**new, "name": "TRIAL"}, won, lost], "stages"),
            ([{"name": "Trial"}, won, lost], "stages"),
            ([{**new, "probability": 101}, won, lost], "stages.0.probability"),
            ([{**new, "probability": "x"}, won, lost], "stages.0.probability"),
            ([{**new, "kind": "maybe"}, won, lost], "stages.0.kind"),
            ([{**new, "surprise": 1}, won, lost], "stages.0.surprise"),
            ([{**new, "name": ""}, won, lost], "stages.0.name"),
            ([new, {**won, "probability": 99}, lost], "stages"),
            ([new, won, won, lost], "stages"),
            ([{**new, "id": foreign["id"]}, won, lost], "stages.0.id"),
            ([{**new, "id": "x"}, won, lost], "stages.0.id"),
            ([{"name": f"S{n}", "probability": 1} for n in range(60)], "stages"),
        ):
            with self.subTest(stages=stages):
                problem = self.patch(stages, 400)
                self.assertEqual({e["field"] for e in problem["errors"]}, {field})
        self.assertEqual(self.rows(), self.stages)
        self.elsewhere.refresh_from_db()
        self.assertEqual(self.elsewhere.stages[0], foreign)

    def test_a_stale_list_is_refused(self):
        etag = self.client.get(self.address)["ETag"]
        self.client.patch(self.address, {"position": 3})
        self.patch(self.stages[1:], 412, if_match=etag)
        self.assertEqual(self.rows(), self.stages)


class PipelineTests(PipelineTestCase):
    def make(self, **fields):
        answer = self.client.post(PATH, {"name": "Partners", **fields})
        self.assertEqual(answer.status_code, 201, answer.content)
        return answer.json()

    def test_deals_that_name_no_stage_go_to_the_first_active_pipeline(self):
        partners = self.make()
        deal = self.alice.get(self.deal()).json()
        self.assertEqual(deal["stage"], self.ids["Qualification"])
        self.client.patch(self.address, {"position": 1})
        deal = self.alice.get(self.deal()).json()
        self.assertEqual(deal["pipeline"], partners["id"])
        self.assertEqual(deal["stage"], partners["stages"][0]["id"])

    def test_one_that_is_not_active_takes_no_further_deals(self):
        deal = self.deal()
        partners = self.make()
        self.client.patch(self.address, {"is_active": False})
        body = {"name": "Engine", "stage": self.ids["Proposal"]}
        refused = self.alice.post("/api/deals/", body)
        self.assertEqual(refused.status_code, 400)
        [error] = refused.json()["errors"]
        self.assertEqual((error["field"], error["code"]), ("stage", "inactive"))
        moved = self.alice.patch(deal, {"stage": self.ids["Proposal"]})
        self.assertEqual(moved.status_code, 200)
        self.assertEqual(self.alice.get(self.deal()).json()["pipeline"], partners["id"])

    def test_without_an_active_pipeline_there_are_no_new_deals(self):
        self.client.patch(self.address, {"is_active": False})
        refused = self.alice.post("/api/deals/", {"name": "Engine"})
        self.assertEqual(refused.status_code, 400)
        self.assertEqual(refused.json()["errors"][0]["field"], "stage")
        self.assertFalse(Deal.objects.exists())

    def test_undo_closes_a_pipeline_that_was_made(self):
        partners = self.make()
        made = ChangeSet.objects.get(changes__record_id=partners["id"])
        undone = self.client.post(f"/api/change-sets/{made.pk}/undo/")
        self.assertEqual(undone.status_code, 200, undone.content)
        now = self.client.get(f"{PATH}{partners['id']}/").json()
        self.assertEqual(now["is_active"], False)

    def test_a_name_is_given_once(self):
        answer = self.client.post(PATH, {"name": "Sales"})
        self.assertEqual(answer.status_code, 409)
        self.assertEqual(answer.json()["errors"][0]["field"], "name")
        self.assertEqual(
            Pipeline.objects.filter(organization=self.cast.organization).count(), 1
        )

    def test_everybody_sees_them_and_only_some_change_them(self):
        self.assertEqual(self.alice.get(PATH).json()["count"], 1)
        for answer in (
            self.alice.post(PATH, {"name": "Mine"}),
            self.alice.patch(self.address, {"name": "Mine"}),
        ):
            self.assertEqual(answer.status_code, 403)
        self.assertEqual(self.alice.get(self.address).json()["version"], 1)
        carol = client_of(self.cast.carol)
        self.assertEqual(carol.get(self.address).status_code, 404)
        self.assertEqual(self.alice.delete(self.address).status_code, 405)
