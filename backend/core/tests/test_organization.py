from django.test import TestCase
from rest_framework.test import APIClient

from core.access import Scope, Verb
from core.models import Change, ChangeSet, Organization
from core.models.values import snapshot
from core.testing import ALL, Cast, client_of, make_organization, make_role, make_user

PATH = "/api/organization/"
SHOWN = {
    "name": "Analytical Engines",
    "country": "US",
    "currency": "USD",
    "timezone": "UTC",
    "audit_retention_days": None,
    "purge_after_days": 30,
    "version": 1,
}


class OrganizationTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        everything = {Verb.VIEW: Scope.ALL, Verb.EDIT: Scope.ALL}
        role = make_role(
            cls.cast.organization, "administrator", ALL, organization=everything
        )
        cls.admin = make_user(cls.cast.organization, "admin", role)

    def setUp(self):
        self.client = client_of(self.admin)

    def stored(self) -> Organization:
        return Organization.objects.get(pk=self.cast.organization.pk)

    def refuse(self, client, status, body, **headers):
        before = snapshot(self.stored()), Change.objects.count()
        response = client.patch(PATH, body, **headers)
        self.assertEqual(response.status_code, status, response.content)
        self.assertEqual((snapshot(self.stored()), Change.objects.count()), before)
        return response.json()

    def test_all_of_its_people_see_it_and_nobody_else(self):
        for user in (self.admin, self.cast.alice, self.cast.reader):
            response = client_of(user).get(PATH)
            self.assertEqual(response.status_code, 200)
            shown = response.json()
            self.assertEqual(shown["id"], str(self.cast.organization.pk))
            self.assertEqual({name: shown[name] for name in SHOWN}, SHOWN)
            self.assertEqual(set(shown), {"id", *SHOWN, "created_at", "updated_at"})
        self.assertEqual(
            client_of(self.cast.carol).get(PATH).json()["name"], "Difference Engines"
        )
        self.assertEqual(APIClient().get(PATH).status_code, 401)

    def test_a_change_is_journalled_counted_and_undone(self):
        change = {"name": "The Royal Society", "country": "GB", "currency": "GBP"}
        response = self.client.patch(PATH, change, HTTP_X_CHANGE_REASON="moved")
        self.assertEqual(response.status_code, 200, response.content)
        self.assertEqual(response.json(), self.client.get(PATH).json())
        self.assertEqual(response.json()["version"], 2)
        [entry, creation] = self.client.get(f"{PATH}history/").json()["results"]
        self.assertEqual(entry["after"], change)
        self.assertEqual(entry["before"], {name: SHOWN[name] for name in change})
        self.assertEqual(entry["change_set"]["reason"], "moved")
        self.assertEqual(creation["after"]["name"], "Analytical Engines")
        undone = self.client.post(f"/api/change-sets/{entry['change_set']['id']}/undo/")
        self.assertEqual(undone.json()["undone"], 1, undone.content)
        self.assertEqual(self.stored().name, "Analytical Engines")
        self.assertEqual(self.stored().version, 3)

    def test_its_creation_is_not_undone(self):
        [creation] = Change.objects.filter(record_id=self.cast.organization.pk)
        response = self.client.post(f"/api/change-sets/{creation.change_set_id}/undo/")
        self.assertEqual(response.status_code, 409, response.content)
        self.assertEqual(response.json()["conflicts"][0]["code"], "not_deletable")
        self.assertEqual(self.stored().version, 1)

    def test_only_who_has_the_right_changes_it(self):
        for user in (self.cast.alice, self.cast.manager, self.cast.reader):
            refused = self.refuse(client_of(user), 403, {"name": "Mine"})
            self.assertEqual(refused["code"], "permission_denied")
        self.refuse(APIClient(), 401, {"name": "Mine"})

    def test_a_stale_version_is_refused_and_a_dry_run_changes_nothing(self):
        etag = self.client.get(PATH)["ETag"]
        self.assertEqual(
            self.client.get(PATH, HTTP_IF_NONE_MATCH=etag).status_code, 304
        )
        tried = self.client.patch(f"{PATH}?dry_run=true", {"name": "Tried"})
        self.assertEqual(tried.json()["name"], "Tried")
        self.assertEqual(self.stored().version, 1)
        first = self.client.patch(PATH, {"name": "First"}, HTTP_IF_MATCH=etag)
        self.assertEqual(first.status_code, 200)
        problem = self.refuse(self.client, 412, {"name": "Second"}, HTTP_IF_MATCH=etag)
        self.assertEqual(problem["current"]["name"], "First")

    def test_what_makes_no_sense_is_named(self):
        for field, value in (
            ("name", ""),
            ("country", "XX"),
            ("country", "usa"),
            ("currency", "XXX"),
            ("currency", "usd"),
            ("timezone", "Mars/Olympus"),
            ("audit_retention_days", 29),
            ("audit_retention_days", 2**31),
            ("audit_retention_days", "long"),
            ("purge_after_days", 0),
            ("purge_after_days", None),
            ("purge_after_days", 36_501),
            ("erased_before", "2026-01-01T00:00:00Z"),
            ("version", 7),
        ):
            with self.subTest(f"{field}: {value!r}"):
                problem = self.refuse(self.client, 400, {field: value})
                self.assertEqual([e["field"] for e in problem["errors"]], [field])
        response = self.client.get(f"{PATH}?search=x")
        self.assertEqual(response.status_code, 400)

    def test_retention_is_set_and_taken_away_again(self):
        for days in (30, 36_500, None):
            response = self.client.patch(PATH, {"audit_retention_days": days})
            self.assertEqual(response.json()["audit_retention_days"], days)

    def test_nothing_writes_it_around_the_journal(self):
        organization = self.stored()
        for write in (
            organization.save,
            organization.delete,
            lambda: Organization.objects.update(name="x"),
            lambda: Organization.objects.create(name="x"),
        ):
            with self.assertRaises(TypeError):
                write()

    def test_a_change_set_of_another_organization_cannot_write_it(self):
        with (
            self.assertRaises(ValueError),
            ChangeSet.open(
                organization=self.cast.other_organization, source="system"
            ) as changes,
        ):
            self.stored().organization = changes.change_set.organization

    def test_its_making_is_its_first_change(self):
        made = make_organization("Engines Ltd", country="GB")
        change = Change.objects.filter(organization=made).earliest("pk")
        self.assertEqual((change.record_id, change.verb), (made.pk, "create"))
