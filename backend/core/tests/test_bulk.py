from unittest import mock

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from contact_management.models import Contact
from core import jobs
from core.bulk import job as bulk_job
from core.models import Change, ChangeSet, Job
from core.models.journal import Changes
from core.testing import ALL, Cast, client_of, make_role, make_user, system_changes

PATH = "/api/contacts/"
BULK = f"{PATH}bulk/"


class BulkTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        cls.contacts = cls.make(cls.cast.alice, "King", 5)

    def setUp(self):
        self.alice = client_of(self.cast.alice)
        self.manager = client_of(self.cast.manager)
        chunks = mock.patch.object(bulk_job, "CHUNK_RECORDS", 2)
        chunks.start()
        self.addCleanup(chunks.stop)

    @classmethod
    def make(cls, owner, name, count, **fields) -> list[Contact]:
        contacts = [
            Contact(owner=owner, last_name=f"{name} {n}", **fields)
            for n in range(count)
        ]
        with system_changes(cls.cast.organization) as changes:
            changes.bulk_create(Contact, contacts)
        return contacts

    def submit(self, client=None, dry_run=False, **body) -> Job:
        response = (client or self.alice).post(BULK, {**body, "dry_run": dry_run})
        self.assertEqual(response.status_code, 202, response.content)
        self.assertEqual(
            response["Location"], f"http://testserver/api/jobs/{response.json()['id']}/"
        )
        return Job.objects.get(pk=response.json()["id"])

    def run_job(self, job) -> Job:
        jobs.run(job.pk)
        job.refresh_from_db()
        return job

    def done(self, client=None, **body) -> dict:
        job = self.run_job(self.submit(client, **body))
        self.assertEqual(job.status, "done", job.error)
        return {name: count for name, count in job.counts.items() if count}

    def cities(self):
        contacts = Contact.objects.order_by("pk")
        return list(contacts.values_list("city", flat=True))


class SelectionTests(BulkTestCase):
    def test_a_change_that_makes_records_match_no_more_misses_none(self):
        counts = self.done(
            self.manager,
            filter={"owner": str(self.cast.alice.pk)},
            change={"owner": str(self.cast.bob.pk)},
        )
        self.assertEqual(counts, {"matched": 5, "changed": 5})
        self.assertEqual(Contact.objects.filter(owner=self.cast.bob).count(), 5)

    def test_records_made_after_the_start_are_left_out(self):
        job = self.submit(filter={}, change={"set": {"city": "London"}})
        jobs.run(job.pk, seconds=-1)  # one chunk
        self.make(self.cast.alice, "Late", 3)
        self.run_job(job)
        self.assertEqual(self.cities(), ["London"] * 5 + [""] * 3)
        self.assertEqual((job.status, job.done, job.total), ("done", 5, 5))

    def test_a_record_that_matches_no_more_when_its_chunk_comes_is_left(self):
        job = self.submit(
            filter={"status": "active"}, change={"set": {"state": "England"}}
        )
        jobs.run(job.pk, seconds=-1)
        with system_changes(self.cast.organization) as changes:
            changes.save(self.contacts[4], status="inactive")
        self.run_job(job)
        self.assertEqual((job.counts["matched"], job.done), (4, 5))
        self.contacts[4].refresh_from_db()
        self.assertEqual(self.contacts[4].state, "")

    def test_search_and_typed_filters_select_as_the_list_does(self):
        self.make(self.cast.alice, "Queen", 3, tags=["vip"])
        first = str(self.contacts[0].pk)
        for wanted, query, count in (
            ({"search": "queen"}, "search=queen", 3),
            ({"search": "queen 2", "tags": "vip"}, "search=queen 2&tags=vip", 1),
            (
                {"last_name__in": ["King 1", "Queen 1"]},
                "last_name__in=King 1,Queen 1",
                2,
            ),
            ({"id__in": [first]}, f"id__in={first}", 1),
            ({"status": "inactive"}, "status=inactive", 0),
            (
                {"updated_at__gt": "2020-01-01T00:00:00Z", "owner__isnull": False},
                "updated_at__gt=2020-01-01T00:00:00Z&owner__isnull=false",
                8,
            ),
            ({"owner": "me"}, "owner=me", 8),
        ):
            with (
                self.subTest(query),
                mock.patch.object(bulk_job, "CHUNK_RECORDS", 100),
            ):
                listed = self.alice.get(f"{PATH}?{query}").json()
                body = {"filter": wanted, "change": {"delete": True}, "dry_run": True}
                trial = self.alice.post(BULK, body).json()
                self.assertEqual(
                    (listed["count"], trial["counts"]["matched"]), (count, count)
                )

    def test_ids_are_taken_once_each(self):
        ids = [str(c.pk) for c in self.contacts[:3]]
        counts = self.done(ids=ids + ids, change={"set": {"city": "London"}})
        self.assertEqual(counts, {"matched": 3, "changed": 3})
        self.assertEqual(self.cities(), ["London"] * 3 + [""] * 2)

    def test_more_ids_than_10_000_are_refused(self):
        ids = [str(self.contacts[0].pk)] * 10_001
        response = self.alice.post(BULK, {"ids": ids, "change": {"delete": True}})
        [error] = response.json()["errors"]
        self.assertEqual((error["field"], error["code"]), ("ids", "max_length"))


class ChangeTests(BulkTestCase):
    def test_tags_are_added_and_removed_whatever_their_case(self):
        [tagged] = self.make(self.cast.alice, "Tagged", 1, tags=["VIP", "old", "b"])
        change = {"add_tags": ["vip", " new "], "remove_tags": ["OLD"]}
        counts = self.done(filter={}, change=change)
        self.assertEqual(counts, {"matched": 6, "changed": 6})
        tagged.refresh_from_db()
        self.assertEqual(tagged.tags, ["VIP", "b", "new"])
        self.assertEqual(Contact.objects.first().tags, ["vip", "new"])
        self.assertEqual(
            self.done(filter={}, change=change), {"matched": 6, "unchanged": 6}
        )

    def test_fields_owner_and_tags_change_together(self):
        change = {
            "set": {"city": "London", "tags": ["a"]},
            "owner": str(self.cast.bob.pk),
            "add_tags": ["b"],
        }
        self.done(self.manager, filter={}, change=change)
        contact = Contact.objects.first()
        self.assertEqual(
            (contact.city, contact.owner, contact.tags, contact.version),
            ("London", self.cast.bob, ["a", "b"], 2),
        )

    def test_records_that_cannot_be_so_are_reported_with_their_ids(self):
        self.make(self.cast.alice, "X", 1, company_name="Analytical")
        job = self.submit(filter={}, change={"set": {"last_name": ""}})
        self.run_job(job)
        self.assertEqual(job.counts["failed"], 5)
        self.assertEqual(job.counts["changed"], 1)
        errors = self.alice.get(f"/api/jobs/{job.pk}/errors/").json()["results"]
        self.assertEqual({e["code"] for e in errors}, {"name_required"})
        self.assertEqual(
            [e["row"]["id"] for e in errors], [str(c.pk) for c in self.contacts]
        )

    def test_a_unique_value_goes_to_the_first_and_the_others_are_reported(self):
        with mock.patch.object(bulk_job, "CHUNK_RECORDS", 10):
            job = self.submit(filter={}, change={"set": {"email": "a@example.com"}})
            self.run_job(job)
        self.assertEqual((job.counts["changed"], job.counts["failed"]), (1, 4))
        errors = set(job.errors.values_list("column", "code"))
        self.assertEqual(errors, {("email", "unique")})
        versions = Contact.objects.order_by("pk").values_list("version", flat=True)
        self.assertEqual(list(versions), [2, 1, 1, 1, 1])
        self.assertEqual(Change.objects.filter(change_set=job.change_set).count(), 1)

    def test_a_wrong_tag_is_refused_at_once(self):
        for tags, code in (([""], "blank"), (["x" * 101], "max_length"), ([], "empty")):
            body = {"filter": {}, "change": {"add_tags": tags}}
            response = self.alice.post(BULK, body)
            self.assertEqual(response.status_code, 400, response.content)
            self.assertEqual(response.json()["errors"][0]["code"], code)
        self.assertFalse(Job.objects.exists())

    def test_custom_fields_that_are_no_object_are_refused_at_once(self):
        for value in ("x", [], ["x"], 7, True, None):
            change = {"set": {"custom_fields": value}}
            body = {"ids": [str(self.contacts[0].pk)], "change": change}
            response = self.alice.post(BULK, body, format="json")
            self.assertEqual(response.status_code, 400, response.content)
            field = response.json()["errors"][0]["field"]
            self.assertEqual(field, "change.set.custom_fields")

    def test_a_type_without_tags_has_no_change_of_tags(self):
        body = {"filter": {}, "change": {"add_tags": ["vip"]}}
        response = self.alice.post("/api/tags/bulk/", body)
        [error] = response.json()["errors"]
        self.assertEqual(error["field"], "change.add_tags")
        self.assertEqual(error["code"], "unknown_field")


class FieldRightsTests(BulkTestCase):
    def limited(self, **fields):
        role = make_role(
            self.cast.organization, "limited", ALL, {"contact": fields}, job=ALL
        )
        return client_of(make_user(self.cast.organization, "limited", role))

    def test_a_hidden_field_is_neither_asked_nor_changed(self):
        client = self.limited(hidden=["city", "tags"])
        for body, field, code in (
            ({"filter": {"city": "x"}}, "filter.city", "unknown_parameter"),
            ({"filter": {"tags": "x"}}, "filter.tags", "unknown_parameter"),
            ({"change": {"set": {"city": "x"}}}, "change.set.city", "unknown_field"),
            ({"change": {"add_tags": ["x"]}}, "change.add_tags", "unknown_field"),
        ):
            with self.subTest(field):
                body = {"filter": {}, "change": {"set": {"state": "x"}}, **body}
                response = client.post(BULK, body)
                [error] = response.json()["errors"]
                self.assertEqual((error["field"], error["code"]), (field, code))
        self.assertFalse(Job.objects.exists())

    def test_a_read_only_field_is_left_and_counted(self):
        client = self.limited(read_only=["city"])
        counts = self.done(client, filter={}, change={"set": {"city": "London"}})
        self.assertEqual(counts, {"matched": 5, "refused": 5, "field_read_only": 5})
        self.assertEqual(self.cities(), [""] * 5)

    def test_a_field_that_is_hidden_by_then_stops_the_job(self):
        job = self.submit(self.manager, filter={}, change={"set": {"city": "London"}})
        role = make_role(
            self.cast.organization, "limited", ALL, {"contact": {"hidden": ["city"]}}
        )
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.manager, role=role)
        self.run_job(job)
        self.assertEqual((job.status, job.error["code"]), ("failed", "invalid"))
        self.assertEqual(self.cities(), [""] * 5)


class RunTests(BulkTestCase):
    change = {"set": {"city": "London"}}

    def test_a_worker_that_dies_in_a_chunk_does_nothing_twice(self):
        job = self.submit(filter={}, change=self.change)
        write = Changes.bulk_update
        calls = []

        def dies(changes, model, updates):
            write(changes, model, updates)
            calls.append(len(updates))
            if len(calls) == 2:
                raise RuntimeError("The worker dies.")

        with (
            mock.patch.object(Changes, "bulk_update", dies),
            self.assertLogs("core.jobs", "ERROR"),
        ):
            self.run_job(job)
        self.assertEqual(self.cities(), ["London"] * 2 + [""] * 3)
        self.run_job(job)
        self.assertEqual(job.status, "done")
        self.assertEqual((job.counts["matched"], job.counts["changed"]), (5, 5))
        self.assertEqual(set(Contact.objects.values_list("version", flat=True)), {2})
        self.assertEqual(job.change_set.changes.count(), 5)
        self.assertEqual(ChangeSet.objects.filter(source="bulk").count(), 1)

    def test_a_cancelled_one_keeps_what_it_did_and_can_be_undone(self):
        job = self.submit(filter={}, change=self.change)
        jobs.run(job.pk, seconds=-1)
        self.assertEqual(
            self.alice.post(f"/api/jobs/{job.pk}/cancel/").status_code, 200
        )
        self.run_job(job)
        self.assertEqual(job.status, "cancelled")
        self.assertEqual(self.cities(), ["London"] * 2 + [""] * 3)
        undo = self.alice.post(f"/api/change-sets/{job.change_set_id}/undo/")
        self.assertEqual(undo.json()["undone"], 2)
        self.assertEqual(self.cities(), [""] * 5)

    def test_rights_are_asked_again_for_each_chunk(self):
        job = self.submit(self.manager, filter={}, change=self.change)
        jobs.run(job.pk, seconds=-1)
        rights = {**ALL, "edit": "none"}
        role = make_role(self.cast.organization, "demoted", rights)
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.manager, role=role)
        self.run_job(job)
        self.assertEqual(self.cities(), ["London"] * 2 + [""] * 3)
        counts = {name: count for name, count in job.counts.items() if count}
        self.assertEqual(
            counts,
            {"matched": 5, "changed": 2, "refused": 3, "no_right_to_edit": 3},
        )

    def test_who_may_look_no_more_stops_the_job(self):
        job = self.submit(self.manager, filter={}, change=self.change)
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.manager, is_active=False)
        self.run_job(job)
        self.assertEqual(
            (job.status, job.error["code"]), ("failed", "permission_denied")
        )
        self.assertEqual(self.cities(), [""] * 5)

    def test_a_new_owner_who_is_gone_by_then_stops_the_job(self):
        job = self.submit(
            self.manager, filter={}, change={"owner": str(self.cast.bob.pk)}
        )
        job.params["change"]["owner"] = str(self.cast.carol.pk)
        job.save()
        self.run_job(job)
        self.assertEqual((job.status, job.error["code"]), ("failed", "invalid"))
        self.assertFalse(Contact.objects.filter(owner=self.cast.carol).exists())

    def test_a_large_dry_run_is_a_job_that_changes_nothing(self):
        before = Change.objects.count()
        job = self.run_job(self.submit(dry_run=True, filter={}, change=self.change))
        self.assertEqual((job.status, job.counts["changed"]), ("done", 5))
        self.assertIsNone(job.change_set)
        self.assertEqual(self.cities(), [""] * 5)
        self.assertEqual(Change.objects.count(), before)

    def test_a_small_dry_run_answers_at_once_with_its_errors(self):
        body = {"ids": [str(self.contacts[0].pk)], "change": {"set": {"last_name": ""}}}
        answer = self.alice.post(BULK, {**body, "dry_run": True}).json()
        self.assertEqual((answer["status"], answer["total"]), ("done", 1))
        self.assertEqual(answer["counts"]["failed"], 1)
        [error] = answer["errors"]
        self.assertEqual(error["row"]["id"], str(self.contacts[0].pk))
        self.assertFalse(Job.objects.exists())

    def test_the_same_key_starts_one_job(self):
        body = {"filter": {}, "change": self.change}
        first = self.alice.post(BULK, body, HTTP_IDEMPOTENCY_KEY="k")
        again = self.alice.post(BULK, body, HTTP_IDEMPOTENCY_KEY="k")
        self.assertEqual(first.json()["id"], again.json()["id"])
        self.assertEqual(Job.objects.count(), 1)

    def test_the_journal_says_why(self):
        job = self.submit(filter={}, change={**self.change, "add_tags": ["vip"]})
        self.run_job(job)
        self.assertEqual(
            job.change_set.reason, "Bulk change of contacts: city, add_tags"
        )
        self.assertEqual(job.change_set.actor, self.cast.alice)

    def test_a_chunk_takes_the_same_queries_for_few_and_many(self):
        counts = []
        bob = str(self.cast.bob.pk)
        with mock.patch.object(bulk_job, "CHUNK_RECORDS", 1000):
            for more in (0, 20):
                self.make(self.cast.alice, "More", more)
                job = self.submit(
                    self.manager,
                    filter={"owner": str(self.cast.alice.pk)},
                    change={"owner": bob},
                )
                with CaptureQueriesContext(connection) as queries:
                    self.run_job(job)
                counts.append(len(queries))
        self.assertEqual(job.counts["changed"], 20)
        self.assertEqual(counts[0], counts[1])
