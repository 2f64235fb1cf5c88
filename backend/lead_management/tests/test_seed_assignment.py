from io import StringIO

from django.core.management import CommandError, call_command
from django.test import TestCase

from core.testing import Cast
from lead_management.models import Absence, AssignmentRule, Availability


class SeedAssignmentTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def seed(self, name):
        call_command("seed_assignment", name, stdout=StringIO())

    def test_rules_are_made_once_for_who_sells(self):
        for _ in range(2):
            self.seed(self.cast.organization.name)
        rules = AssignmentRule.objects.order_by("position")
        self.assertEqual([r.method for r in rules], ["user", "round_robin"])
        self.assertEqual(rules[0].user, self.cast.alice)
        self.assertEqual(Availability.objects.get().user, self.cast.bob)
        self.assertEqual(Absence.objects.get().owner, self.cast.bob)

    def test_the_organization_has_to_be_known(self):
        with self.assertRaises(CommandError):
            self.seed("none")
        self.assertFalse(AssignmentRule.objects.exists())
