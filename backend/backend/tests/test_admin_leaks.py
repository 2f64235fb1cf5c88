"""The pages of the admin show its staff no more than the API would."""

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import ForeignKey
from django.test import Client
from django.urls import reverse

from core.models import ChangeSet
from core.testing import make_role, make_user, system_changes
from user_management.models import User

from .people import database, our_models, record_views
from .test_leaks import NOTHING, LeakTestCase

PAGES = ("change", "history", "delete")


def page_of(model, name, *args) -> str:
    return reverse(
        f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args
    )


def our_admins() -> dict:
    return {m: a for m, a in admin.site._registry.items() if m in our_models()}


class AdminLeakTests(LeakTestCase):
    @classmethod
    def setUpTestData(cls):
        super().setUpTestData()
        cls.admins = {
            m: a for m, a in admin.site._registry.items() if m in our_models()
        }
        for attacker in cls.attackers:
            with system_changes(attacker.user.organization) as changes:
                changes.save(attacker.user, is_staff=True)
            attacker.staff = Client()
            attacker.staff.force_login(attacker.user)

    def test_lists_and_empty_forms_show_nothing_that_is_hidden(self):
        for attacker in self.attackers:
            for model in our_admins():
                for name in ("changelist", "add"):
                    with self.subTest(f"{attacker}: {name} of {model}"):
                        page = attacker.staff.get(page_of(model, name))
                        self.assertIn(page.status_code, (200, 403))
                        self.assertHoldsNothing(attacker, page)

    def test_pages_of_ones_own_show_nothing_that_is_hidden(self):
        for attacker in self.attackers:
            for path, record in attacker.own.items():
                model = record_views()[path].model
                for name in PAGES if model in our_admins() else ():
                    with self.subTest(f"{attacker}: {name} of {path}"):
                        page = attacker.staff.get(page_of(model, name, record["id"]))
                        self.assertEqual(page.status_code, 200)
                        self.assertHoldsNothing(attacker, page)

    def test_pages_of_what_is_hidden_are_those_of_nothing(self):
        for attacker in self.attackers:
            for model in our_admins():
                pk = attacker.one_of_each.get(model)
                for name in PAGES if pk else ():
                    with self.subTest(f"{attacker}: {name} of {model}"):
                        page = attacker.staff.get(page_of(model, name, pk))
                        none = attacker.staff.get(page_of(model, name, NOTHING))
                        self.assertIn(page.status_code, (302, 403, 404))
                        self.assertEqual(page.status_code, none.status_code)
                        self.assertEqual(page.get("Location"), none.get("Location"))
                        self.assertHoldsNothing(attacker, page, pk)

    def test_actions_do_nothing_with_what_is_hidden(self):
        before = database()
        for attacker in self.attackers:
            for model, model_admin in our_admins().items():
                for action in ("delete_selected", *(model_admin.actions or ())):
                    with self.subTest(f"{attacker}: {action} of {model}"):
                        data = {
                            "action": action,
                            "post": "yes",
                            ACTION_CHECKBOX_NAME: attacker.hidden.get(model, [NOTHING]),
                        }
                        page = attacker.staff.post(page_of(model, "changelist"), data)
                        self.assertIn(page.status_code, (200, 302, 403))
            with self.subTest(attacker):
                self.assertEqual(database(), before)

    def test_suggestions_hold_nothing_that_is_hidden(self):
        for attacker in self.attackers:
            for model in our_admins():
                for field in model._meta.concrete_fields:
                    if isinstance(field, ForeignKey):
                        query = {
                            "app_label": model._meta.app_label,
                            "model_name": model._meta.model_name,
                            "field_name": field.name,
                        }
                        with self.subTest(f"{attacker}: {query}"):
                            where = reverse("admin:autocomplete")
                            page = attacker.staff.get(where, query)
                            self.assertIn(page.status_code, (200, 403, 404))
                            self.assertHoldsNothing(attacker, page)

    def test_no_page_is_asked_for_another_column(self):
        staff = self.attackers[1].staff
        for query in ({"_to_field": "password"}, {"_popup": 1, "_to_field": "email"}):
            with self.assertLogs("django.security", "ERROR"):
                page = staff.get(page_of(User, "changelist"), query)
            self.assertEqual(page.status_code, 400)

    def test_a_change_set_shows_only_changes_of_what_is_seen(self):
        """Who may see all change sets need not see all records."""
        here = self.people.organization
        role = make_role(here, "auditor", {"view": "own"}, changeset={"view": "all"})
        auditor = make_user(here, "auditor", role, is_staff=True)
        staff = Client()
        staff.force_login(auditor)
        for path in self.contracts:
            record = self.made["alice"][path]
            change_set = ChangeSet.objects.get(changes__record_id=record["id"])
            with self.subTest(path):
                page = staff.get(page_of(ChangeSet, "change", change_set.pk))
                self.assertEqual(page.status_code, 200)
                self.assertNotContains(page, record["id"])
