import threading
from unittest import skipUnless

from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase

from contact_management.models import Contact
from core.models import Change, IdempotencyKey
from core.testing import Cast, client_of

PATH = "/api/contacts/"


class KeyTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        self.alice = client_of(self.cast.alice)

    def post(self, body=None, key="k", client=None, path=PATH):
        body = {"last_name": "King"} if body is None else body
        return (client or self.alice).post(path, body, HTTP_IDEMPOTENCY_KEY=key)

    def test_a_repetition_says_that_it_is_one(self):
        first, again = self.post(), self.post()
        self.assertNotIn("Idempotency-Replayed", first)
        self.assertEqual(again["Idempotency-Replayed"], "true")
        self.assertEqual(again["Location"], first["Location"])
        self.assertEqual(again["Content-Type"], first["Content-Type"])

    def test_the_first_answer_comes_again_though_the_record_changed_since(self):
        first = self.post()
        self.alice.patch(f"{PATH}{first.json()['id']}/", {"last_name": "Boole"})
        again = self.post()
        self.assertEqual((again.status_code, again.content), (201, first.content))
        self.assertEqual(Contact.objects.get().last_name, "Boole")

    def test_a_failed_request_leaves_its_key_free(self):
        failed = self.post({"last_name": "King", "status": "asleep"})
        self.assertEqual(failed.status_code, 400)
        self.assertFalse(IdempotencyKey.objects.exists())
        self.assertEqual(self.post().status_code, 201)
        self.assertEqual(Contact.objects.count(), 1)

    def test_a_conflict_leaves_its_key_free(self):
        body = {"email": "ada@example.com"}
        first = self.post(body, key="a")
        self.assertEqual(self.post(body, key="b").status_code, 409)
        self.assertEqual(IdempotencyKey.objects.get().key, "a")
        self.alice.delete(f"{PATH}{first.json()['id']}/")
        self.assertEqual(self.post(body, key="b").status_code, 201)

    def test_a_refused_request_leaves_its_key_free(self):
        reader = client_of(self.cast.reader)
        self.assertEqual(self.post(client=reader).status_code, 403)
        self.assertFalse(IdempotencyKey.objects.exists())

    def test_a_dry_run_does_not_use_the_key(self):
        tried = self.post(path=f"{PATH}?dry_run=true")
        self.assertEqual(tried.status_code, 201)
        self.assertFalse(IdempotencyKey.objects.exists())
        self.assertEqual(self.post().status_code, 201)
        self.assertEqual(Contact.objects.count(), 1)

    def test_the_keys_of_others_are_others(self):
        first = self.post()
        other = self.post(client=client_of(self.cast.stranger))
        self.assertEqual(other.status_code, 201)
        self.assertNotEqual(other.json()["id"], first.json()["id"])
        self.assertEqual(self.post().content, first.content)
        again = self.post(client=client_of(self.cast.stranger))
        self.assertEqual(again.content, other.content)
        self.assertEqual(Contact.objects.count(), 2)

    def test_a_key_is_bound_to_its_address(self):
        self.post()
        for path in ("/api/tags/", f"{PATH}?fields=id"):
            with self.subTest(path):
                answer = self.post(path=path)
                self.assertEqual(answer.status_code, 422)
                self.assertEqual(answer.json()["code"], "idempotency_key_reused")
        self.assertEqual(Contact.objects.count(), 1)

    def test_a_key_is_bound_to_its_body_and_not_to_its_spelling(self):
        headers = {
            "content_type": "application/json",
            "HTTP_IDEMPOTENCY_KEY": "k",
        }
        first = self.alice.generic("POST", PATH, b'{"last_name":"King"}', **headers)
        again = self.alice.generic(
            "POST", PATH, b'{ "last_name" : "\\u004bing" }', **headers
        )
        self.assertEqual((again.status_code, again.content), (201, first.content))
        self.assertEqual(self.post({"last_name": "king"}).status_code, 422)
        self.assertEqual(Contact.objects.count(), 1)

    def test_keys_of_the_longest_kind_work(self):
        key = "!" * 127 + "~" * 128
        first, again = self.post(key=key), self.post(key=key)
        self.assertEqual(again.content, first.content)
        self.assertEqual(Contact.objects.count(), 1)

    def test_restore_and_undo_take_keys_too(self):
        record = self.post(key="a").json()
        address = f"{PATH}{record['id']}/"
        self.alice.delete(address)
        first = self.post({}, "b", path=f"{address}restore/")
        again = self.post({}, "b", path=f"{address}restore/")
        self.assertEqual((first.status_code, again.status_code), (200, 200))
        self.assertEqual(again.content, first.content)
        change = Change.objects.latest("pk")
        path = f"/api/change-sets/{change.change_set_id}/undo/"
        first, again = self.post({}, "c", path=path), self.post({}, "c", path=path)
        self.assertEqual((first.status_code, again.status_code), (200, 200))
        self.assertEqual(again.content, first.content)
        verbs = Change.objects.filter(record_id=record["id"]).values_list("verb")
        self.assertEqual(
            [verb for (verb,) in verbs], ["create", "delete", "restore", "delete"]
        )

    def test_uploads_are_compared_by_their_content_and_fields(self):
        def post(text="email\na@example.com\n", name="x.csv", **fields):
            body = {
                "file": SimpleUploadedFile(name, text.encode()),
                "record_type": "contact",
                "dry_run": "true",
                **fields,
            }
            return self.alice.post(
                "/api/imports/", body, format="multipart", HTTP_IDEMPOTENCY_KEY="k"
            )

        first = post()
        self.assertEqual(post().content, first.content)
        for other in (
            {"text": "email\nb@example.com\n"},
            {"name": "y.csv"},
            {"mode": "upsert"},
        ):
            with self.subTest(other):
                self.assertEqual(post(**other).status_code, 422)

    def test_of_a_field_that_comes_several_times_each_value_counts(self):
        def post(*tags):
            file = SimpleUploadedFile("x.csv", b"email\na@example.com\n")
            body = {"file": file, "record_type": "contact", "tags": tags}
            return self.alice.post(
                "/api/imports/", body, format="multipart", HTTP_IDEMPOTENCY_KEY="k"
            )

        first = post("vip", "press")
        self.assertEqual(first.status_code, 202, first.content)
        self.assertEqual(post("vip", "press").content, first.content)
        self.assertEqual(post("guest", "press").status_code, 422)


@skipUnless(
    connection.vendor == "postgresql", "SQLite lets one connection write at a time"
)
class ConcurrencyTests(TransactionTestCase):
    def test_of_eight_at_once_one_works_and_all_get_its_answer(self):
        cast = Cast()
        answers = []
        start = threading.Barrier(8)

        def post():
            try:
                client = client_of(cast.alice)
                start.wait()
                answers.append(
                    client.post(PATH, {"last_name": "King"}, HTTP_IDEMPOTENCY_KEY="k")
                )
            finally:
                connection.close()

        threads = [threading.Thread(target=post) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([a.status_code for a in answers], [201] * 8)
        self.assertEqual(len({a.content for a in answers}), 1)
        self.assertEqual(sum("Idempotency-Replayed" not in a for a in answers), 1)
        self.assertEqual(Contact.objects.count(), 1)
        self.assertEqual(IdempotencyKey.objects.count(), 1)

    def test_of_two_bodies_with_one_key_only_one_works(self):
        cast = Cast()
        answers = []
        start = threading.Barrier(8)

        def post(n):
            try:
                client = client_of(cast.alice)
                start.wait()
                body = {"last_name": f"King {n % 2}"}
                answers.append(client.post(PATH, body, HTTP_IDEMPOTENCY_KEY="k"))
            finally:
                connection.close()

        threads = [threading.Thread(target=post, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(a.status_code for a in answers), [201] * 4 + [422] * 4)
        self.assertEqual(Contact.objects.count(), 1)

    def test_while_the_first_takes_long_the_second_is_told_to_wait(self):
        """The second waits for the lock no longer than a statement may."""
        cast = Cast()
        held, done = threading.Event(), threading.Event()

        def hold():
            try:
                with transaction.atomic():
                    IdempotencyKey.objects.create(
                        user=cast.alice, key="k", fingerprint="of the first"
                    )
                    held.set()
                    done.wait()
                    transaction.set_rollback(True)
            finally:
                connection.close()

        first = threading.Thread(target=hold)
        first.start()
        held.wait()
        try:
            answer = client_of(cast.alice).post(
                PATH, {"last_name": "King"}, HTTP_IDEMPOTENCY_KEY="k"
            )
        finally:
            done.set()
            first.join()
        self.assertEqual(
            (answer.status_code, answer.json()["code"]), (409, "in_flight")
        )
        self.assertEqual(answer["Retry-After"], "2")
        self.assertFalse(Contact.objects.exists())
        again = client_of(cast.alice).post(
            PATH, {"last_name": "King"}, HTTP_IDEMPOTENCY_KEY="k"
        )
        self.assertEqual(again.status_code, 201)
