from django.db.models.signals import post_init
from django.test import TestCase

from contact_management.models import Contact
from core.models.template import Template
from core.testing import Cast


class TemplateTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        self.values = {
            "organization": self.cast.organization,
            "owner": self.cast.alice,
            "city": "London",
        }
        self.template = Template(Contact, **self.values)

    def test_a_record_is_what_its_model_makes(self):
        made, record = Contact(**self.values), self.template.new()
        own = ("_state", "id", "created_at", "updated_at")
        self.assertEqual(
            {k: v for k, v in vars(record).items() if k not in own},
            {k: v for k, v in vars(made).items() if k not in own},
        )
        self.assertEqual(vars(record).keys(), vars(made).keys())
        self.assertIs(record._state.adding, True)
        self.assertIsNone(record._state.db)
        self.assertEqual(type(record.created_at), type(made.created_at))

    def test_related_records_are_known_without_asking(self):
        with self.assertNumQueries(0):
            record = self.template.new()
            self.assertIs(record.owner, self.cast.alice)
            self.assertIs(record.organization, self.cast.organization)

    def test_nothing_of_one_record_reaches_another(self):
        first, second = self.template.new(), self.template.new()
        self.assertLess(first.pk, second.pk)
        first.tags.append("vip")
        first.custom_fields["size"] = 3
        first.external_ids["crm"] = "1"
        first.owner = self.cast.bob
        first.city = "Cork"
        third = self.template.new()
        for record in (second, third):
            self.assertEqual(record.tags, [])
            self.assertEqual(record.custom_fields, {})
            self.assertEqual(record.external_ids, {})
            self.assertEqual(record.owner, self.cast.alice)
            self.assertEqual(record.city, "London")

    def test_a_model_with_listeners_has_no_template(self):
        def listen(**_):
            pass

        post_init.connect(listen, Contact)
        self.addCleanup(post_init.disconnect, listen, Contact)
        with self.assertRaises(TypeError):
            Template(Contact)
