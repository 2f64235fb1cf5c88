from django.test import tag

from lead_management.models import Activity, Lead, LeadProcess
from lead_management.models.process import default_statuses
from user_management.tests.test_admin import AdminTestCase

LEADS = "/admin/lead_management/lead/"


@tag("once")
class LeadAdminTests(AdminTestCase):
    def lead(self, **fields):
        fields = {"last_name": "Lovelace", "owner": self.admin, **fields}
        return self.make(Lead, **fields)

    def path(self, lead):
        return f"{LEADS}{lead.pk}/change/"

    def errors(self, response):
        return response.context["adminform"].form.errors.get_json_data()

    def test_the_status_is_changed_as_the_process_says(self):
        lead = self.lead()
        self.send(self.path(lead), status="qualified", notes="Wants a demo")
        stored = self.stored(lead)
        self.assertEqual((stored.status, stored.notes), ("qualified", "Wants a demo"))
        self.assertEqual(stored.stays.get().ended_by, self.admin)

    def test_what_the_process_does_not_allow_is_said_and_not_done(self):
        with self.subTest("no way leads there"):
            lead = self.lead(status="lost")
            response = self.send(self.path(lead), status="qualified")
            [error] = self.errors(response)["status"]
            self.assertIn("contacted", error["message"])
        with self.subTest("a reason is missing"):
            lead = self.lead()
            response = self.send(self.path(lead), status="lost")
            self.assertEqual(list(self.errors(response)), ["status_reason"])
        with self.subTest("a field is missing"):
            statuses = default_statuses()
            statuses["contacted"]["required_fields"] = ["email"]
            self.make(LeadProcess, statuses=statuses)
            response = self.send(self.path(lead), status="contacted")
            self.assertEqual(list(self.errors(response)), ["email"])
            self.assertEqual(self.stored(lead).version, 1)
            typed = {"status": "contacted", "email": "ada@example.com"}
            self.send(self.path(lead), **typed)
            self.assertEqual(self.stored(lead).status, "contacted")

    def test_a_new_lead_begins_where_the_process_says(self):
        for status, made in (("converted", 0), ("qualified", 1)):
            self.send(f"{LEADS}add/", last_name="Byron", status=status)
            self.assertEqual(Lead.objects.filter(status=status).count(), made)

    def test_a_converted_lead_is_only_shown(self):
        lead = self.lead(status="converted")
        page = self.page(self.path(lead))
        self.assertFalse(page.context["has_change_permission"])
        self.client.post(self.path(lead), {"last_name": "x", "shown_version": 1})
        self.assertEqual(self.stored(lead).version, 1)

    def test_the_page_tells_the_timeline_and_the_stays(self):
        lead = self.lead()
        self.make(Activity, kind="call", subject="First call", lead=lead)
        page = self.page(self.path(lead))
        self.assertContains(page, "First call")
        stays = [stay["status"] for stay in page.context["stays"]]
        self.assertEqual(stays, ["new", "contacted"])
        kinds = [entry["kind"] for entry in page.context["timeline"]]
        self.assertEqual(kinds, ["change", "activity", "change"])

    def test_the_lists_open(self):
        self.make(Activity, kind="call", lead=self.lead())
        for path in (
            f"{LEADS}?status__exact=contacted&q=love",
            "/admin/lead_management/activity/?kind__exact=call",
            "/admin/lead_management/leadprocess/",
        ):
            self.page(path)
