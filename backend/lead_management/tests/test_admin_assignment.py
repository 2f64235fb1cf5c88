from django.test import tag
from django.utils import timezone

from core.models import ChangeSet
from core.testing import make_team
from lead_management.models import (
    Absence,
    AssignmentDecision,
    AssignmentRule,
    Availability,
    Lead,
)
from user_management.tests.test_admin import AdminTestCase

ROOT = "/admin/lead_management/"
RULES = f"{ROOT}assignmentrule/"
HOURS = f"{ROOT}availability/"
ABSENCES = f"{ROOT}absence/"
DECISIONS = f"{ROOT}assignmentdecision/"
LEADS = f"{ROOT}lead/"


@tag("once")
class AssignmentAdminTests(AdminTestCase):
    def errors(self, response):
        return response.context["adminform"].form.errors.get_json_data()

    def rule(self, **values):
        values = {"name": "All", "method": "user", "user": self.seller, **values}
        return self.make(AssignmentRule, **values)

    def test_rules_are_made_and_changed_in_their_order(self):
        team = make_team(self.organization, "Telesales")
        sent = self.send(
            f"{RULES}add/",
            name="Web",
            position="3",
            filter='{"lead_source": "website"}',
            method="least_open",
            team=str(team.pk),
        )
        self.assertSaved(sent)
        rule = AssignmentRule.objects.get()
        self.assertEqual((rule.team, rule.filter), (team, {"lead_source": "website"}))
        self.assertEqual(ChangeSet.objects.latest("pk").source, "admin")
        self.rule(name="First", position=1)
        names = [r.name for r in self.page(RULES).context["cl"].result_list]
        self.assertEqual(names, ["First", "Web"])
        where = f"{RULES}{rule.pk}/change/"
        self.assertSaved(self.send(where, position="0"))
        self.assertEqual(self.stored(rule).position, 0)
        wrong = self.send(where, filter='{"nonsense": 1}')
        self.assertEqual(list(self.errors(wrong)), ["filter"])
        self.assertEqual(self.stored(rule).version, 2)

    def test_hours_are_typed_a_line_for_each_day(self):
        typed = "mon 09:00-12:30 13:30-17:00\nfri 09:00-12:00\n"
        sent = self.send(f"{HOURS}add/", user=str(self.seller.pk), working_hours=typed)
        self.assertSaved(sent)
        hours = Availability.objects.get()
        days = {
            "mon": [["09:00", "12:30"], ["13:30", "17:00"]],
            "fri": [["09:00", "12:00"]],
        }
        self.assertEqual(hours.working_hours, days)
        where = f"{HOURS}{hours.pk}/change/"
        form = self.page(where).context["adminform"].form
        self.assertEqual(form["working_hours"].value(), typed.strip())
        self.assertSaved(self.send(where, max_open_leads="5"))
        stored = self.stored(hours)
        self.assertEqual((stored.max_open_leads, stored.working_hours), (5, days))
        for wrong in ("monday 09:00-17:00", "mon 9-17", "mon 09:00", "mon\nmon"):
            with self.subTest(wrong):
                answer = self.send(where, working_hours=wrong)
                self.assertEqual(list(self.errors(answer)), ["working_hours"])
        self.assertEqual(self.stored(hours).version, 2)
        self.assertSaved(self.send(where, working_hours=""))
        self.assertEqual(self.stored(hours).working_hours, {})

    def test_absences_have_a_page(self):
        sent = self.send(
            f"{ABSENCES}add/",
            owner=str(self.seller.pk),
            starts_at_0="2030-01-01",
            starts_at_1="00:00",
            ends_at_0="2030-01-08",
            ends_at_1="00:00",
        )
        self.assertSaved(sent)
        self.assertEqual(Absence.objects.get().owner, self.seller)

    def test_a_lead_without_an_owner_goes_by_the_rules_and_its_page_says_why(self):
        self.rule()
        self.assertSaved(self.send(f"{LEADS}add/", last_name="Lovelace"))
        lead = Lead.objects.get()
        self.assertEqual((lead.owner, lead.version), (self.seller, 1))
        page = self.page(f"{LEADS}{lead.pk}/change/").content.decode()
        self.assertIn("It goes to seller.", page)
        decision = AssignmentDecision.objects.get()
        self.assertContains(self.page(DECISIONS), "seller")
        page = self.page(f"{DECISIONS}{decision.pk}/change/")
        self.assertContains(page, "It goes to seller.")
        owned = {"last_name": "King", "owner": str(self.admin.pk)}
        self.assertSaved(self.send(f"{LEADS}add/", **owned))
        self.assertEqual(Lead.objects.get(last_name="King").owner, self.admin)

    def test_others_see_rules_and_set_their_own_hours(self):
        rule = self.rule()
        self.client.force_login(self.seller)
        self.page(RULES)
        answer = self.client.post(f"{RULES}{rule.pk}/change/", {"name": "x"})
        self.assertEqual(answer.status_code, 403)
        self.assertEqual(self.client.get(f"{RULES}add/").status_code, 403)
        self.assertSaved(
            self.send(f"{HOURS}add/", user=str(self.seller.pk), working_hours="mon")
        )
        refused = self.send(f"{HOURS}add/", user=str(self.admin.pk))
        self.assertEqual(refused.status_code, 200)
        self.assertEqual(Availability.objects.get().user, self.seller)
        hours = Availability.objects.get()
        self.send(f"{HOURS}{hours.pk}/change/", max_open_leads="1")
        self.assertIsNone(self.stored(hours).max_open_leads)

    def test_an_absence_ends_after_its_start(self):
        now = f"{timezone.now():%Y-%m-%d}"
        sent = self.send(
            f"{ABSENCES}add/",
            starts_at_0=now,
            starts_at_1="10:00",
            ends_at_0=now,
            ends_at_1="10:00",
        )
        self.assertEqual(list(self.errors(sent)), ["ends_at"])
        self.assertFalse(Absence.objects.exists())
