from .base import Contract


class Retries(Contract):
    """Sent twice or late, a request loses nothing."""

    def test_if_match_refuses_a_stale_version_and_shows_the_current_one(self):
        record = self.make()
        etag = self.alice.get(self.address(record))["ETag"]
        fresh = self.alice.patch(self.address(record), self.change, HTTP_IF_MATCH=etag)
        self.assertEqual(fresh.status_code, 200)
        for method in ("patch", "put", "delete"):
            with self.subTest(method):
                response = getattr(self.alice, method)(
                    self.address(record), self.body(), HTTP_IF_MATCH=etag
                )
                problem = self.assertProblem(response, 412, "stale")
                self.assertEqual(problem["current"], fresh.json())
                self.assertEqual(response["ETag"], fresh["ETag"])
        self.assertEqual(self.stored(record).version, 2)

    def test_if_none_match_answers_304_until_something_changes(self):
        record = self.make()
        for address in (self.path, self.address(record)):
            etag = self.alice.get(address)["ETag"]
            same = self.alice.get(address, HTTP_IF_NONE_MATCH=etag)
            self.assertEqual((same.status_code, same.content), (304, b""))
        self.alice.patch(self.address(record), self.change)
        changed = self.alice.get(self.address(record), HTTP_IF_NONE_MATCH=etag)
        self.assertEqual(changed.status_code, 200)

    def test_a_repeated_post_gives_the_first_answer_and_one_record(self):
        key = {"HTTP_IDEMPOTENCY_KEY": "abc"}
        first = self.alice.post(self.path, self.body(), **key)
        again = self.alice.post(self.path, self.body(), **key)
        self.assertEqual((again.status_code, again.content), (201, first.content))
        self.assertEqual(again["ETag"], first["ETag"])
        self.assertEqual(self.model.objects.count(), 1)
        other = self.alice.post(self.path, self.body(n=2), **key)
        self.assertProblem(other, 422, "idempotency_key_reused")
        self.assertEqual(self.model.objects.count(), 1)

    def test_dry_run_answers_and_changes_nothing(self):
        created = self.alice.post(f"{self.path}?dry_run=true", self.body())
        self.assertEqual((created.status_code, created["Dry-Run"]), (201, "true"))
        self.assertFalse(self.model.objects.exists())
        record = self.make()
        address = f"{self.address(record)}?dry_run=true"
        self.assertEqual(self.alice.patch(address, self.change).json()["version"], 2)
        record_type = self.model.record_type()
        self.assertEqual(
            self.alice.delete(address).json(),
            {"deleted": {record_type: 1}, "cleared": {}},
        )
        self.assertEqual(self.alice.get(self.address(record)).json(), record)

    def test_an_id_in_another_system_finds_creates_and_changes_it(self):
        address = f"{self.path}by/hubspot/4711/"
        if not hasattr(self.model, "external_ids"):
            self.assertEqual(self.alice.get(address).status_code, 404)
            return
        created = self.alice.put(address, self.body())
        self.assertEqual(created.status_code, 201, created.content)
        self.assertEqual(created.json()["external_ids"], {"hubspot": "4711"})
        changed = self.alice.put(address, self.change)
        self.assertEqual(changed.status_code, 200, changed.content)
        self.assertEqual(changed.json()["id"], created.json()["id"])
        self.assertEqual(self.alice.get(address).json(), changed.json())
        self.assertEqual(self.model.objects.count(), 1)
