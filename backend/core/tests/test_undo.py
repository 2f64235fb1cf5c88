from unittest import mock

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from contact_management.models import Contact
from core import jobs, undo
from core.access import Scope, Verb
from core.models import Change, ChangeSet, Job
from core.testing import (
    ALL,
    OWN,
    Cast,
    client_of,
    make_role,
    make_user,
    system_changes,
)
from core.views.change_sets import ChangeSetSerializer


class UndoTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        self.alice = client_of(self.cast.alice)

    def open(self, user=None):
        return ChangeSet.open(
            actor=user or self.cast.alice, source=ChangeSet.Source.API
        )

    def make(self, user=None, **fields) -> Contact:
        with self.open(user) as changes:
            contact = Contact()
            changes.save(contact, **{"last_name": "King", **fields})
        return contact

    def edit(self, contact, user=None, **fields) -> ChangeSet:
        with self.open(user) as changes:
            changes.save(self.stored(contact), **fields)
        return changes.change_set

    def delete(self, contact) -> ChangeSet:
        with self.open() as changes:
            changes.delete(self.stored(contact))
        return changes.change_set

    def stored(self, contact) -> Contact:
        return Contact.objects.get(pk=contact.pk)

    def creation_of(self, contact) -> ChangeSet:
        return ChangeSet.objects.get(
            changes__record_id=contact.pk, changes__verb="create"
        )

    def everything(self):
        """All that an undo could change."""
        return (
            list(Contact.objects.order_by("pk").values()),
            list(Change.objects.order_by("pk").values()),
            list(ChangeSet.objects.order_by("pk").values()),
        )

    def post_undo(self, change_set, client=None, query="", **body):
        return (client or self.alice).post(
            f"/api/change-sets/{change_set.pk}/undo/{query}", body
        )

    def assertUndone(self, response, records: int) -> ChangeSet:
        """All of it was undone; gives the change set that did it."""
        self.assertEqual(response.status_code, 200, response.content)
        answer = response.json()
        self.assertEqual((answer["undone"], answer["conflicts"]), (records, []))
        return ChangeSet.objects.get(pk=answer["change_set"])

    def assertRefused(self, response, *conflicts):
        """409 with these (field, code) pairs."""
        self.assertEqual(response.status_code, 409, response.content)
        problem = response.json()
        self.assertEqual(problem["code"], "undo_conflict")
        found = [(c["field"], c["code"]) for c in problem["conflicts"]]
        self.assertEqual(found, list(conflicts))
        return problem


class UndoTests(UndoTestCase):
    def test_an_edit_goes_back_field_by_field(self):
        contact = self.make(first_name="Ada", phone="(415) 555-2671")
        edit = self.edit(contact, first_name="Augusta", phone="", tags=["vip"])
        made = self.assertUndone(self.post_undo(edit), 1)
        stored = self.stored(contact)
        self.assertEqual(
            (stored.first_name, stored.phone, stored.phone_e164, stored.tags),
            ("Ada", "(415) 555-2671", "+14155552671", []),
        )
        self.assertEqual(stored.version, 3)
        self.assertEqual(
            (made.source, made.undoes, made.actor), ("undo", edit, self.cast.alice)
        )

    def test_a_creation_is_undone_by_deleting(self):
        contact = self.make()
        self.assertUndone(self.post_undo(self.creation_of(contact)), 1)
        self.assertIsNotNone(self.stored(contact).deleted_at)
        verbs = Change.objects.filter(record_id=contact.pk).values_list(
            "verb", flat=True
        )
        self.assertEqual(list(verbs), ["create", "delete"])

    def test_a_deletion_is_undone_by_restoring(self):
        contact = self.make()
        self.assertUndone(self.post_undo(self.delete(contact)), 1)
        self.assertIsNone(self.stored(contact).deleted_at)
        last = Change.objects.filter(record_id=contact.pk).last()
        self.assertEqual(last.verb, "restore")

    def test_a_restoration_is_undone_by_deleting_again(self):
        contact = self.make()
        self.delete(contact)
        moment = self.stored(contact).deleted_at
        with self.open() as changes:
            changes.restore(self.stored(contact))
        self.assertUndone(self.post_undo(changes.change_set), 1)
        self.assertEqual(self.stored(contact).deleted_at, moment)

    def test_several_changes_of_one_record_go_back_to_before_the_first(self):
        contact = self.make(job_title="Clerk")
        with self.open() as changes:
            changes.save(contact, job_title="Countess")
            changes.save(contact, job_title="Mathematician", city="London")
            changes.delete(contact)
        self.assertUndone(self.post_undo(changes.change_set), 1)
        stored = self.stored(contact)
        self.assertEqual(
            (stored.job_title, stored.city, stored.deleted_at), ("Clerk", "", None)
        )

    def test_a_set_that_made_and_changed_a_record_removes_it(self):
        with self.open() as changes:
            contact = Contact()
            changes.save(contact, last_name="King")
            changes.save(contact, job_title="Countess")
        self.assertUndone(self.post_undo(changes.change_set), 1)
        self.assertIsNotNone(self.stored(contact).deleted_at)

    def test_many_records_are_one_undo(self):
        contacts = [self.make(last_name=f"King {n}") for n in range(3)]
        with self.open() as changes:
            for contact in contacts:
                changes.save(contact, city="London")
        made = self.assertUndone(self.post_undo(changes.change_set), 3)
        self.assertEqual(made.changes.count(), 3)
        self.assertEqual(set(Contact.objects.values_list("city", flat=True)), {""})

    def test_a_dry_run_tells_and_changes_nothing(self):
        contact = self.make()
        edit = self.edit(contact, job_title="Countess")
        before = self.everything()
        response = self.post_undo(edit, query="?dry_run=true")
        self.assertEqual(
            response.json(), {"change_set": None, "undone": 1, "conflicts": []}
        )
        self.assertEqual(response["Dry-Run"], "true")
        self.assertEqual(self.everything(), before)

    def test_what_is_already_as_it_was_is_left(self):
        contact = self.make()
        edit = self.edit(contact, job_title="Countess", city="London")
        self.edit(contact, job_title="")
        self.assertUndone(self.post_undo(edit), 1)
        stored = self.stored(contact)
        self.assertEqual((stored.job_title, stored.city), ("", ""))

    def test_the_reason_of_an_undo_is_kept(self):
        edit = self.edit(self.make(), job_title="Countess")
        response = self.alice.post(
            f"/api/change-sets/{edit.pk}/undo/",
            HTTP_X_CHANGE_REASON="Wrong person",
            HTTP_X_REQUEST_ID="r-1",
        )
        made = self.assertUndone(response, 1)
        self.assertEqual((made.reason, made.request_id), ("Wrong person", "r-1"))

    # What was changed since

    def test_a_field_edited_since_is_reported_and_nothing_is_changed(self):
        contact = self.make()
        edit = self.edit(contact, job_title="Countess", city="London")
        self.edit(contact, job_title="Mathematician")
        before = self.everything()
        for query in ("", "?dry_run=true"):
            with self.subTest(query):
                problem = self.assertRefused(
                    self.post_undo(edit, query=query), ("job_title", "edited_since")
                )
                [conflict] = problem["conflicts"]
                self.assertEqual(conflict["record_type"], "contact")
                self.assertEqual(conflict["record_id"], str(contact.pk))
                self.assertEqual(self.everything(), before)

    def test_a_partial_undo_takes_back_the_rest(self):
        contact = self.make()
        edit = self.edit(contact, job_title="Countess", city="London")
        self.edit(contact, job_title="Mathematician")
        response = self.post_undo(edit, partial=True)
        answer = response.json()
        self.assertEqual((response.status_code, answer["undone"]), (200, 1))
        self.assertEqual(
            [(c["field"], c["code"]) for c in answer["conflicts"]],
            [("job_title", "edited_since")],
        )
        stored = self.stored(contact)
        self.assertEqual((stored.job_title, stored.city), ("Mathematician", ""))

    def test_a_partial_dry_run_tells_both_and_changes_nothing(self):
        contact, other = self.make(), self.make(last_name="Boole")
        with self.open() as changes:
            changes.save(contact, city="London")
            changes.save(other, city="London")
        self.edit(other, city="Cork")
        before = self.everything()
        answer = self.post_undo(
            changes.change_set, query="?dry_run=true", partial=True
        ).json()
        self.assertEqual((answer["change_set"], answer["undone"]), (None, 1))
        self.assertEqual([c["record_id"] for c in answer["conflicts"]], [str(other.pk)])
        self.assertEqual(self.everything(), before)

    def test_a_partial_undo_of_nothing_makes_no_change_set(self):
        contact = self.make()
        edit = self.edit(contact, job_title="Countess")
        self.edit(contact, job_title="Mathematician")
        before = self.everything()
        answer = self.post_undo(edit, partial=True).json()
        self.assertEqual((answer["change_set"], answer["undone"]), (None, 0))
        self.assertEqual(self.everything(), before)

    def test_a_created_record_that_was_edited_since_is_kept(self):
        contact = self.make()
        self.edit(contact, job_title="Countess")
        before = self.everything()
        creation = self.creation_of(contact)
        self.assertRefused(self.post_undo(creation), ("job_title", "edited_since"))
        self.assertEqual(self.everything(), before)

    def test_a_created_record_whose_edit_was_undone_is_removed(self):
        contact = self.make()
        edit = self.edit(contact, job_title="Countess")
        self.assertUndone(self.post_undo(edit), 1)
        self.assertUndone(self.post_undo(self.creation_of(contact)), 1)
        self.assertIsNotNone(self.stored(contact).deleted_at)

    def test_a_created_record_that_is_deleted_already_is_left(self):
        contact = self.make()
        self.delete(contact)
        before = self.everything()
        answer = self.post_undo(self.creation_of(contact)).json()
        self.assertEqual(answer, {"change_set": None, "undone": 0, "conflicts": []})
        self.assertEqual(self.everything(), before)

    def test_an_edit_of_a_record_deleted_since_is_reported(self):
        contact = self.make()
        edit = self.edit(contact, job_title="Countess")
        self.delete(contact)
        before = self.everything()
        self.assertRefused(self.post_undo(edit), (None, "deleted_since"))
        self.assertEqual(self.everything(), before)

    def test_a_unique_value_taken_meanwhile_is_reported(self):
        contact = self.make(email="ada@example.com")
        deletion = self.delete(contact)
        self.make(last_name="Boole", email="ada@example.com")
        before = self.everything()
        self.assertRefused(self.post_undo(deletion), (None, "unique"))
        self.assertEqual(self.everything(), before)

    def test_a_unique_value_taken_meanwhile_stops_only_its_record(self):
        contacts = [self.make(email=f"ada{n}@example.com") for n in range(3)]
        with self.open() as changes:
            for contact in contacts:
                changes.delete(contact)
        self.make(last_name="Boole", email="ada1@example.com")
        answer = self.post_undo(changes.change_set, partial=True).json()
        self.assertEqual(answer["undone"], 2)
        self.assertEqual(
            [(c["record_id"], c["code"]) for c in answer["conflicts"]],
            [(str(contacts[1].pk), "unique")],
        )
        live = [self.stored(c).deleted_at is None for c in contacts]
        self.assertEqual(live, [True, False, True])
        made = ChangeSet.objects.get(pk=answer["change_set"])
        self.assertEqual(made.changes.count(), 2)
        self.assertEqual({self.stored(contacts[0]).version}, {3})

    # Redo

    def test_undo_of_undo_is_redo(self):
        contact = self.make()
        edit = self.edit(contact, job_title="Countess")
        undone = self.assertUndone(self.post_undo(edit), 1)
        self.assertEqual(self.stored(contact).job_title, "")
        redone = self.assertUndone(self.post_undo(undone), 1)
        self.assertEqual(self.stored(contact).job_title, "Countess")
        self.assertEqual(redone.undoes, undone)
        again = self.assertUndone(self.post_undo(edit), 1)
        self.assertEqual(self.stored(contact).job_title, "")
        self.assertEqual(again.undoes, edit)

    def test_undo_of_the_undo_of_a_creation_brings_the_record_back(self):
        contact = self.make(tags=["vip"])
        undone = self.assertUndone(self.post_undo(self.creation_of(contact)), 1)
        self.assertUndone(self.post_undo(undone), 1)
        stored = self.stored(contact)
        self.assertEqual((stored.deleted_at, stored.tags), (None, ["vip"]))

    def test_derived_values_follow_what_they_are_derived_from(self):
        contact = self.make()
        phone = self.edit(contact, phone="(415) 555-2671")
        self.edit(contact, country="DE")
        self.assertUndone(self.post_undo(phone), 1)
        stored = self.stored(contact)
        self.assertEqual((stored.phone, stored.phone_e164), ("", ""))
        self.assertEqual(stored.country, "DE")

    def test_what_would_break_a_rule_is_left_and_says_which(self):
        contact = self.make(last_name="", email="ada@example.com")
        named = self.edit(contact, last_name="King")
        self.edit(contact, email="")
        response = self.post_undo(named)
        (conflict,) = response.json()["conflicts"]
        self.assertEqual((response.status_code, conflict["code"]), (409, "invalid"))
        self.assertIn("last name", conflict["detail"])
        self.assertEqual(self.stored(contact).last_name, "King")

    def test_what_a_partial_undo_left_can_be_undone_later(self):
        contact = self.make()
        edit = self.edit(contact, job_title="Countess", city="London")
        self.edit(contact, city="Paris")
        self.assertEqual(self.post_undo(edit, partial=True).json()["undone"], 1)
        self.assertEqual(self.stored(contact).city, "Paris")
        self.edit(contact, city="London")
        self.assertUndone(self.post_undo(edit), 1)
        self.assertEqual(self.stored(contact).city, "")

    def test_what_is_undone_is_not_undone_again(self):
        contact = self.make()
        edit = self.edit(contact, job_title="Countess")
        self.post_undo(edit)
        before = self.everything()
        response = self.post_undo(edit)
        self.assertEqual(
            (response.status_code, response.json()["code"]), (409, "already_undone")
        )
        self.assertEqual(self.everything(), before)

    # Who may

    def test_the_change_sets_of_others_are_not_found(self):
        contact = self.make()
        edit = self.edit(contact, job_title="Countess")
        before = self.everything()
        missing = self.post_undo(Change(pk="0197e6b0-0000-7000-8000-000000000000"))
        for user in (self.cast.stranger, self.cast.carol):
            with self.subTest(user):
                response = self.post_undo(edit, client_of(user))
                self.assertEqual(response.status_code, 404)
                self.assertEqual(response.content, missing.content)
                shown = client_of(user).get(f"/api/change-sets/{edit.pk}/")
                self.assertEqual(shown.content, missing.content)
                listed = client_of(user).get("/api/change-sets/").json()
                self.assertNotIn(str(edit.pk), [c["id"] for c in listed["results"]])
        self.assertEqual(self.everything(), before)

    def test_one_serializer_lists_all_change_sets_of_a_page(self):
        for name in ("King", "Boole", "Hopper"):
            self.make(last_name=name)
        fields = ChangeSetSerializer.get_fields
        with mock.patch.object(
            ChangeSetSerializer, "get_fields", autospec=True
        ) as made:
            made.side_effect = fields
            listed = self.alice.get("/api/change-sets/").json()["results"]
        self.assertGreaterEqual(len(listed), 3)
        self.assertEqual(made.call_count, 1)

    def test_whoever_sees_a_change_set_but_may_not_edit_undoes_nothing(self):
        contact = self.make()
        edit = self.edit(contact, job_title="Countess")
        creation = self.creation_of(self.make(last_name="Boole"))
        before = self.everything()
        for change_set in (edit, creation):
            response = self.post_undo(change_set, client_of(self.cast.reader))
            with self.subTest(change_set.pk):
                self.assertRefused(response, (None, "permission_denied"))
                self.assertEqual(self.everything(), before)

    def test_of_a_record_that_is_not_seen_nothing_more_is_said(self):
        """Not even which of its fields somebody changed since."""
        role = make_role(
            self.cast.organization, "auditor", OWN, changeset={Verb.VIEW: Scope.ALL}
        )
        auditor = client_of(make_user(self.cast.organization, "auditor", role))
        contact = self.make()
        edit = self.edit(contact, job_title="Countess")
        self.edit(contact, job_title="Lady")
        before = self.everything()
        response = self.post_undo(edit, auditor)
        self.assertRefused(response, (None, "permission_denied"))
        self.assertEqual(self.everything(), before)

    def test_who_may_edit_but_not_see_a_record_undoes_nothing(self):
        rights = {**OWN, Verb.EDIT: Scope.ALL}
        role = make_role(
            self.cast.organization, "odd", rights, changeset={Verb.VIEW: Scope.ALL}
        )
        odd = client_of(make_user(self.cast.organization, "odd", role))
        edit = self.edit(self.make(), job_title="Countess")
        before = self.everything()
        self.assertRefused(self.post_undo(edit, odd), (None, "permission_denied"))
        self.assertEqual(self.everything(), before)

    def test_a_manager_undoes_what_others_did(self):
        contact = self.make()
        edit = self.edit(contact, job_title="Countess")
        made = self.assertUndone(self.post_undo(edit, client_of(self.cast.manager)), 1)
        self.assertEqual(made.actor, self.cast.manager)
        self.assertEqual(self.stored(contact).job_title, "")

    def test_a_record_given_away_is_not_ones_own_to_undo_any_more(self):
        contact = self.make()
        edit = self.edit(contact, job_title="Countess")
        self.edit(contact, self.cast.manager, owner=self.cast.stranger)
        before = self.everything()
        self.assertRefused(self.post_undo(edit), (None, "permission_denied"))
        self.assertEqual(self.everything(), before)

    def test_what_the_system_did_can_be_undone_by_a_manager(self):
        with system_changes(self.cast.organization) as changes:
            contact = Contact()
            changes.save(contact, last_name="King")
        self.assertUndone(
            self.post_undo(changes.change_set, client_of(self.cast.manager)), 1
        )
        self.assertIsNotNone(self.stored(contact).deleted_at)

    def test_what_is_never_deleted_is_not_by_an_undo_either(self):
        here = self.cast.organization
        role = make_role(here, "planner", ALL, team={Verb.VIEW: Scope.ALL})
        planner = client_of(make_user(here, "planner", role))
        for record, code in (
            (self.cast.team, "not_deletable"),
            (self.cast.bob, "permission_denied"),
        ):
            with self.subTest(code):
                creation = ChangeSet.objects.get(
                    changes__record_id=record.pk, changes__verb="create"
                )
                response = self.post_undo(creation, planner)
                self.assertRefused(response, (None, code))
        self.cast.bob.refresh_from_db()
        self.assertTrue(self.cast.bob.is_active)

    # Cost

    def test_many_records_take_the_queries_of_few(self):
        here = self.cast.organization
        role = make_role(here, "lead", dict.fromkeys(Verb.values, Scope.TEAM))
        lead = make_user(here, "lead", role, self.cast.team)
        counts = []
        for total in (2, 40):
            contacts = [self.make(last_name=f"King {n}") for n in range(total)]
            with self.open(lead) as changes:
                for contact in contacts:
                    changes.save(contact, city="London", owner=self.cast.bob)
            client = client_of(lead)
            with CaptureQueriesContext(connection) as queries:
                self.assertUndone(self.post_undo(changes.change_set, client), total)
            # SQLite takes wide rows in several statements.
            reads = [q for q in queries if q["sql"].startswith("SELECT")]
            counts.append(len(reads))
        self.assertEqual(counts[0], counts[1])

    # Reading

    def test_a_change_set_tells_what_it_did_and_what_undid_it(self):
        contact = self.make()
        edit = self.edit(contact, job_title="Countess")
        made = self.assertUndone(self.post_undo(edit), 1)
        shown = self.alice.get(f"/api/change-sets/{edit.pk}/").json()
        self.assertEqual(
            shown["changes"], [{"record_type": "contact", "verb": "update", "count": 1}]
        )
        self.assertEqual(shown["undone_by"], [str(made.pk)])
        self.assertEqual(shown["actor"]["email"], self.cast.alice.email)
        listed = self.alice.get("/api/change-sets/", {"source": "undo"}).json()
        self.assertEqual([c["id"] for c in listed["results"]], [str(made.pk)])
        self.assertEqual(listed["results"][0]["undoes"], str(edit.pk))


class LargeUndoTests(UndoTestCase):
    """Sets of more changes than are undone at once; here two, in batches of two."""

    COUNT = 5

    def setUp(self):
        super().setUp()
        for name, value in (("AT_ONCE", 2), ("BATCH_RECORDS", 2)):
            patch = mock.patch.object(undo, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        # The default of a parameter is bound where the function is made.
        defaults = mock.patch.object(undo.undo_batch, "__defaults__", (None, 2))
        defaults.start()
        self.addCleanup(defaults.stop)
        self.contacts = [
            self.make(last_name=f"King {n}", email=f"k{n}@example.com")
            for n in range(self.COUNT)
        ]
        with self.open() as changes:
            for contact in self.contacts:
                changes.save(contact, city="London")
        self.large = changes.change_set

    def cities(self):
        return [self.stored(contact).city for contact in self.contacts]

    def submit(self, client=None, query="", **body) -> Job:
        response = self.post_undo(self.large, client, query, **body)
        self.assertEqual(response.status_code, 202, response.content)
        job = Job.objects.get(pk=response.json()["id"])
        self.assertEqual(response["Location"], f"http://testserver/api/jobs/{job.pk}/")
        self.assertEqual((job.kind, job.status), ("undo", "queued"))
        return job

    def run_job(self, job) -> dict:
        self.assertIs(jobs.run(job.pk), False)
        return self.alice.get(f"/api/jobs/{job.pk}/").json()

    def test_a_large_set_is_undone_by_a_job(self):
        job = self.submit()
        self.assertEqual(self.cities(), ["London"] * self.COUNT)
        done = self.run_job(job)
        self.assertEqual((done["status"], done["total"], done["done"]), ("done", 5, 5))
        self.assertEqual(done["counts"], {"undone": 5, "conflicts": 0})
        self.assertEqual(self.cities(), [""] * self.COUNT)
        made = ChangeSet.objects.get(pk=done["change_set"])
        self.assertEqual((made.undoes, made.source), (self.large, "undo"))
        self.assertEqual(made.changes.count(), 5)
        self.assertEqual({self.stored(c).version for c in self.contacts}, {3})

    def test_a_conflict_anywhere_leaves_all_of_it_and_the_job_failed(self):
        self.edit(self.contacts[4], city="Cork")
        job = self.submit()
        before = self.everything()
        failed = self.run_job(job)
        self.assertEqual(failed["status"], "failed")
        self.assertEqual(failed["error"]["code"], "undo_conflict")
        self.assertIsNone(failed["change_set"])
        self.assertEqual(self.everything(), before)
        errors = self.alice.get(f"/api/jobs/{job.pk}/errors/").json()["results"]
        self.assertEqual(
            [(e["code"], e["column"], e["row"]["id"]) for e in errors],
            [("edited_since", "city", str(self.contacts[4].pk))],
        )

    def test_a_partial_undo_takes_back_the_rest(self):
        self.edit(self.contacts[1], city="Cork")
        done = self.run_job(self.submit(partial=True))
        self.assertEqual(done["status"], "done")
        self.assertEqual(done["counts"], {"undone": 4, "conflicts": 1})
        self.assertEqual(self.cities(), ["", "Cork", "", "", ""])

    def test_a_dry_run_tells_and_changes_nothing(self):
        self.edit(self.contacts[1], city="Cork")
        job = self.submit(query="?dry_run=true", partial=True)
        before = self.everything()
        done = self.run_job(job)
        self.assertEqual(done["status"], "done")
        self.assertEqual(done["counts"], {"undone": 4, "conflicts": 1})
        self.assertIsNone(done["change_set"])
        self.assertEqual(self.everything(), before)

    def test_while_it_runs_a_second_undo_is_refused(self):
        self.submit()
        response = self.post_undo(self.large)
        self.assertEqual(
            (response.status_code, response.json()["code"]), (409, "running")
        )
        self.assertEqual(Job.objects.count(), 1)

    def test_a_large_undo_is_undone_by_a_job_too(self):
        undone = self.run_job(self.submit())
        made = ChangeSet.objects.get(pk=undone["change_set"])
        response = self.post_undo(made)
        self.assertEqual(response.status_code, 202)
        self.run_job(Job.objects.get(pk=response.json()["id"]))
        self.assertEqual(self.cities(), ["London"] * self.COUNT)

    def test_a_large_creation_is_undone_by_a_job(self):
        with self.open() as changes:
            changes.bulk_create(
                Contact,
                [Contact(last_name="x", owner=self.cast.alice) for _ in range(5)],
            )
        self.large = changes.change_set
        done = self.run_job(self.submit())
        self.assertEqual(done["counts"], {"undone": 5, "conflicts": 0})
        self.assertEqual(Contact.objects.live().filter(last_name="x").count(), 0)

    def test_rights_count_as_they_are_when_it_runs(self):
        job = self.submit(client_of(self.cast.manager))
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.manager, role=self.cast.reader.role)
        before = list(Contact.objects.order_by("pk").values())
        self.assertIs(jobs.run(job.pk), False)
        job.refresh_from_db()
        self.assertEqual(job.status, "failed")
        self.assertEqual(
            set(job.errors.values_list("code", flat=True)), {"permission_denied"}
        )
        self.assertEqual(list(Contact.objects.order_by("pk").values()), before)

    def test_a_worker_that_stops_half_way_leaves_the_rest_to_the_next(self):
        job = self.submit()
        while job.done < 2 or job.state["trial"]:
            self.assertIs(jobs.run(job.pk, seconds=-1), True)
            job.refresh_from_db()
        self.assertEqual(self.cities().count(""), 2)
        done = self.run_job(job)
        self.assertEqual(done["counts"], {"undone": 5, "conflicts": 0})
        self.assertEqual(self.cities(), [""] * self.COUNT)
        self.assertEqual({self.stored(c).version for c in self.contacts}, {3})
        self.assertEqual(ChangeSet.objects.filter(undoes=self.large).count(), 1)
