"""Custom fields in the admin: their definitions, and records that have them."""

from uuid import uuid4

from django.test import tag

from contact_management.models import Contact
from core.models import ChangeSet, CustomField, Job
from core.testing import ALL, make_role, make_user

from .test_admin import CONTACTS, TAGS, AdminTestCase

FIELDS = "/admin/core/customfield/"


def form_names(page) -> list[str]:
    return list(page.context["adminform"].form.fields)


@tag("once")
class CustomFieldAdminTests(AdminTestCase):
    def define(self, key, kind, **values):
        if "choice" in kind:
            values["choices"] = [
                {"value": "gold", "label": "Best gold"},
                {"value": "tin", "label": "Tin"},
            ]
        values = {"applies_to": "contact", "label": key.title(), **values}
        return self.make(CustomField, key=key, kind=kind, **values)

    def define_all(self):
        for kind in CustomField.Kind.values:
            self.define(kind, kind)

    def test_a_field_is_defined_with_a_line_for_each_choice(self):
        data = {
            **self.form(f"{FIELDS}add/"),
            "label": "Level",
            "key": "level",
            "applies_to": "contact",
            "kind": "choice",
            "choices": "gold | Best gold\r\n\r\ntin\r\n",
            "is_indexed": "on",
        }
        response = self.client.post(f"{FIELDS}add/", data)
        self.assertEqual(response.status_code, 302, response.content)
        field = CustomField.objects.get()
        self.assertEqual(
            field.choices,
            [
                {"value": "gold", "label": "Best gold"},
                {"value": "tin", "label": "tin"},
            ],
        )
        self.assertEqual(Job.objects.get().kind, "custom_field_index")
        path = f"{FIELDS}{field.pk}/change/"
        self.assertEqual(self.form(path)["choices"], "gold | Best gold\ntin | tin")
        self.assertContains(self.page(FIELDS), "Level")
        data = {**self.form(path), "choices": "gold | Golden"}
        self.assertEqual(self.client.post(path, data).status_code, 302)
        field.refresh_from_db()
        self.assertEqual(field.choices, [{"value": "gold", "label": "Golden"}])
        self.assertEqual((field.kind, field.key, field.version), ("choice", "level", 2))

    def test_a_list_is_filtered_by_fields_whose_values_can_be_listed(self):
        self.define_all()
        bob = str(self.seller.pk)
        gold = {"choice": "gold", "multi_choice": ["tin", "gold"], "boolean": True}
        self.make(Contact, last_name="Gold", custom_fields={**gold, "user": bob})
        self.make(Contact, last_name="Tin", custom_fields={"boolean": False})
        for key, value, found in (
            ("choice", "gold", ["Gold"]),
            ("choice", "tin", []),
            ("choice", "lead", []),
            ("choice", "\0", []),
            ("multi_choice", "gold", ["Gold"]),
            ("boolean", "true", ["Gold"]),
            ("boolean", "false", ["Tin"]),
            ("user", bob, ["Gold"]),
            ("user", str(uuid4()), []),
        ):
            with self.subTest(f"{key}: {value}"):
                page = self.client.get(CONTACTS, {f"custom_fields.{key}": value})
                names = [c.last_name for c in page.context["cl"].queryset]
                self.assertEqual(names, found)
        filters = [f.title for f in page.context["cl"].filter_specs]
        self.assertEqual(
            [title for title in filters if title.lower().replace(" ", "_") in gold],
            ["Choice", "Multi_Choice", "Boolean"],
        )

    def test_a_hidden_field_is_no_filter(self):
        self.define("choice", "choice")
        fields = {"contact": {"hidden": ["custom_fields.choice"]}}
        role = make_role(self.organization, "clerk", ALL, fields)
        self.client.force_login(
            make_user(self.organization, "clerk", role, is_staff=True)
        )
        page = self.client.get(CONTACTS)
        self.assertNotContains(page, "custom_fields.choice")
        with self.assertLogs("django.security", "ERROR"):
            page = self.client.get(CONTACTS, {"custom_fields.choice": "gold"})
        self.assertEqual(page.status_code, 400)

    def test_a_definition_that_is_wrong_is_said_so(self):
        data = {
            **self.form(f"{FIELDS}add/"),
            "label": "Level",
            "key": "Le vel",
            "applies_to": "contact",
            "kind": "choice",
            "choices": "",
        }
        response = self.client.post(f"{FIELDS}add/", data)
        errors = response.context["adminform"].form.errors
        self.assertEqual(set(errors), {"key", "choices"})
        self.assertFalse(CustomField.objects.exists())

    def test_only_administrators_define(self):
        field = self.define("size", "number")
        self.client.force_login(self.seller)
        self.assertEqual(self.client.get(f"{FIELDS}add/").status_code, 403)
        page = self.page(f"{FIELDS}{field.pk}/change/")
        self.assertFalse(page.context["has_change_permission"])

    def test_a_record_has_a_form_field_for_each_definition(self):
        self.define_all()
        contact = self.make(custom_fields={"number": 5})
        path = f"{CONTACTS}{contact.pk}/change/"
        form = self.form(path)
        self.assertEqual(
            [n for n in form_names(self.page(path)) if n.startswith("custom_fields")],
            [f"custom_fields.{kind}" for kind in CustomField.Kind.values],
        )
        values = {
            "text": "x",
            "number": "1.5",
            "money": "1,234.50 EUR",
            "date": "2026-12-31",
            "choice": "gold",
            "multi_choice": ["gold", "tin"],
            "boolean": "false",
            "link": "example.com",
            "user": str(self.admin.pk),
        }
        data = {**form, **{f"custom_fields.{k}": v for k, v in values.items()}}
        response = self.client.post(path, data)
        self.assertEqual(response.status_code, 302, response.content)
        expected = {
            "text": "x",
            "number": 1.5,
            "money": {"amount": "1234.50", "currency": "EUR"},
            "date": "2026-12-31",
            "choice": "gold",
            "multi_choice": ["gold", "tin"],
            "boolean": False,
            "link": "https://example.com",
            "user": str(self.admin.pk),
        }
        self.assertEqual(self.stored(contact).custom_fields, expected)
        # The same again changes nothing, and blanks take the values away.
        self.client.post(path, self.form(path))
        self.assertEqual(self.stored(contact).version, 2)
        blank = {f"custom_fields.{kind}": "" for kind in values}
        blank["custom_fields.multi_choice"] = []
        self.client.post(path, {**self.form(path), **blank})
        self.assertEqual(self.stored(contact).custom_fields, {})
        made = ChangeSet.objects.filter(source="admin").count()
        self.assertEqual(made, 2)

    def test_wrong_values_are_told_at_their_field(self):
        self.define_all()
        contact = self.make()
        path = f"{CONTACTS}{contact.pk}/change/"
        for name, value in (
            ("number", "x"),
            ("number", "1e30"),
            ("number", "1e999999"),
            ("number", "NaN"),
            ("money", "x"),
            ("money", "1 XXX"),
            ("date", "x"),
            ("choice", "x"),
            ("multi_choice", ["x"]),
            ("boolean", "x"),
            ("link", "no link"),
            ("user", str(self.elsewhere.carol.pk)),
            ("text", "x" * 5001),
        ):
            with self.subTest(f"{name}: {value[:10]}"):
                data = {**self.form(path), f"custom_fields.{name}": value}
                response = self.client.post(path, data)
                self.assertEqual(response.status_code, 200)
                errors = response.context["adminform"].form.errors
                self.assertEqual(set(errors), {f"custom_fields.{name}"})
        self.assertEqual(self.stored(contact).version, 1)

    def test_a_required_field_must_be_filled(self):
        self.define("size", "number", is_required=True, applies_to="tag")
        data = {**self.form(f"{TAGS}add/"), "name": "vip"}
        response = self.client.post(f"{TAGS}add/", data)
        errors = response.context["adminform"].form.errors
        self.assertEqual(set(errors), {"custom_fields.size"})
        data["custom_fields.size"] = "0"
        self.assertEqual(self.client.post(f"{TAGS}add/", data).status_code, 302)

    def test_what_the_form_does_not_show_stays(self):
        contact = self.make(custom_fields={"old": 1, "away": 2, "level": "zinc"})
        self.define("size", "number")
        self.define("away", "number", is_archived=True)
        self.define("level", "choice")
        path = f"{CONTACTS}{contact.pk}/change/"
        data = {**self.form(path), "custom_fields.size": "3"}
        self.assertEqual(data["custom_fields.level"], "zinc")
        self.assertEqual(self.client.post(path, data).status_code, 302)
        self.assertEqual(
            self.stored(contact).custom_fields,
            {"old": 1, "away": 2, "level": "zinc", "size": 3},
        )

    def test_a_role_sees_and_edits_what_it_may(self):
        for key in ("salary", "grade", "size"):
            self.define(key, "number", is_required=key == "salary")
        role = make_role(
            self.organization,
            "limited",
            ALL,
            {
                "contact": {
                    "hidden": ["custom_fields.salary"],
                    "read_only": ["custom_fields.grade"],
                }
            },
        )
        user = make_user(self.organization, "limited", role, is_staff=True)
        contact = self.make(custom_fields={"salary": 7, "grade": 1, "size": 3})
        self.client.force_login(user)
        path = f"{CONTACTS}{contact.pk}/change/"
        page = self.page(path)
        self.assertNotContains(page, "Salary")
        self.assertContains(page, "Grade")
        data = self.form(path)
        data |= {"custom_fields.size": "4", "custom_fields.grade": "9"}
        data["custom_fields.salary"] = "9"
        self.assertEqual(self.client.post(path, data).status_code, 302)
        self.assertEqual(
            self.stored(contact).custom_fields, {"salary": 7, "grade": 1, "size": 4}
        )
        names = [f["key"] for f in CustomField.objects.visible_to(user).values("key")]
        self.assertNotIn("salary", names)

    def test_who_may_only_look_sees_the_values(self):
        self.define("size", "number")
        contact = self.make(custom_fields={"size": 4711})
        self.client.force_login(self.reader)
        page = self.page(f"{CONTACTS}{contact.pk}/change/")
        self.assertContains(page, "4711")
        self.assertEqual(Contact.objects.get().version, 1)
