from unittest import mock

from django.test import TestCase

from contact_management.models import Contact, ContactGroup
from core import jobs
from core.bulk import admin as bulk_admin
from core.models import Job
from core.testing import ALL, Cast, make_role, make_user, system_changes

CONTACTS = "/admin/contact_management/contact/"
GROUPS = "/admin/contact_management/contactgroup/"


class BulkAdminTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        here = cls.cast.organization
        cls.staff = make_user(
            here, "staff", make_role(here, "staff", ALL), is_staff=True
        )
        cls.contacts = [
            Contact(owner=cls.cast.alice, last_name=f"King {n}") for n in range(3)
        ]
        cls.group = ContactGroup()
        with system_changes(here) as changes:
            changes.bulk_create(Contact, cls.contacts)
            changes.save(cls.group, name="Friends", owner=cls.cast.alice)

    def setUp(self):
        self.client.force_login(self.staff)

    def act(self, contacts=(), path=CONTACTS, **fields):
        body = {
            "action": "change_in_bulk",
            "_selected_action": [str(contact.pk) for contact in contacts],
            **fields,
        }
        return self.client.post(path, body)

    def run_job(self) -> Job:
        job = Job.objects.get()
        jobs.run(job.pk)
        job.refresh_from_db()
        self.assertEqual(job.status, "done", job.error)
        return job

    def test_the_page_asks_what_to_change(self):
        response = self.act(self.contacts[:2])
        self.assertContains(response, "2 contacts")
        self.assertEqual(
            list(response.context["form"].fields),
            [
                *("delete", "owner", "add_to_group", "remove_from_group"),
                *("add_tags", "remove_tags"),
            ],
        )
        self.assertFalse(Job.objects.exists())

    def test_owner_and_tags_go_to_the_selected_alone(self):
        bob = self.cast.bob
        response = self.act(
            self.contacts[:2], apply="1", owner=str(bob.pk), add_tags="vip, new"
        )
        self.assertRedirects(response, CONTACTS)
        self.run_job()
        changed = Contact.objects.filter(owner=bob)
        self.assertEqual({c.pk for c in changed}, {c.pk for c in self.contacts[:2]})
        self.assertEqual(changed[0].tags, ["vip", "new"])

    def test_all_pages_can_be_selected(self):
        with mock.patch("core.admin.ScopedAdmin.list_per_page", 1):
            page = self.act(self.contacts[:1], select_across="1")
            self.assertContains(page, "3 contacts")
            self.act(self.contacts[:1], select_across="1", apply="1", delete="on")
        self.assertEqual(self.run_job().counts["changed"], 3)
        self.assertEqual(Contact.objects.live().count(), 0)

    def test_the_selected_are_added_to_a_group(self):
        self.act(self.contacts, apply="1", add_to_group=str(self.group.pk))
        self.run_job()
        listed = self.client.get(f"{CONTACTS}?group={self.group.pk}")
        self.assertEqual(listed.context["cl"].result_count, 3)
        self.assertContains(self.client.get(GROUPS), f"?group={self.group.pk}")

    def test_only_try_changes_nothing(self):
        self.act(self.contacts, dry_run="1", delete="on")
        self.assertEqual(self.run_job().counts["changed"], 3)
        self.assertEqual(Contact.objects.live().count(), 3)

    def test_what_is_not_understood_is_said_and_starts_no_job(self):
        for fields, text in (
            ({}, "Say what to change."),
            ({"delete": "on", "add_tags": "x"}, "This stands alone."),
            ({"add_tags": "x" * 101}, "At most 50 names"),
            ({"owner": str(self.cast.carol.pk)}, "Select a valid choice"),
            ({"owner": "x"}, "is not a valid UUID"),
        ):
            with self.subTest(fields):
                self.assertContains(self.act(self.contacts, apply="1", **fields), text)
        with mock.patch.object(bulk_admin, "MAX_SELECTED", 2):
            response = self.act(self.contacts, apply="1", delete="on")
        self.assertContains(response, "Select 1 to 2 records.")
        self.assertFalse(Job.objects.exists())

    def test_what_the_role_does_not_let_is_left_and_counted(self):
        rights = {"view": "all", "edit": "own"}
        role = make_role(self.cast.organization, "looker", rights)
        looker = make_user(self.cast.organization, "looker", role, is_staff=True)
        self.client.force_login(looker)
        self.act(self.contacts, apply="1", add_tags="vip")
        self.assertEqual(self.run_job().counts["no_right_to_edit"], 3)
        self.assertFalse(Contact.objects.filter(tags__has="vip").exists())
