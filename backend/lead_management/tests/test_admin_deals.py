from django.test import TestCase

from core.models import ChangeSet
from lead_management.models import Deal, Pipeline, Stage
from user_management.services import create_organization

PASSWORD = "correct-horse-battery"
PIPELINES = "/admin/lead_management/pipeline/"
DEALS = "/admin/lead_management/deal/"


def deal_form(stage) -> dict:
    """What the page of a new deal sends."""
    return {
        "name": "Mill",
        "stage": stage,
        "custom_fields": "{}",
        "external_ids": "{}",
    }


class AdminTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.admin = create_organization("Royal Society", "admin@example.com", PASSWORD)
        create_organization("Elsewhere", "other@example.com", PASSWORD)
        cls.pipeline = Pipeline.objects.get(organization=cls.admin.organization)
        cls.stages = {stage["name"]: stage["id"] for stage in cls.pipeline.stages}

    def setUp(self):
        self.client.force_login(self.admin)


class PipelineAdminTests(AdminTestCase):
    def form(self, stages, **fields) -> dict:
        """What the page of the pipeline sends; `stages`: the rows of its table."""
        data = {
            "name": self.pipeline.name,
            "position": self.pipeline.position,
            "is_active": "on",
            "shown_version": self.pipeline.version,
            "stage_rows-TOTAL_FORMS": len(stages),
            "stage_rows-INITIAL_FORMS": sum("id" in stage for stage in stages),
            **fields,
        }
        for number, stage in enumerate(stages):
            row = {"position": number, "pipeline": self.pipeline.pk, **stage}
            data |= {f"stage_rows-{number}-{k}": v for k, v in row.items()}
        return data

    def save(self, stages, **fields):
        address = f"{PIPELINES}{self.pipeline.pk}/change/"
        return self.client.post(address, self.form(stages, **fields))

    def test_the_page_shows_the_stages_and_saves_them_in_one_change_set(self):
        page = self.client.get(f"{PIPELINES}{self.pipeline.pk}/change/")
        self.assertContains(page, "Needs analysis")
        stages = [dict(stage) for stage in self.pipeline.stages]
        stages[0]["position"] = 9
        stages[1]["name"] = "Discovery"
        stages[2]["DELETE"] = "on"
        stages.append({"name": "Trial", "kind": "open", "probability": 5})
        answer = self.save(stages, name="Machines")
        self.assertEqual(answer.status_code, 302, answer.content[:200])
        self.pipeline.refresh_from_db()
        self.assertEqual(self.pipeline.name, "Machines")
        names = [stage["name"] for stage in self.pipeline.stages]
        self.assertEqual(
            names, ["Discovery", "Negotiation", "Won", "Lost", "Trial", "Qualification"]
        )
        self.assertEqual(self.pipeline.stages[0]["id"], self.stages["Needs analysis"])
        rows = Stage.objects.filter(pipeline=self.pipeline, is_removed=False)
        self.assertEqual(
            list(rows.order_by("position").values_list("name", flat=True)), names
        )
        [made] = ChangeSet.objects.filter(
            changes__record_id=self.pipeline.pk, source="admin"
        )
        self.assertEqual(self.pipeline.version, 2)
        self.assertEqual(made.changes.get().after.keys(), {"name", "stages"})

    def test_what_is_no_pipeline_is_said_and_not_saved(self):
        stages = [dict(stage) for stage in self.pipeline.stages]
        stages[4]["DELETE"] = "on"
        answer = self.save(stages)
        self.assertContains(answer, "There is no stage that is won.")
        self.pipeline.refresh_from_db()
        self.assertEqual(self.pipeline.version, 1)

    def test_a_stage_with_deals_is_not_removed(self):
        self.client.post(
            f"{DEALS}add/",
            {
                "name": "Mill",
                "stage": self.stages["Proposal"],
                "custom_fields": "{}",
                "external_ids": "{}",
            },
        )
        self.assertEqual(Deal.objects.count(), 1)
        stages = [dict(stage) for stage in self.pipeline.stages]
        stages[2]["DELETE"] = "on"
        answer = self.save(stages)
        self.assertContains(answer, "deals stand in it: 1")
        self.pipeline.refresh_from_db()
        self.assertEqual(self.pipeline.version, 1)

    def test_a_new_one_starts_with_stages(self):
        answer = self.client.post(
            f"{PIPELINES}add/", {"name": "Partners", "position": 1, "is_active": "on"}
        )
        self.assertEqual(answer.status_code, 302, answer.content[:2000])
        partners = Pipeline.objects.get(name="Partners")
        self.assertEqual(Stage.objects.filter(pipeline=partners).count(), 6)


class DealAdminTests(AdminTestCase):
    def save(self, **fields):
        body = {**deal_form(self.stages["Proposal"]), **fields}
        return self.client.post(f"{DEALS}add/", body)

    def test_a_deal_is_made_moved_and_listed(self):
        self.assertEqual(self.save(amount="12.5").status_code, 302)
        deal = Deal.objects.get()
        self.assertFalse(deal.stays.exists())
        page = self.client.get(DEALS)
        self.assertContains(page, "Mill")
        for query, found in (
            (f"in_stage={self.stages['Proposal']}", True),
            (f"in_stage={self.stages['Won']}", False),
            (f"in_pipeline={self.pipeline.pk}", True),
            ("kind=open", True),
            ("kind=won", False),
        ):
            with self.subTest(query):
                names = self.client.get(f"{DEALS}?{query}").context["cl"].result_list
                self.assertEqual(deal in names, found)

    def test_won_without_a_reason_is_said_at_the_field(self):
        answer = self.save(stage=self.stages["Won"])
        self.assertContains(answer, "id_reason_error")
        self.assertFalse(Deal.objects.exists())

    def test_only_stages_and_pipelines_of_the_organization_are_offered(self):
        elsewhere = Pipeline.objects.exclude(pk=self.pipeline.pk).get()
        for page in (DEALS, f"{DEALS}add/", PIPELINES):
            content = self.client.get(page).content.decode()
            self.assertNotIn(str(elsewhere.pk), content)
            self.assertNotIn(elsewhere.stages[0]["id"], content)
