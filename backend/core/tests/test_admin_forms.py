"""Forms of the admin: what no browser sends by itself is told, never a failure."""

from django.contrib import admin
from django.test import TestCase
from django.urls import reverse

from contact_management.models import Company, Contact
from core.testing import Cast, system_changes

NO_IDS = ("x", "10000-01-01", "9" * 40, "\0", "[[[")


class OtherRecordTests(TestCase):
    """Fields that name another record, which one looks for by typing."""

    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        with system_changes(cls.cast.organization) as changes:
            changes.save(cls.cast.manager, is_staff=True)
            cls.company = Company(name="Engines")
            changes.save(cls.company)

    def setUp(self):
        self.client.force_login(self.cast.manager)

    def fields(self):
        """The address of each page that makes a record, and each of these fields."""
        for model, page in admin.site._registry.items():
            opts = model._meta
            for name in page.autocomplete_fields:
                yield reverse(f"admin:{opts.app_label}_{opts.model_name}_add"), name

    def test_what_is_no_id_is_refused_and_shown_as_no_choice(self):
        pages = list(self.fields())
        self.assertTrue(pages)
        for address, name in pages:
            for text in NO_IDS:
                with self.subTest(address, field=name, text=text):
                    asked = self.client.get(address, {name: text})
                    self.assertEqual(asked.status_code, 200)
                    sent = self.client.post(address, {name: text})
                    self.assertEqual(sent.status_code, 200)
                    self.assertIn(name, sent.context["adminform"].form.errors)

    def test_the_record_that_was_chosen_is_shown_and_kept(self):
        address = reverse("admin:contact_management_contact_add")
        asked = self.client.get(address, {"company": str(self.company.pk)})
        self.assertContains(asked, "Engines")
        body = {"last_name": "King", "company": str(self.company.pk)}
        body |= {"contact_type": "prospect", "status": "active"}
        sent = self.client.post(address, body)
        self.assertEqual(sent.status_code, 302, sent.content[:500])
        self.assertEqual(Contact.objects.get().company, self.company)
