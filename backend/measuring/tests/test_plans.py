from unittest import skipUnless

from django.db import connection
from django.test import TestCase, tag

from core.testing import Cast, client_of
from core.testing.people import ALL, make_role, make_user, system_changes
from lead_management.models import Activity, Lead
from measuring import plans


@tag("once")
class QuestionTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        with system_changes(cls.cast.organization) as changes:
            lead = Lead(last_name="Lovelace", tags=["vip"], owner=cls.cast.alice)
            changes.save(lead)

    def test_every_list_is_there_once(self):
        paths = [path for path, _ in plans.lists()]
        self.assertEqual(len(paths), len(set(paths)))
        for path in ("/api/contacts/", "/api/leads/", "/api/users/", "/api/jobs/"):
            self.assertIn(path, paths)

    def test_a_list_is_asked_by_all_that_it_declares(self):
        view = dict(plans.lists())["/api/leads/"]
        asked = set(plans.questions("/api/leads/", view, self.cast.manager))
        self.assertIn("/api/leads/?ordering=-created_at", asked)
        self.assertIn("/api/leads/?last_name=Lovelace", asked)
        self.assertIn("/api/leads/?tags=vip", asked)
        self.assertIn("/api/leads/?search=lovelace", asked)
        self.assertIn(f"/api/leads/?owner={self.cast.alice.pk}", asked)

    def test_nothing_that_is_asked_is_refused(self):
        seen = {"view": "all", "export": "all"}
        role = make_role(self.cast.organization, "auditor", ALL, auditlog=seen)
        client = client_of(make_user(self.cast.organization, "auditor", role))
        for path, view in plans.lists():
            for question in plans.questions(path, view, self.cast.manager):
                with self.subTest(question):
                    self.assertEqual(client.get(question).status_code, 200)

    @skipUnless(connection.vendor == "postgresql", "plans of PostgreSQL")
    def test_a_table_that_is_read_as_a_whole_is_named(self):
        database = plans.Database(self.cast.manager)
        database.big = {Lead._meta.db_table, Activity._meta.db_table}
        self.assertEqual(
            database.scans(f"SELECT * FROM {Lead._meta.db_table}"),  # noqa: S608
            [Lead._meta.db_table],
        )
        self.assertEqual(database.scans("SELECT 1"), [])
