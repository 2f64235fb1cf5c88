import uuid
from unittest import skipUnless

from django.conf import settings
from django.db import connection
from django.test import TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext

from contact_management.models import Contact, ContactGroup, GroupMembership
from core import jobs
from core.models import Change
from core.testing import Cast, RecordContract, client_of, system_changes

GROUPS = "/api/contact-groups/"
CONTACTS = "/api/contacts/"


class ContactGroupContract(RecordContract, TestCase):
    path = GROUPS
    valid = {"name": "Customers {n}", "kind": "static"}
    change = {"description": "Those who buy."}


class GroupTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        cls.contacts = cls.make(cls.cast.alice, "King", 4)
        cls.bobs = cls.make(cls.cast.bob, "Queen", 2)

    def setUp(self):
        self.alice = client_of(self.cast.alice)
        self.bob = client_of(self.cast.bob)
        self.manager = client_of(self.cast.manager)

    @classmethod
    def make(cls, owner, name, count) -> list[str]:
        contacts = [Contact(owner=owner, last_name=f"{name} {n}") for n in range(count)]
        with system_changes(cls.cast.organization) as changes:
            changes.bulk_create(Contact, contacts)
        return [str(contact.pk) for contact in contacts]

    def group(self, client=None, **fields) -> str:
        response = (client or self.alice).post(GROUPS, {"name": "Friends", **fields})
        self.assertEqual(response.status_code, 201, response.content)
        return f"{GROUPS}{response.json()['id']}/"

    def dynamic(self, client=None, **parameters) -> str:
        return self.group(client, kind="dynamic", filter=parameters)

    def members(self, group, client=None, **parameters) -> list[str]:
        response = (client or self.alice).get(f"{group}members/", parameters)
        self.assertEqual(response.status_code, 200, response.content)
        return sorted(contact["last_name"] for contact in response.json()["results"])

    def change(self, group, client=None, **body):
        return (client or self.alice).post(f"{group}members/", body)

    def refused(self, response, status, code, field=None):
        self.assertEqual(response.status_code, status, response.content)
        problem = response.json()
        if field:
            problem = problem["errors"][0]
            self.assertEqual(problem["field"], field)
        self.assertEqual(problem["code"], code)


class StaticGroupTests(GroupTestCase):
    def test_members_are_added_and_removed_as_one_change_set(self):
        group = self.group()
        added = self.change(group, add=self.contacts[:3]).json()
        self.assertEqual(
            (added["added"], added["removed"], added["unchanged"]), (3, 0, 0)
        )
        changed = self.change(
            group, add=self.contacts[2:], remove=[self.contacts[0]]
        ).json()
        self.assertEqual(
            (changed["added"], changed["removed"], changed["unchanged"]), (1, 1, 1)
        )
        self.assertEqual(self.members(group), ["King 1", "King 2", "King 3"])
        undo = self.alice.post(f"/api/change-sets/{changed['change_set']}/undo/")
        self.assertEqual(undo.json()["undone"], 2)
        self.assertEqual(self.members(group), ["King 0", "King 1", "King 2"])

    def test_a_contact_that_was_removed_can_be_added_again(self):
        group = self.group()
        for _ in range(2):
            self.change(group, add=self.contacts[:1])
            self.change(group, remove=self.contacts[:1])
        self.change(group, add=self.contacts[:1])
        self.assertEqual(self.members(group), ["King 0"])

    def test_members_are_a_list_like_that_of_contacts(self):
        group = self.group()
        self.change(group, add=self.contacts)
        self.assertEqual(self.members(group, search="king 2"), ["King 2"])
        page = self.alice.get(
            f"{group}members/",
            {"fields": "last_name", "ordering": "last_name", "page_size": 3},
        ).json()
        self.assertEqual(page["count"], 4)
        self.assertEqual(
            page["results"], [{"last_name": f"King {n}"} for n in range(3)]
        )
        cursor = self.alice.get(f"{group}members/?cursor=&page_size=3").json()
        rest = self.alice.get(cursor["next"]).json()
        self.assertEqual(len(cursor["results"] + rest["results"]), 4)
        self.refused(
            self.alice.get(f"{group}members/?x=1"), 400, "unknown_parameter", "x"
        )

    def test_contacts_are_filtered_by_their_group(self):
        group = self.group()
        self.change(group, add=self.contacts[:2])
        group_id = group.split("/")[-2]
        listed = self.alice.get(CONTACTS, {"group": group_id, "search": "1"}).json()
        self.assertEqual([c["last_name"] for c in listed["results"]], ["King 1"])
        for unknown in (uuid.uuid4(), group_id):
            client = client_of(self.cast.carol)
            response = client.get(CONTACTS, {"group": str(unknown)})
            self.refused(response, 400, "does_not_exist", "group")
        response = self.alice.get(CONTACTS, {"group": "friends"})
        self.refused(response, 400, "invalid", "group")

    def test_a_deleted_contact_is_no_member_until_it_is_restored(self):
        group = self.group()
        self.change(group, add=self.contacts[:2])
        self.alice.delete(f"{CONTACTS}{self.contacts[0]}/")
        self.assertEqual(self.members(group), ["King 1"])
        self.alice.post(f"{CONTACTS}{self.contacts[0]}/restore/")
        self.assertEqual(self.members(group), ["King 0", "King 1"])

    def test_everybody_sees_of_the_members_the_contacts_that_they_see(self):
        group = self.group(self.manager)
        self.change(group, self.manager, add=self.contacts + self.bobs)
        reader = client_of(self.cast.reader)
        self.assertEqual(len(self.members(group, reader)), 6)
        group = self.group(self.alice, name="Mine")
        self.change(group, self.alice, add=self.contacts)
        self.refused(
            client_of(self.cast.stranger).get(f"{group}members/"), 404, "not_found"
        )
        self.assertEqual(len(self.members(group, self.bob)), 4)

    def test_only_who_may_edit_the_group_changes_its_members(self):
        group = self.group()
        before = Change.objects.count()
        body = {"add": self.bobs}
        self.refused(self.change(group, self.bob, **body), 403, "permission_denied")
        carol = client_of(self.cast.carol)
        self.refused(self.change(group, carol, **body), 404, "not_found")
        self.assertEqual(Change.objects.count(), before)
        self.assertFalse(GroupMembership.objects.exists())

    def test_contacts_that_are_not_seen_cannot_be_added(self):
        group = self.group()
        for hidden in (self.bobs[0], str(uuid.uuid4())):
            response = self.change(group, add=[self.contacts[0], hidden])
            self.refused(response, 400, "does_not_exist", "add.1")
        self.refused(self.change(group, add=["x"]), 400, "invalid", "add.0")
        self.refused(self.change(group, sub=[]), 400, "unknown_field", "sub")
        self.assertFalse(GroupMembership.objects.exists())

    def test_a_dry_run_adds_nobody(self):
        group = self.group()
        answer = self.alice.post(
            f"{group}members/?dry_run=true", {"add": self.contacts}
        ).json()
        self.assertEqual((answer["added"], answer["change_set"]), (4, None))
        self.assertEqual(self.members(group), [])

    def test_who_takes_the_group_over_decides_about_its_members(self):
        group = self.group(self.manager)
        self.change(group, self.manager, add=self.contacts)
        response = self.manager.patch(group, {"owner": str(self.cast.alice.pk)})
        self.assertEqual(response.status_code, 200)
        answer = self.change(group, remove=self.contacts[:1]).json()
        self.assertEqual(answer["removed"], 1)
        undo = self.alice.post(f"/api/change-sets/{answer['change_set']}/undo/").json()
        self.assertEqual((undo["undone"], undo["conflicts"]), (1, []))

    def test_adding_takes_the_same_queries_for_few_and_many(self):
        counts = []
        for number, contacts in enumerate((self.contacts[:1], self.contacts)):
            group = self.group(name=f"Group {number}")
            with CaptureQueriesContext(connection) as queries:
                self.change(group, add=contacts)
            counts.append(len(queries))
        self.assertEqual(counts[0], counts[1])

    def test_a_bulk_change_adds_and_removes_members(self):
        group = self.group(self.manager)
        group_id = group.split("/")[-2]
        self.change(group, self.manager, add=self.contacts[:1])
        body = {"filter": {"search": "king"}, "change": {"add_to_group": group_id}}
        trial = self.manager.post(f"{CONTACTS}bulk/?dry_run=true", body).json()
        self.assertEqual(trial["counts"]["changed"], 3)
        response = self.manager.post(f"{CONTACTS}bulk/", body)
        jobs.run(response.json()["id"])
        job = self.manager.get(f"/api/jobs/{response.json()['id']}/").json()
        self.assertEqual((job["counts"]["changed"], job["counts"]["unchanged"]), (3, 1))
        self.assertEqual(len(self.members(group, self.manager)), 4)
        self.manager.post(f"/api/change-sets/{job['change_set']}/undo/")
        self.assertEqual(self.members(group, self.manager), ["King 0"])
        self.assertEqual(Contact.objects.filter(version__gt=1).count(), 0)

        body["change"] = {"remove_from_group": group_id}
        response = self.manager.post(f"{CONTACTS}bulk/", body)
        jobs.run(response.json()["id"])
        self.assertEqual(self.members(group, self.manager), [])

    def test_a_bulk_change_of_members_needs_the_right_to_edit_the_group(self):
        group_id = self.group().split("/")[-2]
        body = {"filter": {}, "change": {"add_to_group": group_id}}
        self.refused(self.bob.post(f"{CONTACTS}bulk/", body), 403, "permission_denied")
        stranger = client_of(self.cast.stranger)
        response = stranger.post(f"{CONTACTS}bulk/", body)
        self.refused(response, 400, "does_not_exist", "change.add_to_group")


@skipUnless(settings.REDIS_URL, "needs Redis")
class CachedGroupTests(TransactionTestCase):
    def test_a_cached_list_of_members_ends_with_a_change_of_the_group(self):
        cast = Cast()
        manager = client_of(cast.manager)
        contacts = [
            manager.post(CONTACTS, {"last_name": f"King {n}"}).json()["id"]
            for n in range(2)
        ]
        group = manager.post(GROUPS, {"name": "Friends"}).json()
        address = f"{GROUPS}{group['id']}/"

        def counts():
            paths = (
                f"{address}members/",
                f"{address}count/",
                f"{CONTACTS}?group={group['id']}",
            )
            for _ in range(2):  # the second time from the cache
                found = {manager.get(path).json()["count"] for path in paths}
            with self.assertNumQueries(0):
                manager.get(paths[0])
            return found

        self.assertEqual(counts(), {0})
        manager.post(f"{address}members/", {"add": contacts})
        self.assertEqual(counts(), {2})
        body = {"kind": "dynamic", "filter": {"search": "king 1"}}
        manager.patch(address, body)
        self.assertEqual(counts(), {1})


class DynamicGroupTests(GroupTestCase):
    def test_its_members_are_those_of_the_filter_now(self):
        group = self.dynamic(search="king", status="active")
        self.assertEqual(len(self.members(group)), 4)
        self.alice.patch(f"{CONTACTS}{self.contacts[0]}/", {"status": "inactive"})
        self.assertEqual(self.members(group), ["King 1", "King 2", "King 3"])
        self.assertEqual(self.members(group, search="2"), ["King 2"])
        group_id = group.split("/")[-2]
        listed = self.alice.get(CONTACTS, {"group": group_id}).json()
        self.assertEqual(listed["count"], 3)

    def test_me_in_a_filter_is_who_looks(self):
        group = self.dynamic(owner="me", status="active")
        self.assertEqual(len(self.members(group)), 4)
        self.assertEqual(self.members(group, self.bob), ["Queen 0", "Queen 1"])

    def test_its_count_is_of_what_the_reader_sees(self):
        group = self.dynamic(self.alice, status="active")
        for client, count in ((self.alice, 4), (self.bob, 6)):
            answer = client.get(f"{group}count/").json()
            self.assertEqual(answer, {"count": count, "capped": False})

    def test_a_filter_that_no_list_of_contacts_understands_is_refused(self):
        for parameters, code in (
            ({"surprise": 1}, "unknown_parameter"),
            ({"status": "asleep"}, "invalid_choice"),
            ({"created_at__gte": "soon"}, "invalid"),
            ({"status": {"x": 1}}, "invalid"),
            ({"search": ""}, "blank"),
            ({"page": 1}, "unknown_parameter"),
            ({"group": str(uuid.uuid4())}, "nested"),
            ({}, "required"),
        ):
            with self.subTest(parameters):
                body = {"name": "X", "kind": "dynamic", "filter": parameters}
                self.refused(self.alice.post(GROUPS, body), 400, code, "filter")
        for wrong in ([], "x", 1):
            body = {"name": "X", "kind": "dynamic", "filter": wrong}
            response = self.alice.post(GROUPS, body)
            self.refused(response, 400, "not_an_object", "filter")
        body = {"name": "X", "filter": {"status": "active"}}
        self.refused(self.alice.post(GROUPS, body), 400, "not_dynamic", "filter")
        self.assertFalse(ContactGroup.objects.exists())

    def test_its_members_cannot_be_added(self):
        group = self.dynamic(status="active")
        self.refused(self.change(group, add=self.contacts), 409, "dynamic")
        body = {"filter": {}, "change": {"add_to_group": group.split("/")[-2]}}
        self.refused(self.alice.post(f"{CONTACTS}bulk/", body), 409, "dynamic")
        self.assertFalse(GroupMembership.objects.exists())
