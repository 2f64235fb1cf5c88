import uuid
from unittest import mock

from core.models import Change

from .base import Contract


class ReadingAndWriting(Contract):
    """Create, read, change, replace, delete, restore."""

    def test_what_is_created_is_returned_listed_and_retrieved(self):
        response = self.alice.post(self.path, self.body())
        record = response.json()
        self.assertEqual(response.status_code, 201)
        self.assertEqual(
            response["Location"], f"http://testserver{self.address(record)}"
        )
        self.assertEqual(record["owner"], str(self.cast.alice.pk))
        self.assertEqual(record["version"], 1)
        self.assertEqual(set(record), set(self.view.all_fields))
        self.assertEqual(self.alice.get(self.address(record)).json(), record)
        self.assertEqual(self.alice.get(self.path).json()["results"], [record])

    def test_patch_changes_the_fields_sent_and_counts_the_version(self):
        record = self.make()
        response = self.alice.patch(self.address(record), self.change)
        changed = response.json()
        self.assertEqual(response.status_code, 200, response.content)
        self.assertEqual(changed["version"], 2)
        for name, value in self.change.items():
            self.assertEqual(changed[name], value)
        self.assertEqual(self.alice.get(self.address(record)).json(), changed)

    def test_patch_that_changes_nothing_writes_nothing(self):
        record = self.make()
        response = self.alice.patch(self.address(record), self.body())
        self.assertEqual(response.json(), record)
        self.assertEqual(Change.objects.filter(record_id=record["id"]).count(), 1)

    def test_put_replaces_the_record_and_keeps_its_owner(self):
        record = self.make(custom_fields={"size": 3})
        replaced = self.alice.put(self.address(record), self.body()).json()
        self.assertEqual(replaced["custom_fields"], {})
        self.assertEqual(replaced["owner"], record["owner"])
        self.assertEqual(replaced["version"], 2)

    def test_a_record_that_was_read_can_be_put_back_whole(self):
        record = self.make()
        response = self.alice.put(self.address(record), record)
        self.assertEqual(response.status_code, 200, response.content)
        self.assertEqual(response.json(), record)

    def test_delete_hides_and_restore_brings_back(self):
        record = self.make()
        self.assertEqual(self.alice.delete(self.address(record)).status_code, 204)
        self.assertProblem(self.alice.get(self.address(record)), 404, "not_found")
        self.assertEqual(self.alice.get(self.path).json()["count"], 0)
        deleted = self.alice.get(self.path, {"deleted": "true"}).json()
        self.assertEqual([r["id"] for r in deleted["results"]], [record["id"]])
        restored = self.alice.post(self.address(record, "restore/"))
        self.assertEqual(restored.status_code, 200)
        self.assertEqual(restored.json()["deleted_at"], None)
        self.assertEqual(self.alice.get(self.path).json()["count"], 1)
        again = self.alice.post(self.address(record, "restore/"))
        self.assertProblem(again, 409, "not_deleted")

    def test_fields_and_expand_shape_the_answer(self):
        record = self.make()
        sparse = self.alice.get(self.address(record), {"fields": "id,version"}).json()
        self.assertEqual(sparse, {"id": record["id"], "version": 1})
        expanded = self.alice.get(self.path, {"expand": "owner"}).json()["results"][0]
        self.assertEqual(expanded["owner"]["email"], self.cast.alice.email)

    def test_unknown_fields_and_parameters_are_named_and_refused(self):
        created = self.alice.post(self.path, self.body(surprise=1))
        self.assertProblem(created, 400, "unknown_field", "surprise")
        self.assertFalse(self.model.objects.exists())
        listed = self.alice.get(self.path, {"surprise": "1"})
        self.assertProblem(listed, 400, "unknown_parameter", "surprise")

    def test_what_the_program_keeps_cannot_be_set(self):
        for name, value in {
            "id": str(uuid.uuid4()),
            "version": 7,
            "created_at": "2020-01-01T00:00:00Z",
            "updated_at": "2020-01-01T00:00:00Z",
            "deleted_at": "2020-01-01T00:00:00Z",
        }.items():
            with self.subTest(name):
                response = self.alice.post(self.path, self.body(**{name: value}))
                self.assertProblem(response, 400, "read_only", name)
        response = self.alice.post(self.path, self.body(organization="x"))
        self.assertProblem(response, 400, "unknown_field", "organization")
        self.assertFalse(self.model.objects.exists())


class Cost(Contract):
    """Queries do not grow with the number of records."""

    def test_a_list_takes_the_same_queries_for_few_and_many(self):
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        counts = []
        n = 0
        for total in (2, 20):
            while n < total:
                n += 1
                self.make(n=n)
            with CaptureQueriesContext(
                connection,
            ) as queries:
                listed = self.alice.get(self.path, {"expand": "owner"})
            self.assertEqual(len(listed.json()["results"]), total)
            counts.append(len(queries))
        # The rows and their owners; where another page follows, a count besides.
        self.assertEqual(counts, [2, 2])
        with self.assertNumQueries(3):
            self.alice.get(self.path, {"expand": "owner", "page_size": 3})

    def test_rows_are_counted_up_to_a_limit(self):
        for n in range(4):
            self.make(n=n)
        with mock.patch("core.pagination.MAX_COUNT", 2):
            for page, count, capped in ((1, 2, True), (3, 2, True), (4, 4, False)):
                answer = self.alice.get(self.path, {"page_size": 1, "page": page})
                with self.subTest(page):
                    told = answer.json()
                    self.assertEqual((told["count"], told["capped"]), (count, capped))
                    self.assertEqual(bool(told["next"]), page < 4)
            self.assertEqual(
                self.alice.get(self.path, {"page_size": 1, "page": 5}).status_code, 404
            )

    def test_pages_and_cursors_show_every_record_once(self):
        made = {self.make(n=n)["id"] for n in range(7)}
        for start in ({"page_size": 3}, {"page_size": 3, "cursor": ""}):
            with self.subTest(start):
                seen, url = [], None
                page = self.alice.get(self.path, start).json()
                while True:
                    seen += [record["id"] for record in page["results"]]
                    url = page["next"]
                    if url is None:
                        break
                    page = self.alice.get(url).json()
                self.assertEqual((len(seen), set(seen)), (7, made))
                back = self.alice.get(page["previous"]).json()["results"]
                self.assertEqual([r["id"] for r in back], seen[3:6])
