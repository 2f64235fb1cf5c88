from datetime import timedelta
from unittest import mock, skipUnless

from django.db import connection
from django.test import TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from contact_management.models import (
    Affiliation,
    Company,
    Contact,
    ContactGroup,
    GroupMembership,
)
from core import deletion, jobs, purge
from core.exceptions import Conflict
from core.models import Change, ChangeSet
from core.tasks import purge_deleted
from core.testing import Cast, client_of, system_changes
from core.tests.test_races import at_once

COMPANIES = "/api/companies/"
CONTACTS = "/api/contacts/"
AFFILIATIONS = "/api/affiliations/"
WRITTEN = {"version", "updated_at"}


class DeletionTestCase(TestCase):
    """A company with two contacts, one affiliation and one subsidiary."""

    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        self.alice = client_of(self.cast.alice)
        self.company = self.make(COMPANIES, name="Engines", domain="engines.example")
        self.ada = self.make(CONTACTS, email="ada@example.com", company=self.company)
        self.charles = self.make(CONTACTS, last_name="Babbage", company=self.company)
        self.luigi = self.make(CONTACTS, last_name="Menabrea")
        self.adviser = self.make(AFFILIATIONS, contact=self.luigi, company=self.company)
        self.subsidiary = self.make(COMPANIES, name="Cards", parent=self.company)

    def make(self, path, client=None, **fields) -> str:
        """The address of a new record; relations are given by address."""
        answer = (client or self.alice).post(path, self.ids(fields))
        self.assertEqual(answer.status_code, 201, answer.content)
        return f"{path}{answer.json()['id']}/"

    def ids(self, fields) -> dict:
        return {
            name: id_of(value) if str(value).startswith("/api/") else value
            for name, value in fields.items()
        }

    def everything(self) -> list:
        """All that is live, without what each write counts."""
        return [
            {name: value for name, value in record.items() if name not in WRITTEN}
            for path in (COMPANIES, CONTACTS, AFFILIATIONS)
            for record in client_of(self.cast.manager).get(path).json()["results"]
        ]

    def restore(self, address, client=None):
        return (client or self.alice).post(f"{address}restore/")

    def assertBlocked(self, answer, *conflicts):
        """409, naming (record type, id, field, code, what is in its way)."""
        self.assertEqual(answer.status_code, 409, answer.content)
        problem = answer.json()
        keys = ("record_type", "record_id", "field", "code", "blocked_by")
        self.assertEqual(
            [tuple(c[key] for key in keys) for c in problem["conflicts"]],
            list(conflicts),
        )
        self.assertEqual(
            [(e["field"], e["code"]) for e in problem["errors"]],
            [(field, code) for _, _, field, code, _ in conflicts],
        )


class DeleteTests(DeletionTestCase):
    def test_a_bulk_deletion_takes_what_hangs_on_the_records_or_leaves_both(self):
        bob = client_of(self.cast.bob)
        fancy = self.make(COMPANIES, name="Fancy")
        self.make(AFFILIATIONS, bob, contact=self.luigi, company=fancy)
        ids = [id_of(address) for address in (self.subsidiary, fancy, self.company)]
        body = {"ids": ids, "change": {"delete": True}}
        answer = self.alice.post(f"{COMPANIES}bulk/", body)
        jobs.run(answer.json()["id"])
        job = self.alice.get(answer["Location"]).json()
        counts = {name: count for name, count in job["counts"].items() if count}
        self.assertEqual(
            counts, {"matched": 3, "changed": 2, "refused": 1, "permission_denied": 1}
        )
        live = Company.objects.live().values_list("name", flat=True)
        self.assertEqual(list(live), ["Fancy"])
        self.assertEqual(Affiliation.objects.live().count(), 1)
        self.assertEqual(self.alice.get(self.ada).status_code, 404)

    def test_what_hangs_on_a_record_goes_with_it_in_one_change_set(self):
        self.assertEqual(self.alice.delete(self.company).status_code, 204)
        self.assertEqual(
            [r.get("name", r.get("last_name")) for r in self.everything()],
            ["Cards", "Menabrea"],
        )
        change_set = ChangeSet.objects.latest("created_at")
        self.assertEqual(
            sorted(change_set.changes.values_list("record_type", "verb")),
            [
                ("affiliation", "delete"),
                ("company", "delete"),
                ("company", "update"),
                ("contact", "delete"),
                ("contact", "delete"),
            ],
        )

    def test_a_reference_without_hanging_is_cleared(self):
        self.alice.delete(self.company)
        subsidiary = self.alice.get(self.subsidiary).json()
        self.assertEqual((subsidiary["parent"], subsidiary["version"]), (None, 2))
        history = self.alice.get(f"{self.subsidiary}history/").json()["results"]
        self.assertEqual(history[0]["before"], {"parent": id_of(self.company)})

    def test_a_dry_run_says_what_would_go(self):
        before = self.everything()
        answer = self.alice.delete(f"{self.company}?dry_run=true")
        self.assertEqual((answer.status_code, answer["Dry-Run"]), (200, "true"))
        self.assertEqual(
            answer.json(),
            {
                "deleted": {"company": 1, "contact": 2, "affiliation": 1},
                "cleared": {"company": 1},
            },
        )
        self.assertEqual(self.everything(), before)

    def test_who_may_not_delete_all_of_it_deletes_none_of_it(self):
        manager = client_of(self.cast.manager)
        for name in ("Lovelace", "Somerville"):
            self.make(CONTACTS, manager, last_name=name, company=self.company)
        before = self.everything()
        for query in ("", "?dry_run=true"):
            answer = self.alice.delete(self.company + query)
            self.assertEqual(answer.status_code, 403)
            self.assertIn(": 2 contacts.", answer.json()["detail"])
        self.assertEqual(self.everything(), before)
        self.assertEqual(manager.delete(self.company).status_code, 204)

    def test_many_take_the_same_queries_as_few(self):
        counts = []
        for number in (2, 20):
            company = self.make(COMPANIES, name="Mill")
            for n in range(number):
                self.make(CONTACTS, last_name=f"Miller {n}", company=company)
            with CaptureQueriesContext(connection) as queries:
                self.alice.delete(company)
            deletion_cost = len(queries)
            with CaptureQueriesContext(connection) as queries:
                self.restore(company)
            counts.append((deletion_cost, len(queries)))
        self.assertEqual(Contact.objects.live().count(), 25)
        self.assertEqual(counts[0], counts[1])

    def test_more_than_one_chunk_goes_and_comes_back(self):
        with mock.patch.object(deletion, "CHUNK", 2):
            for n in range(5):
                self.make(CONTACTS, last_name=f"King {n}", company=self.company)
            before = self.everything()
            self.alice.delete(self.company)
            self.assertEqual(len(self.everything()), 2)
            self.restore(self.company)
        self.assertEqual(self.everything(), before)

    def test_nothing_is_hung_on_what_was_deleted_a_moment_ago(self):
        company = Company.objects.get(pk=id_of(self.company))
        ada = Contact.objects.get(last_name="Menabrea")
        self.alice.delete(self.company)
        before = self.everything()
        for contact, values in ((Contact(), {"last_name": "King"}), (ada, {})):
            with (
                self.assertRaisesMessage(Conflict, "The company was deleted"),
                ChangeSet.open(actor=self.cast.alice, source="api") as changes,
            ):
                changes.save(contact, company=company, **values)
        self.assertEqual(self.everything(), before)


@skipUnless(connection.vendor == "postgresql", "needs connections that wait for locks")
class RaceTests(TransactionTestCase):
    def test_what_is_hung_on_a_record_while_it_is_deleted_goes_too_or_is_refused(self):
        cast = Cast()
        for _ in range(5):
            answer = client_of(cast.alice).post(COMPANIES, {"name": "Engines"})
            company = answer.json()["id"]

            def hang(company=company):
                body = {"last_name": "King", "company": company}
                return client_of(cast.alice).post(CONTACTS, body).status_code

            def delete(company=company):
                return (
                    client_of(cast.alice).delete(f"{COMPANIES}{company}/").status_code
                )

            *made, deleted = at_once(*[hang] * 4, delete)
            self.assertEqual(deleted, 204)
            self.assertLessEqual(set(made), {201, 400, 409})
            self.assertFalse(Contact.objects.live().filter(company=company).exists())


class RestoreTests(DeletionTestCase):
    def test_everything_is_as_before(self):
        before = self.everything()
        self.alice.delete(self.company)
        self.assertEqual(self.restore(self.company).status_code, 200)
        self.assertEqual(self.everything(), before)

    def test_undo_of_the_deletion_does_the_same(self):
        before = self.everything()
        self.alice.delete(self.company)
        change_set = ChangeSet.objects.latest("created_at")
        answer = self.alice.post(f"/api/change-sets/{change_set.pk}/undo/")
        self.assertEqual(answer.status_code, 200, answer.content)
        self.assertEqual(self.everything(), before)

    def test_what_was_deleted_before_stays_deleted(self):
        self.alice.delete(self.charles)
        before = self.everything()
        self.alice.delete(self.company)
        self.restore(self.company)
        self.assertEqual(self.everything(), before)

    def test_what_was_deleted_together_by_hand_comes_back_alone(self):
        with ChangeSet.open(actor=self.cast.alice, source="api") as changes:
            changes.delete(
                *Contact.objects.filter(last_name__in=["Babbage", "Menabrea"])
            )
        self.restore(self.charles)
        self.assertEqual(self.alice.get(self.luigi).status_code, 404)
        self.assertEqual(self.alice.get(self.adviser).status_code, 404)
        self.restore(self.luigi)
        self.assertEqual(self.alice.get(self.adviser).status_code, 200)

    def test_a_unique_value_taken_since_blocks_all_of_it(self):
        self.alice.delete(self.company)
        thief = self.make(CONTACTS, email="ada@example.com")
        before = self.everything()
        for query in ("", "?dry_run=true"):
            self.assertBlocked(
                self.alice.post(f"{self.company}restore/{query}"),
                ("contact", id_of(self.ada), "email", "unique", id_of(thief)),
            )
        self.assertEqual(self.everything(), before)
        self.alice.delete(thief)
        self.assertEqual(self.restore(self.company).status_code, 200)

    def test_what_is_in_the_way_is_not_shown_to_who_may_not_see_it(self):
        self.alice.delete(self.company)
        self.make(CONTACTS, client_of(self.cast.stranger), email="ada@example.com")
        self.assertBlocked(
            self.restore(self.company),
            ("contact", id_of(self.ada), "email", "unique", None),
        )

    def test_what_hangs_on_something_deleted_is_not_restored_alone(self):
        self.alice.delete(self.company)
        before = self.everything()
        self.assertBlocked(
            self.restore(self.ada),
            (
                "contact",
                id_of(self.ada),
                "company",
                "parent_deleted",
                id_of(self.company),
            ),
        )
        self.assertEqual(self.everything(), before)

    def test_what_hangs_on_two_needs_both(self):
        self.alice.delete(self.company)
        self.alice.delete(self.luigi)
        self.assertBlocked(
            self.restore(self.company),
            (
                *("affiliation", id_of(self.adviser), "contact", "parent_deleted"),
                id_of(self.luigi),
            ),
        )
        self.restore(self.luigi)
        self.assertEqual(self.restore(self.company).status_code, 200)
        self.assertEqual(self.alice.get(self.adviser).status_code, 200)

    def test_a_reference_set_anew_in_the_meantime_stays(self):
        self.alice.delete(self.company)
        other = self.make(COMPANIES, name="Looms")
        self.alice.patch(self.subsidiary, {"parent": id_of(other)})
        self.restore(self.company)
        self.assertEqual(self.alice.get(self.subsidiary).json()["parent"], id_of(other))

    def test_a_circle_made_in_the_meantime_blocks_it(self):
        middle = self.make(COMPANIES, name="Middle", parent=self.company)
        self.alice.patch(
            self.company, {"parent": id_of(self.make(COMPANIES, name="Top"))}
        )
        top = self.alice.get(self.company).json()["parent"]
        self.alice.delete(self.company)
        self.alice.patch(f"{COMPANIES}{top}/", {"parent": id_of(middle)})
        before = self.everything()
        self.assertBlocked(
            self.restore(self.company),
            ("company", id_of(middle), "parent", "invalid", None),
        )
        self.assertEqual(self.everything(), before)

    def test_the_right_to_all_of_it_is_needed_again(self):
        with system_changes(self.cast.organization) as changes:
            changes.save(Contact.objects.get(pk=id_of(self.ada)), owner=self.cast.bob)
        client_of(self.cast.manager).delete(self.company)
        before = self.everything()
        answer = self.restore(self.company)
        self.assertEqual(answer.status_code, 403)
        self.assertIn(": 1 contact.", answer.json()["detail"])
        self.assertEqual(self.everything(), before)


class UndoTests(DeletionTestCase):
    def undo(self, address):
        change_set = Change.objects.get(
            record_id=id_of(address), verb="create"
        ).change_set
        return self.alice.post(f"/api/change-sets/{change_set.pk}/undo/")

    def test_undo_of_a_creation_leaves_what_others_hung_on_it(self):
        before = self.everything()
        answer = self.undo(self.company)
        self.assertEqual(answer.status_code, 409)
        [conflict] = answer.json()["conflicts"]
        self.assertEqual(
            (conflict["code"], conflict["record_id"]), ("in_use", id_of(self.company))
        )
        self.assertEqual(self.everything(), before)

    def test_undo_does_not_bring_back_what_hangs_on_something_deleted(self):
        self.alice.delete(self.ada)
        deletion_of_ada = ChangeSet.objects.latest("created_at")
        self.alice.delete(self.company)
        answer = self.alice.post(f"/api/change-sets/{deletion_of_ada.pk}/undo/")
        self.assertEqual(answer.status_code, 409)
        self.assertEqual(
            [(c["field"], c["code"]) for c in answer.json()["conflicts"]],
            [("company", "parent_deleted")],
        )
        self.assertFalse(Contact.objects.live().filter(pk=id_of(self.ada)).exists())

    def test_a_set_that_made_both_is_undone_with_both(self):
        company, contact = Company(name="Mill"), Contact(last_name="Miller")
        with ChangeSet.open(actor=self.cast.alice, source="api") as changes:
            changes.save(company)
            changes.save(contact, company=company)
        answer = self.undo(f"{COMPANIES}{company.pk}/")
        self.assertEqual((answer.status_code, answer.json()["undone"]), (200, 2))
        self.restore(f"{COMPANIES}{company.pk}/")
        self.assertEqual(Contact.objects.live().filter(company=company).count(), 1)


class AdminTests(DeletionTestCase):
    def setUp(self):
        super().setUp()
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.manager, is_staff=True)
        self.client.force_login(self.cast.manager)

    def test_the_confirmation_lists_what_hangs_on_it(self):
        path = f"/admin/contact_management/company/{id_of(self.company)}/delete/"
        page = self.client.get(path)
        for text in (
            "company: Engines",
            "contact: ada@example.com",
            "contact: Babbage",
        ):
            self.assertContains(page, text)
        self.client.post(path, {"post": "yes"})
        self.assertFalse(Company.objects.live().filter(name="Engines").exists())
        self.assertFalse(Contact.objects.live().filter(last_name="Babbage").exists())

    def test_a_restored_selection_says_how_many_came_back(self):
        self.alice.delete(self.company)
        answer = self.client.post(
            "/admin/contact_management/company/?deleted=yes",
            {"action": "restore_selected", "_selected_action": [id_of(self.company)]},
            follow=True,
        )
        self.assertContains(answer, "Restored: 4.")


class PurgeTests(DeletionTestCase):
    def purge_in(self, days):
        moment = timezone.now() + timedelta(days=days)
        with mock.patch.object(purge.timezone, "now", return_value=moment):
            purge_deleted()

    def test_what_was_deleted_long_ago_is_removed_but_for_the_journal(self):
        self.alice.delete(self.company)
        journal = Change.objects.count()
        self.purge_in(days=29)
        self.assertEqual(Company.objects.count(), 2)
        self.purge_in(days=31)
        self.assertEqual([c.name for c in Company.objects.all()], ["Cards"])
        self.assertEqual([c.last_name for c in Contact.objects.all()], ["Menabrea"])
        self.assertFalse(Affiliation.objects.exists())
        self.assertEqual(Change.objects.count(), journal)
        self.assertEqual(self.alice.get(f"{self.ada}history/").status_code, 404)

    def test_a_link_stays_with_a_deleted_record_and_is_purged_with_it(self):
        group = self.make("/api/contact-groups/", name="Friends")
        made = ChangeSet.objects.filter(changes__record_id=id_of(self.charles)).get()
        self.alice.post(f"{group}members/", {"add": [id_of(self.charles)]})
        undone = self.alice.post(f"/api/change-sets/{made.pk}/undo/").json()
        self.assertEqual((undone["undone"], undone["conflicts"]), (1, []))
        self.purge_in(days=29)
        self.assertEqual(GroupMembership.objects.count(), 1)
        self.purge_in(days=31)
        self.assertFalse(GroupMembership.objects.exists())
        self.assertFalse(Contact.objects.filter(pk=id_of(self.charles)).exists())
        self.assertEqual(ContactGroup.objects.count(), 1)

    def test_undo_says_that_it_is_gone(self):
        self.alice.delete(self.charles)
        change_set = ChangeSet.objects.latest("created_at")
        purge.purge_batch(self.cast.organization, timezone.now())
        answer = self.alice.post(f"/api/change-sets/{change_set.pk}/undo/")
        self.assertEqual([c["code"] for c in answer.json()["conflicts"]], ["gone"])

    def test_batches_are_bounded_and_what_is_referred_to_goes_last(self):
        self.alice.delete(self.company)
        sizes = []
        while size := purge.purge_batch(
            self.cast.organization, timezone.now(), limit=1
        ):
            sizes.append(size)
            self.assertLessEqual(size, 3)
        self.assertEqual(sum(sizes), 4)

    def test_other_organizations_and_live_records_stay(self):
        carol = client_of(self.cast.carol)
        theirs = self.make(CONTACTS, carol, last_name="Carol")
        carol.delete(theirs)
        self.assertEqual(purge.purge_batch(self.cast.organization, timezone.now()), 0)
        self.assertEqual(Contact.objects.count(), 4)


def id_of(address: str) -> str:
    return address.split("/")[-2]
