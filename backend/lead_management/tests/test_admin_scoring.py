import json

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.test import tag

from core.jobs import run
from core.models import Job
from lead_management.models import Lead, ScoringModel
from user_management.tests.test_admin import AdminTestCase

from .scoring import fit, make_model, publish_rules

MODELS = "/admin/lead_management/scoringmodel/"


@tag("once")
class ScoringAdminTests(AdminTestCase):
    def act(self, action, *models):
        data = {"action": action, ACTION_CHECKBOX_NAME: [m.pk for m in models]}
        return self.client.post(MODELS, data, follow=True)

    def test_a_draft_is_written_simulated_and_published(self):
        lead = self.make(Lead, last_name="Lovelace", country="DE", owner=self.admin)
        rules = json.dumps([fit("Germany", 55, country="DE")])
        self.assertSaved(self.send(f"{MODELS}add/", name="Rules", rules=rules))
        model = ScoringModel.objects.get()
        self.act("simulate_selected", model)
        run(Job.objects.get().pk)
        page = self.page(f"{MODELS}{model.pk}/change/")
        self.assertContains(page, "1 leads")
        self.act("publish_selected", model)
        run(Job.objects.get(kind="score_publication").pk)
        page = self.page(f"/admin/lead_management/lead/{lead.pk}/change/")
        self.assertContains(page, "Score: 55 (B)")
        self.assertContains(page, "Germany")
        listed = self.page("/admin/lead_management/lead/?o=-6")
        self.assertContains(listed, "55")
        again = self.act("publish_selected", model)
        self.assertContains(again, "published")
        self.assertEqual(Job.objects.count(), 2)
        shown = self.page(f"{MODELS}{model.pk}/change/")
        self.assertNotContains(shown, 'name="rules"')

    def test_what_is_wrong_with_a_rule_is_said_at_the_rules(self):
        rules = json.dumps([fit("Germany", 55, planet="DE")])
        response = self.send(f"{MODELS}add/", name="Rules", rules=rules)
        self.assertFormError(response, "rules", "0.filter.planet: Unknown parameter.")
        self.assertFalse(ScoringModel.objects.exists())

    def test_who_may_not_change_them_only_looks(self):
        model = make_model(self.organization)
        self.client.force_login(self.seller)
        self.page(f"{MODELS}{model.pk}/change/")
        self.act("publish_selected", model)
        self.page(f"{MODELS}add/", 403)
        self.assertFalse(Job.objects.exists())

    def test_leads_are_ordered_by_score(self):
        for country in ("FR", "DE", "US"):
            fields = {"last_name": f"In {country}", "country": country}
            self.make(Lead, owner=self.admin, **fields)
        publish_rules(
            self.organization, fit("DE", 30, country="DE"), fit("US", 20, country="US")
        )
        page = self.page("/admin/lead_management/lead/?o=-6")
        names = [lead.last_name for lead in page.context["cl"].result_list]
        self.assertEqual(names, ["In DE", "In US", "In FR"])
