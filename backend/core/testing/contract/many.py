import uuid

from core.jobs import run
from core.models import Change, Job
from core.testing.people import client_of

from .base import Contract


class ManyAtOnce(Contract):
    """Batch and bulk."""

    def batch(self, *operations, client=None, **more):
        body = {"operations": operations, **more}
        return (client or self.alice).post(f"{self.path}batch/", body)

    def bulk(self, client=None, **body):
        """The job of a bulk change, when it has run."""
        client = client or self.alice
        response = client.post(f"{self.path}bulk/", body)
        self.assertEqual(response.status_code, 202, response.content)
        run(response.json()["id"])
        return client.get(f"/api/jobs/{response.json()['id']}/").json()

    def assertCounts(self, job, **counts):
        """These many records, of each outcome that is named; no others."""
        self.assertEqual(job["status"], "done", job.get("error"))
        found = {name: count for name, count in job["counts"].items() if count}
        self.assertEqual(found, counts)

    def test_a_batch_is_one_change_set_that_undo_takes_back(self):
        kept, gone = self.make(n=1), self.make(n=2)
        response = self.batch(
            {"method": "create", "body": self.body(3)},
            {"method": "update", "id": kept["id"], "version": 1, "body": self.change},
            {"method": "delete", "id": gone["id"], "version": 1},
        )
        answer = response.json()
        self.assertEqual(response.status_code, 200, answer)
        outcomes = [(r["index"], r["status"]) for r in answer["results"]]
        self.assertEqual(outcomes, [(0, 201), (1, 200), (2, 204)])
        made, changed = (answer["results"][n]["body"] for n in (0, 1))
        self.assertEqual(self.alice.get(self.address(made)).json(), made)
        self.assertEqual(self.alice.get(self.address(kept)).json(), changed)
        self.assertProblem(self.alice.get(self.address(gone)), 404, "not_found")

        undo = self.alice.post(f"/api/change-sets/{answer['change_set']}/undo/")
        self.assertEqual(undo.json()["undone"], 3)
        listed = self.alice.get(self.path).json()["results"]
        self.assertEqual({r["id"] for r in listed}, {kept["id"], gone["id"]})

    def test_a_refused_operation_takes_the_whole_batch_back(self):
        kept, gone = self.make(n=1), self.make(n=2)
        # What these refer to is made with them.
        first, second = self.body(3), self.body(4, surprise=1)
        before = Change.objects.count()
        good = [
            {"method": "create", "body": first},
            {"method": "update", "id": kept["id"], "body": self.change},
            {"method": "delete", "id": gone["id"]},
        ]
        stranger = {"method": "delete", "id": str(uuid.uuid4())}
        stale = {**good[1], "id": gone["id"], "version": 7}
        for bad, status, code in ((stranger, 404, "not_found"), (stale, 412, "stale")):
            with self.subTest(code):
                response = self.batch(*good[:2], bad)
                problem = self.assertProblem(response, status, code)
                self.assertEqual(problem["operation"], 2)
        wrong = {"method": "create", "body": second}
        response = self.batch(*good, wrong)
        self.assertProblem(response, 400, "unknown_field", "operations.3.surprise")
        self.assertEqual(Change.objects.count(), before)
        self.assertEqual(self.alice.get(self.path).json()["count"], 2)
        self.assertEqual(self.stored(kept).version, 1)

    def test_a_batch_that_is_not_atomic_does_what_it_can(self):
        kept = self.make(n=1)
        response = self.batch(
            {"method": "update", "id": str(uuid.uuid4()), "body": self.change},
            {"method": "create", "body": self.body(2, surprise=1)},
            {"method": "update", "id": kept["id"], "version": 3, "body": self.change},
            {"method": "update", "id": kept["id"], "version": 1, "body": self.change},
            {"method": "create", "body": self.body(3)},
            atomic=False,
        )
        answer = response.json()
        self.assertEqual(response.status_code, 207, answer)
        outcomes = [r["status"] for r in answer["results"]]
        self.assertEqual(outcomes, [404, 400, 412, 200, 201])
        [error] = answer["results"][1]["problem"]["errors"]
        self.assertEqual(error["field"], "operations.1.surprise")
        self.assertEqual(answer["results"][2]["problem"]["current"], kept)
        self.assertEqual(self.alice.get(self.path).json()["count"], 2)
        changes = Change.objects.filter(change_set=answer["change_set"])
        self.assertEqual(changes.count(), 2)

    def test_a_batch_keeps_to_the_rights_of_each_record(self):
        record = self.make()
        for user, status in ((self.cast.bob, 403), (self.cast.carol, 404)):
            for operation in (
                {"method": "update", "id": record["id"], "body": self.change},
                {"method": "delete", "id": record["id"]},
            ):
                for atomic in (True, False):
                    with self.subTest(f"{user}: {operation['method']} {atomic}"):
                        client = client_of(user)
                        response = self.batch(operation, client=client, atomic=atomic)
                        if not atomic:
                            [result] = response.json()["results"]
                            self.assertEqual(result["status"], status)
                        else:
                            self.assertEqual(response.status_code, status)
        self.assertEqual(self.alice.get(self.address(record)).json(), record)

    def test_a_bulk_change_of_a_filter_is_undone_as_one(self):
        records = [self.make(n=n) for n in range(3)]
        self.make(client_of(self.cast.manager), n=3)
        wanted = {"filter": {"owner": "me"}, "change": {"set": self.change}}
        trial = self.alice.post(f"{self.path}bulk/?dry_run=true", wanted)
        self.assertEqual(trial.status_code, 200, trial.content)
        self.assertCounts(trial.json(), matched=3, changed=3)
        self.assertEqual(self.alice.get(self.address(records[0])).json(), records[0])

        job = self.bulk(**wanted)
        self.assertCounts(job, matched=3, changed=3)
        self.assertEqual((job["done"], job["total"]), (3, 3))
        for record in records:
            changed = self.alice.get(self.address(record)).json()
            self.assertEqual(changed["version"], 2)
            for name, value in self.change.items():
                self.assertEqual(changed[name], value)
        self.assertCounts(self.bulk(**wanted), matched=3, unchanged=3)

        change_set = f"/api/change-sets/{job['change_set']}/"
        self.assertEqual(self.alice.get(change_set).json()["source"], "bulk")
        undo = self.alice.post(f"{change_set}undo/")
        self.assertEqual(undo.json()["undone"], 3)
        for name in self.change:
            restored = self.alice.get(self.address(records[0])).json()
            self.assertEqual(restored[name], records[0][name])

    def test_a_bulk_change_leaves_and_counts_what_the_actor_may_not_touch(self):
        mine = self.make(n=1)
        bobs = self.make(client_of(self.cast.bob), n=2)
        missing = str(uuid.uuid4())
        bob = client_of(self.cast.bob)
        ids = [mine["id"], bobs["id"], missing]
        job = self.bulk(bob, ids=ids, change={"delete": True})
        self.assertCounts(
            job,
            matched=2,
            changed=1,
            refused=1,
            no_right_to_delete=1,
            not_found=1,
        )
        self.assertEqual(self.alice.get(self.address(mine)).json(), mine)
        self.assertProblem(bob.get(self.address(bobs)), 404, "not_found")
        gift = {"owner": str(self.cast.bob.pk)}
        job = self.bulk(ids=[mine["id"]], change=gift)
        self.assertCounts(job, matched=1, refused=1, no_right_to_assign=1)
        for stranger in (self.cast.stranger, self.cast.carol):
            job = self.bulk(
                client_of(stranger), ids=[mine["id"]], change={"set": self.change}
            )
            self.assertCounts(job, not_found=1)
        self.assertEqual(self.alice.get(self.address(mine)).json(), mine)

    def test_a_bulk_change_that_is_not_understood_names_what_is_wrong(self):
        self.make()
        good = {"filter": {}, "change": {"set": self.change}}
        for body, code, field in (
            ({**good, "filter": {"surprise": 1}}, "unknown_parameter", "surprise"),
            ({**good, "filter": {"search": " "}}, "blank", "search"),
            ({**good, "filter": {"page": 1}}, "unknown_parameter", "page"),
            ({**good, "filter": {"owner": "x"}}, "invalid", "owner"),
        ):
            with self.subTest(field):
                response = self.alice.post(f"{self.path}bulk/", body)
                self.assertProblem(response, 400, code, f"filter.{field}")
        for change, code, field in (
            ({"set": {"surprise": 1}}, "unknown_field", ".set.surprise"),
            ({"set": {"version": 1}}, "read_only", ".set.version"),
            ({"owner": str(self.cast.carol.pk)}, "does_not_exist", ".owner"),
            ({"delete": True, "set": self.change}, "not_combinable", ".delete"),
            ({"surprise": 1}, "unknown_field", ".surprise"),
            ({}, "required", ""),
        ):
            with self.subTest(change):
                body = {**good, "change": change}
                response = self.alice.post(f"{self.path}bulk/", body)
                self.assertProblem(response, 400, code, f"change{field}")
        for body in ({}, {"ids": [str(uuid.uuid4())], "filter": {}}):
            response = self.alice.post(f"{self.path}bulk/", {**body, "change": {}})
            self.assertEqual(response.status_code, 400)
        self.assertFalse(Job.objects.exists())


class Export(Contract):
    """Export, within the right to."""

    def test_it_is_exported_within_the_right_to_and_as_the_list_shows_it(self):
        records = [self.make(n=n) for n in range(2)]
        theirs = self.make(client_of(self.cast.manager), n=3)
        for client, expected in (
            (client_of(self.cast.manager), [theirs, *reversed(records)]),
            (self.alice, [*reversed(records)]),
            (client_of(self.cast.carol), []),
        ):
            body = {"record_type": self.model.record_type(), "fields": ["id", "owner"]}
            asked = client.post("/api/exports/", body)
            self.assertEqual(asked.status_code, 202, asked.content)
            run(asked.json()["id"])
            answer = client.get(f"/api/exports/{asked.json()['id']}/download/")
            lines = b"".join(answer).decode("utf-8-sig").splitlines()
            self.assertEqual(lines[0], "id,owner")
            self.assertEqual(
                [line.partition(",")[0] for line in lines[1:]],
                [record["id"] for record in expected],
            )
        refused = client_of(self.cast.reader).post("/api/exports/", body)
        self.assertProblem(refused, 403, "permission_denied")
