from unittest import mock

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from contact_management.models import Contact
from contact_management.views import ContactViewSet
from core.deletion import references_to
from core.exceptions import Conflict
from core.models import Change, ChangeSet, SecurityEvent
from core.testing import Cast, client_of

PATH = "/api/contacts/"
BATCH = f"{PATH}batch/"


class BatchTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        self.alice = client_of(self.cast.alice)

    def make(self, n) -> dict:
        return self.alice.post(PATH, {"last_name": f"King {n}"}).json()

    def names(self):
        return sorted(Contact.objects.live().values_list("last_name", flat=True))

    def refusal(self, body, status=400, **headers):
        response = self.alice.post(BATCH, body, **headers)
        self.assertEqual(response.status_code, status, response.content)
        return response.json()

    def test_each_operation_costs_the_same_few_queries(self):
        # The organization, and the word, are known from then on.
        operation = {"method": "create", "body": {"last_name": "Queen"}}
        self.alice.post(BATCH, {"operations": [operation]})
        referring = {reference.model for reference in references_to(Contact)}
        costs = {"create": 3, "update": 3, "delete": 2 + len(referring)}
        for atomic, savepoint in ((True, 0), (False, 2)):
            for method, cost in costs.items():
                counts = []
                for total in (1, 21):
                    operations = []
                    for n in range(total):
                        operation = {"method": method}
                        if method != "create":
                            operation["id"] = self.make(n)["id"]
                        if method != "delete":
                            operation["body"] = {"last_name": f"Queen {n}"}
                        operations.append(operation)
                    body = {"operations": operations, "atomic": atomic}
                    with CaptureQueriesContext(connection) as queries:
                        response = self.alice.post(BATCH, body)
                    self.assertIn(response.status_code, (200, 207), response.content)
                    counts.append(len(queries))
                with self.subTest(f"{method}, atomic: {atomic}"):
                    # The record, its journal, and the words that it is found by; of a
                    # deletion also a look at each type that could hang on it.
                    self.assertEqual(counts[1] - counts[0], 20 * (cost + savepoint))

    def test_an_operation_sees_what_those_before_it_did(self):
        contact = self.make(1)
        update = {"method": "update", "id": contact["id"]}
        response = self.alice.post(
            BATCH,
            {
                "operations": [
                    {**update, "version": 1, "body": {"city": "London"}},
                    {**update, "version": 2, "body": {"first_name": "Ada"}},
                    {"method": "delete", "id": contact["id"], "version": 3},
                    {**update, "body": {"city": "Paris"}},
                ],
                "atomic": False,
            },
        )
        statuses = [r["status"] for r in response.json()["results"]]
        self.assertEqual(statuses, [200, 200, 204, 404])
        stored = Contact.objects.get(pk=contact["id"])
        self.assertEqual(
            (stored.city, stored.first_name, stored.version), ("London", "Ada", 4)
        )

    def test_what_a_refused_operation_set_in_memory_is_not_written_by_the_next(self):
        contact = self.make(1)
        update = {"method": "update", "id": contact["id"]}
        response = self.alice.post(
            BATCH,
            {
                "operations": [
                    # No name at all is left: the model refuses it after setting it.
                    {**update, "body": {"last_name": "", "city": "London"}},
                    {**update, "body": {"first_name": "Ada"}},
                ],
                "atomic": False,
            },
        )
        refused, done = response.json()["results"]
        self.assertEqual((refused["status"], done["status"]), (400, 200))
        [error] = refused["problem"]["errors"]
        self.assertEqual(
            (error["field"], error["code"]), ("operations.0", "name_required")
        )
        self.assertEqual(refused["problem"]["operation"], 0)
        self.assertEqual(done["body"]["city"], "")
        self.assertEqual(done["body"]["version"], 2)
        [change] = Change.objects.filter(record_id=contact["id"], version=2)
        self.assertEqual(change.after, {"first_name": "Ada"})

    def test_a_unique_value_that_is_taken_names_the_operation_and_the_field(self):
        operations = [
            {"method": "create", "body": {"email": "ada@example.com"}},
            {"method": "create", "body": {"email": "ADA@example.com"}},
            {"method": "create", "body": {"email": "grace@example.com"}},
        ]
        problem = self.refusal({"operations": operations}, 409)
        self.assertEqual((problem["code"], problem["operation"]), ("unique", 1))
        self.assertEqual(problem["errors"][0]["field"], "operations.1.email")
        self.assertFalse(ChangeSet.objects.filter(source="api").exists())
        response = self.alice.post(BATCH, {"operations": operations, "atomic": False})
        statuses = [r["status"] for r in response.json()["results"]]
        self.assertEqual(statuses, [201, 409, 201])
        self.assertEqual(Contact.objects.count(), 2)

    def test_a_refusal_after_a_first_write_takes_the_change_set_with_it(self):
        writes = []

        def write(view, changes, record, values):
            changes.save(record, **values)
            writes.append(record)
            if len(writes) == 1:
                raise Conflict()

        create = {"method": "create", "body": {"last_name": "King"}}
        body = {"operations": [create, create], "atomic": False}
        with mock.patch.object(ContactViewSet, "write", write):
            answer = self.alice.post(BATCH, body).json()
        self.assertEqual([r["status"] for r in answer["results"]], [409, 201])
        change_set = ChangeSet.objects.get(pk=answer["change_set"])
        self.assertEqual(change_set.changes.count(), 1)

    def test_a_refusal_after_the_only_write_leaves_no_change_set_to_tell_of(self):
        def write(view, changes, record, values):
            changes.save(record, **values)
            raise Conflict()

        create = {"method": "create", "body": {"last_name": "King"}}
        body = {"operations": [create], "atomic": False}
        with mock.patch.object(ContactViewSet, "write", write):
            answer = self.alice.post(BATCH, body).json()
        self.assertIsNone(answer["change_set"])
        self.assertFalse(ChangeSet.objects.filter(source="api").exists())

    def test_where_every_operation_is_refused_there_is_no_change_set(self):
        body = {"operations": [{"method": "create", "body": {}}], "atomic": False}
        answer = self.alice.post(BATCH, body).json()
        self.assertIsNone(answer["change_set"])
        self.assertFalse(ChangeSet.objects.filter(source="api").exists())

    def test_the_same_key_gives_the_first_answer_again(self):
        body = {"operations": [{"method": "create", "body": {"last_name": "King"}}]}
        first = self.alice.post(BATCH, body, HTTP_IDEMPOTENCY_KEY="k")
        again = self.alice.post(BATCH, body, HTTP_IDEMPOTENCY_KEY="k")
        self.assertEqual(first.json(), again.json())
        self.assertEqual(self.names(), ["King"])

    def test_a_dry_run_answers_and_changes_nothing(self):
        body = {"operations": [{"method": "create", "body": {"last_name": "King"}}]}
        answer = self.alice.post(f"{BATCH}?dry_run=true", body).json()
        self.assertEqual(answer["results"][0]["body"]["last_name"], "King")
        self.assertIsNone(answer["change_set"])
        self.assertEqual(self.names(), [])

    def test_operations_that_are_none_are_named(self):
        some_id = "01900000-0000-7000-8000-000000000000"
        for operation, field, code in (
            ({}, "method", "required"),
            ({"method": "merge"}, "method", "invalid_choice"),
            ({"method": "create"}, "body", "required"),
            ({"method": "update", "body": {}}, "id", "required"),
            ({"method": "delete"}, "id", "required"),
            ({"method": "delete", "id": "7"}, "id", "invalid"),
            ({"method": "delete", "id": some_id, "body": {}}, "body", "unknown_field"),
            ({"method": "create", "body": [1]}, "body", "not_a_dict"),
            ({"method": "create", "body": {}, "x": 1}, "x", "unknown_field"),
        ):
            with self.subTest(operation):
                problem = self.refusal({"operations": [operation]})
                [error] = problem["errors"]
                self.assertEqual(error["field"], f"operations.0.{field}")
                self.assertEqual(error["code"], code)
        for body, code in (
            ({}, "required"),
            ({"operations": {}}, "not_a_list"),
            ({"operations": []}, "min_length"),
            ({"operations": [{"method": "create", "body": {}}] * 101}, "max_length"),
        ):
            with self.subTest(code):
                [error] = self.refusal(body)["errors"]
                self.assertEqual((error["field"], error["code"]), ("operations", code))

    def test_a_refusal_among_others_is_a_security_event_too(self):
        contact = self.make(1)
        operation = {"method": "delete", "id": contact["id"]}
        body = {"operations": [operation], "atomic": False}
        client_of(self.cast.bob).post(BATCH, body)
        event = SecurityEvent.objects.get(kind=SecurityEvent.Kind.REFUSED)
        self.assertEqual(event.user, self.cast.bob)
