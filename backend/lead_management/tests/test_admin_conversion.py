from django.test import tag

from contact_management.models import Company, Contact
from core.models import ChangeSet
from core.testing import make_role, make_user
from lead_management.models import Activity, Deal, Lead, Pipeline
from user_management.tests.test_admin import AdminTestCase

LEADS = "/admin/lead_management/lead/"


@tag("once")
class ConversionPageTests(AdminTestCase):
    def lead(self, **fields):
        fields = {
            "first_name": "Ada",
            "last_name": "Lovelace",
            "email": "ada@example.com",
            "company_name": "Engines",
            "owner": self.admin,
            **fields,
        }
        return self.make(Lead, **fields)

    def address(self, lead, page="convert"):
        return f"{LEADS}{lead.pk}/{page}/"

    def send(self, lead, button="convert", **typed):
        return self.client.post(self.address(lead), {**typed, button: "1"}, follow=True)

    def said(self, response):
        return [str(message) for message in response.context["messages"]]

    def assertNothingMade(self):
        for model in (Contact, Company, Deal):
            self.assertFalse(model.objects.exists())
        sources = ChangeSet.objects.values_list("source", flat=True)
        self.assertNotIn("conversion", sources)

    def test_the_page_of_a_lead_leads_to_it(self):
        lead = self.lead()
        self.assertContains(self.page(self.address(lead, "change")), self.address(lead))
        self.assertContains(self.page(self.address(lead)), "A new company")

    def test_a_preview_tells_what_would_happen_and_does_nothing(self):
        lead = self.lead()
        self.make(Activity, kind="note", lead=lead, owner=self.admin)
        page = self.send(lead, "preview", new_company="on", new_deal="on")
        shown = page.context["preview"]
        titles = [(t["kind"], t["title"]) for t in shown["targets"]]
        self.assertEqual(titles, [("company", ""), ("contact", ""), ("deal", "")])
        self.assertEqual(shown["activities"], {"note": 1})
        self.assertContains(page, "ada@example.com")
        self.assertContains(page, "Qualification")
        self.assertEqual(self.stored(lead).version, 1)
        self.assertNothingMade()

    def test_a_preview_tells_what_a_contact_that_is_there_gets(self):
        contact = self.make(last_name="Byron", email="ada@example.com")
        page = self.send(self.lead(), "preview", match="on")
        [target] = page.context["preview"]["targets"]
        self.assertEqual(target["title"], str(contact))
        self.assertEqual(
            [(str(name), before, after) for name, before, after in target["rows"]],
            [("first name", "", "Ada"), ("company name", "", "Engines")],
        )

    def test_it_is_converted_and_tells_into_what_and_is_undone(self):
        lead = self.lead()
        pipeline = self.make(Pipeline, name="Renewals")
        page = self.send(
            lead,
            new_company="on",
            new_deal="on",
            deal_name="Engine 1",
            pipeline=str(pipeline.pk),
            owner=str(self.seller.pk),
            reason="Signed",
        )
        self.assertRedirects(page, self.address(lead, "change"))
        stored = self.stored(lead)
        self.assertEqual((stored.status, stored.status_reason), ("converted", "Signed"))
        deal = Deal.objects.get()
        self.assertEqual((deal.name, deal.pipeline), ("Engine 1", pipeline))
        self.assertEqual(deal.owner, self.seller)
        kinds = [(one["kind"], one["text"]) for one in page.context["became"]]
        self.assertEqual(
            kinds,
            [
                ("deal", "Engine 1"),
                ("contact", "Ada Lovelace"),
                ("company", "Engines"),
            ],
        )
        change_set = ChangeSet.objects.get(source="conversion")
        self.assertEqual(change_set.actor, self.admin)

    def test_the_page_of_the_contact_tells_what_it_came_from(self):
        self.send(self.lead())
        contact = Contact.objects.get()
        path = f"/admin/contact_management/contact/{contact.pk}/change/"
        page = self.page(path)
        kinds = [entry["kind"] for entry in page.context["timeline"]]
        self.assertEqual(kinds, ["lead", "change"])
        self.assertContains(page, "· Lovelace")

    def test_what_is_there_is_chosen_and_overwritten_where_that_is_asked(self):
        contact = self.make(last_name="Byron")
        self.send(self.lead(), contact=str(contact.pk), overwrite="last_name")
        self.assertEqual(self.stored(contact).last_name, "Lovelace")

    def test_what_is_refused_is_said_and_not_done(self):
        self.make(last_name="Byron", email="ada@example.com")
        lead = self.lead()
        for typed, words in (
            ({}, "email is there"),
            ({"match": "on", "overwrite": "surprise"}, "surprise"),
            ({"contact": "x"}, None),
            ({"new_deal": "on", "deal": "x"}, None),
        ):
            with self.subTest(typed):
                for button in ("preview", "convert"):
                    page = self.send(lead, button, **typed)
                    self.assertEqual(page.status_code, 200)
                    said = self.said(page)
                    if words:
                        self.assertIn(words, " ".join(said))
                    else:
                        self.assertTrue(page.context["form"].errors)
        self.assertEqual(self.stored(lead).version, 1)

    def test_a_lead_without_the_right_to_edit_it_is_not_converted(self):
        lead = self.lead()
        limits = {"lead": {"read_only": ["status"]}}
        role = make_role(self.organization, "x", {"view": "all"}, limits)
        limited = make_user(self.organization, "limited", role, is_staff=True)
        for user in (self.reader, self.seller, limited):
            self.client.force_login(user)
            self.client.get(self.address(lead))
            answer = self.client.post(self.address(lead), {"convert": "1"})
            self.assertEqual(answer.status_code, 403)
        self.assertEqual(self.stored(lead).version, 1)
        self.assertNothingMade()

    def test_a_converted_lead_is_neither_converted_nor_edited_nor_deleted(self):
        lead = self.lead()
        self.send(lead)
        page = self.page(self.address(lead, "change"))
        self.assertFalse(page.context["has_change_permission"])
        self.assertNotContains(page, self.address(lead))
        for path, typed in (
            (self.address(lead), {"convert": "1"}),
            (self.address(lead, "delete"), {"post": "yes"}),
        ):
            self.assertEqual(self.client.post(path, typed).status_code, 403)
        selected = {"action": "delete_selected", "_selected_action": [str(lead.pk)]}
        page = self.client.post(LEADS, selected)
        self.assertEqual(page.context["protected"], ["Ada Lovelace"])
        self.client.post(LEADS, {**selected, "post": "yes"})
        self.assertEqual(self.stored(lead).version, 2)

    def test_what_is_not_seen_cannot_be_chosen_nor_is_it_told(self):
        mine = self.lead(owner=self.seller)
        other = self.make(last_name="Secret")
        self.client.force_login(self.seller)
        page = self.send(mine, contact=str(other.pk))
        self.assertTrue(page.context["form"].errors)
        self.assertNotContains(page, "Secret")
        self.client.force_login(self.admin)
        self.send(mine, contact=str(other.pk))
        self.client.force_login(self.seller)
        page = self.page(self.address(mine, "change"))
        self.assertEqual(page.context["became"], [])
        self.assertNotContains(page, "Secret")
