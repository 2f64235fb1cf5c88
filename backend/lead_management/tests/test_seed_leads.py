from io import StringIO

from django.core.management import CommandError, call_command
from django.test import TestCase

from core.jobs import run
from core.models import Job
from core.testing import Cast
from lead_management.models import Activity, Lead, LeadStay


class SeedLeadsTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def seed(self, name, **options):
        call_command("seed_leads", name, stderr=StringIO(), **options)

    def test_leads_are_made_with_activities_and_went_through_statuses(self):
        self.seed(self.cast.organization.name, leads=60)
        self.assertEqual(Lead.objects.count(), 60)
        self.assertEqual(Lead.objects.exclude(status="new").count(), 40)
        self.assertEqual(Activity.objects.count(), 55)
        self.assertEqual(LeadStay.objects.filter(status="new").count(), 40)
        owners = set(Lead.objects.values_list("owner__first_name", flat=True))
        self.assertNotIn("reader", owners)

    def test_they_are_scored_once_a_worker_comes(self):
        self.seed(self.cast.organization.name, leads=30)
        [job] = Job.objects.all()
        run(job.pk)
        leads = Lead.objects.with_scores(self.cast.organization.pk)
        scores = set(leads.values_list("lead_score", flat=True))
        self.assertGreater(len(scores), 5)
        self.assertNotIn(None, scores)

    def test_the_organization_has_to_be_known(self):
        with self.assertRaises(CommandError):
            self.seed("none")
        self.assertFalse(Lead.objects.exists())
