"""What the tests of all apps share: a cast of people, and the contract of records.

The cast: alice owns; bob is on her team; stranger is a colleague on no team; manager
may do everything; reader may only look; carol is in another organization.
"""

import time
import uuid
from unittest import mock

from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models
from django.test import TransactionTestCase
from django.test.runner import DiscoverRunner
from django.urls import resolve
from rest_framework.test import APIClient

from core.access import Scope, Verb
from core.append_only import erasing
from core.jobs import run
from core.models import Change, ChangeSet, CustomField, Job, Organization

# A text that stands nowhere else.
MARKER = "marker-7f3e9a"
PASSWORD = "correct-horse-battery"

OWN = dict.fromkeys(Verb.values, Scope.OWN)
ALL = dict.fromkeys(Verb.values, Scope.ALL)


class Runner(DiscoverRunner):
    """Lets the tear-down of a TransactionTestCase empty the journal."""

    def run_suite(self, suite, **kwargs):
        tear_down = TransactionTestCase._fixture_teardown

        def erasing_tear_down(test):
            with erasing():
                tear_down(test)

        with mock.patch.object(
            TransactionTestCase, "_fixture_teardown", erasing_tear_down
        ):
            return super().run_suite(suite, **kwargs)


def make_organization(name: str = "Analytical Engines", **fields) -> Organization:
    organization = Organization()
    with system_changes(organization) as changes:
        changes.save(organization, name=name, **fields)
    return organization


def make_role(organization, name: str, scopes: dict, /, field_rights=None, **more):
    """A role with these scopes for every record type, and `more` by record type."""
    role_model = get_user_model()._meta.get_field("role").related_model
    rights = {
        "*": scopes,
        "user": {Verb.VIEW: Scope.ALL, Verb.EDIT: Scope.OWN},
        "changeset": {Verb.VIEW: scopes.get(Verb.VIEW, Scope.NONE)},
        "job": {Verb.VIEW: Scope.OWN, Verb.EDIT: Scope.OWN},
        **more,
    }
    role = role_model()
    with system_changes(organization) as changes:
        changes.save(role, name=name, rights=rights, field_rights=field_rights or {})
    return role


def make_team(organization, name: str = "Sales"):
    team = get_user_model()._meta.get_field("team").related_model()
    with system_changes(organization) as changes:
        changes.save(team, name=name)
    return team


def make_user(organization, name: str, role, team=None, password=None, **fields):
    """A user; without a password they can only be signed in by `client_of`."""
    user = get_user_model()()
    if password:
        user.set_password(password)
    else:
        user.set_unusable_password()
    domain = organization.pk.hex[-6:]
    fields = {"email": f"{name}@{domain}.example.com", "first_name": name, **fields}
    with system_changes(organization) as changes:
        changes.save(user, role=role, team=team, **fields)
    return user


def system_changes(organization, **attributes):
    attributes = {"source": ChangeSet.Source.SYSTEM, **attributes}
    return ChangeSet.open(organization=organization, **attributes)


def client_of(user) -> APIClient:
    client = APIClient()
    if user:
        # Forced in, they have no session that could tell.
        user.signed_in_at = lambda request: time.time()
    client.force_authenticate(user)
    return client


class Cast:
    """The people of a test, for TestCase.setUpTestData to keep as `cls.cast`."""

    def __init__(self):
        here = self.organization = make_organization()
        there = self.other_organization = make_organization("Difference Engines")
        self.team = make_team(here)
        own = make_role(here, "own", OWN)
        team = make_role(here, "team", {**OWN, Verb.VIEW: Scope.TEAM})
        self.alice = make_user(here, "alice", own, self.team)
        self.bob = make_user(here, "bob", team, self.team)
        self.stranger = make_user(here, "stranger", own)
        self.manager = make_user(here, "manager", make_role(here, "manager", ALL))
        self.reader = make_user(
            here, "reader", make_role(here, "reader", {Verb.VIEW: Scope.ALL})
        )
        self.carol = make_user(there, "carol", make_role(there, "manager", ALL))


class RecordContract:
    """What every record type must hold; mixed into a TestCase.

    `path` is the address of the list. `valid` is a body that makes a record; "{n}" in
    its texts becomes a number, so that several may live together. `change` is a body
    for PATCH that changes it. `needs` says, by field, which other records come first:
    the address and body that make one.
    """

    path: str
    valid: dict
    change: dict
    needs: dict[str, tuple[str, dict]] = {}

    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        cls.view = resolve(cls.path).func.cls
        cls.model = cls.view.model

    def setUp(self):
        self.alice = client_of(self.cast.alice)
        self.made_first = {}

    def body(self, n=1, client=None, **fields):
        """A right body for this client, alice's if not given."""
        texts = {
            k: v.format(n=n) if isinstance(v, str) else v for k, v in self.valid.items()
        }
        return {**texts, **self.needed(client or self.alice, n), **fields}

    def needed(self, client, n) -> dict:
        """The ids of what a body refers to, made by the client once for each `n`."""
        ids = {}
        for name, (path, body) in self.needs.items():
            key = (client, n, name)
            if key not in self.made_first:
                response = client.post(path, body)
                self.assertEqual(response.status_code, 201, response.content)
                self.made_first[key] = response.json()["id"]
            ids[name] = self.made_first[key]
        return ids

    def make(self, client=None, n=1, **fields) -> dict:
        client = client or self.alice
        response = client.post(self.path, self.body(n, client, **fields))
        self.assertEqual(response.status_code, 201, response.content)
        return response.json()

    def address(self, record, suffix="") -> str:
        return f"{self.path}{record['id']}/{suffix}"

    def stored(self, record):
        return self.model.objects.get(pk=record["id"])

    def assertProblem(self, response, status, code, field=None):
        """The answer is this problem, about this field."""
        self.assertEqual(response.status_code, status, response.content)
        self.assertEqual(response["Content-Type"], "application/problem+json")
        problem = response.json()
        self.assertEqual(problem["status"], status)
        if field is None:
            self.assertEqual(problem["code"], code)
        else:
            found = {(e["field"], e["code"]) for e in problem["errors"]}
            self.assertEqual(found, {(field, code)})
        return problem

    # Reading and writing

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

    # Retries and races

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

    # Who may

    def test_anonymous_is_refused(self):
        record = self.make()
        nobody = APIClient()
        for method, address in (
            ("get", self.path),
            ("post", self.path),
            ("get", self.address(record)),
            ("put", self.address(record)),
            ("patch", self.address(record)),
            ("delete", self.address(record)),
            ("get", self.address(record, "history/")),
            ("post", self.address(record, "restore/")),
        ):
            with self.subTest(f"{method} {address}"):
                response = getattr(nobody, method)(address)
                self.assertProblem(response, 401, "not_authenticated")
        self.assertEqual(self.stored(record).version, 1)

    def test_who_does_not_see_a_record_cannot_tell_it_from_none(self):
        record = self.make()
        missing = {"id": str(uuid.uuid4())}
        for user in (self.cast.stranger, self.cast.carol):
            client = client_of(user)
            self.assertEqual(client.get(self.path).json()["results"], [])
            for method, suffix in (
                ("get", ""),
                ("put", ""),
                ("patch", ""),
                ("delete", ""),
                ("get", "history/"),
                ("post", "restore/"),
            ):
                with self.subTest(f"{user}: {method} {suffix}"):
                    call = getattr(client, method)
                    response = call(self.address(record, suffix))
                    self.assertProblem(response, 404, "not_found")
                    none = call(self.address(missing, suffix))
                    self.assertEqual(response.content, none.content)
        self.assertEqual(self.alice.get(self.address(record)).json(), record)

    def test_the_team_sees_but_may_not_write(self):
        record = self.make()
        bob = client_of(self.cast.bob)
        self.assertEqual(bob.get(self.address(record)).json(), record)
        self.assertEqual(bob.get(self.path).json()["count"], 1)
        for method in ("put", "patch", "delete"):
            with self.subTest(method):
                response = getattr(bob, method)(self.address(record), self.body())
                self.assertProblem(response, 403, "permission_denied")
        self.assertEqual(self.alice.get(self.address(record)).json(), record)

    def test_a_reader_may_not_create(self):
        response = client_of(self.cast.reader).post(self.path, self.body())
        self.assertProblem(response, 403, "permission_denied")
        self.assertFalse(self.model.objects.exists())

    def test_a_relation_to_what_is_not_seen_is_refused_like_one_to_nothing(self):
        record = self.make()
        for name in self.view.representation.relations:
            for other in (self.cast.carol.pk, uuid.uuid4()):
                with self.subTest(f"{name}: {other}"):
                    response = self.alice.patch(
                        self.address(record), {name: str(other)}
                    )
                    self.assertProblem(response, 400, "does_not_exist", name)
        self.assertEqual(self.stored(record).version, 1)

    def test_giving_a_record_away_needs_the_right_to_assign(self):
        record = self.make()
        gift = {"owner": str(self.cast.bob.pk)}
        response = self.alice.patch(self.address(record), gift)
        self.assertProblem(response, 403, "permission_denied")
        self.assertEqual(self.stored(record).owner_id, self.cast.alice.pk)
        given = client_of(self.cast.manager).patch(self.address(record), gift)
        self.assertEqual(given.json()["owner"], str(self.cast.bob.pk))

    # Fields that a role does not see, or does not edit

    def limited(self):
        """Somebody who may do everything, but for a hidden and a read-only field.

        Returns:
            Their client, the name of the hidden field, a value of it that a test can
            look for, and the name of the read-only field.
        """
        read_only = next(iter(self.change))
        texts = (
            name
            for name, field in self.view.representation.fields.items()
            if isinstance(field, models.CharField | models.TextField)
            and field.blank
            and field.editable
            and not field.choices
            and not isinstance(field, models.EmailField | models.URLField)
            and (field.max_length or 100) >= 50
            and name not in {*self.valid, *self.change}
        )
        hidden = next(texts, "custom_fields")
        value = MARKER if hidden != "custom_fields" else {"marker": MARKER}
        role = make_role(
            self.cast.organization,
            "limited",
            ALL,
            {
                self.model.record_type(): {
                    "hidden": [hidden],
                    "read_only": [read_only],
                }
            },
            changeset=ALL,
            auditlog=ALL,
        )
        user = make_user(self.cast.organization, "limited", role)
        return client_of(user), hidden, value, read_only

    def test_a_hidden_field_is_as_if_it_had_never_been(self):
        client, hidden, value, _ = self.limited()
        record = self.make(**{hidden: value})
        blank = dict.fromkeys(value) if isinstance(value, dict) else ""
        self.alice.patch(self.address(record), {hidden: blank})
        self.alice.patch(self.address(record), {hidden: value})
        shown = client.get(self.address(record))
        self.assertEqual(
            list(shown.json()),
            [
                name
                for name in self.view.all_fields
                if hidden not in (name, self.model.derived_from.get(name))
            ],
        )
        for path in (
            self.path,
            f"{self.path}?cursor=&expand=owner",
            self.address(record),
            self.address(record, "history/"),
            self.address(record, "access/"),
            f"/api/audit-log/?record_id={record['id']}",
            f"/api/audit-log/export/?record_id={record['id']}",
        ):
            with self.subTest(path):
                response = client.get(path)
                content = b"".join(response)
                self.assertEqual(response.status_code, 200, content)
                self.assertIn(record["id"].encode(), content + path.encode())
                self.assertNotIn(MARKER.encode(), content)
                self.assertNotRegex(content.decode(), rf"\b{hidden}\b")
        self.assertEqual(client.get(self.path, {"search": MARKER}).json()["count"], 0)
        stale = client.delete(self.address(record), HTTP_IF_MATCH='"1-0"')
        problem = self.assertProblem(stale, 412, "stale")
        self.assertEqual(problem["current"], shown.json())
        filters = self.view.filterset_class.base_filters
        for query in (
            {"fields": f"id,{hidden}"},
            {"expand": hidden},
            {"ordering": hidden},
            *({n: "x"} for n in filters if n.split("__")[0] == hidden),
        ):
            with self.subTest(query):
                response = client.get(self.path, query)
                never = {
                    n.replace(hidden, "never_was"): v.replace(hidden, "never_was")
                    for n, v in query.items()
                }
                self.assertEqual(response.status_code, 400)
                self.assertEqual(
                    response.content.replace(hidden.encode(), b"never_was"),
                    client.get(self.path, never).content,
                )

    def test_a_hidden_field_is_not_written_and_stays_as_it_is(self):
        client, hidden, value, _ = self.limited()
        record = self.make(**{hidden: value})
        for method, address in (
            ("post", self.path),
            ("patch", self.address(record)),
            ("put", self.address(record)),
        ):
            with self.subTest(method):
                body = self.body(n=2, **{hidden: value})
                response = getattr(client, method)(address, body)
                self.assertProblem(response, 400, "unknown_field", hidden)
        self.assertEqual(self.stored(record).version, 1)
        self.assertEqual(self.model.objects.count(), 1)
        shown = client.get(self.address(record)).json()
        self.assertEqual(client.put(self.address(record), shown).json(), shown)
        client.delete(self.address(record))
        client.post(self.address(record, "restore/"))
        self.assertEqual(self.alice.get(self.address(record)).json()[hidden], value)
        made = self.make(client, n=2)
        self.assertNotIn(hidden, made)
        default = self.model._meta.get_field(hidden).get_default()
        self.assertEqual(getattr(self.stored(made), hidden), default)

    def test_a_read_only_field_shows_and_takes_no_new_value(self):
        client, _, _, name = self.limited()
        record = self.make()
        new = {name: self.change[name]}
        for method in ("patch", "put"):
            with self.subTest(method):
                call = getattr(client, method)
                response = call(self.address(record), self.body(**new))
                problem = self.assertProblem(response, 403, "field_read_only")
                self.assertEqual([e["field"] for e in problem["errors"]], [name])
        created = client.post(self.path, self.body(n=2, **new))
        self.assertProblem(created, 403, "field_read_only")
        self.assertEqual(self.model.objects.count(), 1)
        self.assertEqual(self.stored(record).version, 1)
        kept = client.patch(self.address(record), {name: record[name]})
        self.assertEqual((kept.status_code, kept.json()[name]), (200, record[name]))

        self.alice.patch(self.address(record), new)
        self.assertEqual(
            client.put(self.address(record), self.body()).json()[name],
            self.change[name],
        )
        [update, *_] = self.alice.get(self.address(record, "history/")).json()[
            "results"
        ]
        undone = client.post(f"/api/change-sets/{update['change_set']['id']}/undo/")
        problem = self.assertProblem(undone, 409, "undo_conflict")
        self.assertEqual(
            [(c["field"], c["code"]) for c in problem["conflicts"]],
            [(name, "permission_denied")],
        )
        self.assertEqual(self.stored(record).version, 2)

    # Many at once

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

    # The past

    def test_history_tells_each_change_and_undo_takes_it_back(self):
        record = self.make()
        self.alice.patch(
            self.address(record), self.change, HTTP_X_CHANGE_REASON="because"
        )
        update, creation = self.alice.get(self.address(record, "history/")).json()[
            "results"
        ]
        self.assertEqual((creation["verb"], creation["version"]), ("create", 1))
        self.assertEqual((update["verb"], update["version"]), ("update", 2))
        for name, value in self.change.items():
            self.assertEqual(update["before"][name], record[name])
            self.assertEqual(update["after"][name], value)
            self.assertEqual(creation["after"].get(name), record[name] or None)
        self.assertEqual(update["change_set"]["actor"]["email"], self.cast.alice.email)
        self.assertEqual(update["change_set"]["source"], "api")
        self.assertEqual(update["change_set"]["reason"], "because")

        undone = self.alice.post(f"/api/change-sets/{update['change_set']['id']}/undo/")
        self.assertEqual(undone.status_code, 200, undone.content)
        self.assertEqual(undone.json()["undone"], 1)
        now = self.alice.get(self.address(record)).json()
        self.assertEqual(now["version"], 3)
        written = {"version", "updated_at"}
        self.assertEqual(
            {k: v for k, v in now.items() if k not in written},
            {k: v for k, v in record.items() if k not in written},
        )

    # Export

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

    # Custom fields

    def define(self, key: str, kind: str, **values) -> CustomField:
        """A custom field of this record type, in alice's organization."""
        field = CustomField()
        record_type = self.model.record_type()
        values = {"label": key, "applies_to": record_type, **values}
        with system_changes(self.cast.organization) as changes:
            changes.save(field, key=key, kind=kind, **values)
        return field

    def test_a_custom_field_is_checked_found_sorted_told_and_undone(self):
        self.define("size", "number")
        big = self.make(n=1, custom_fields={"size": 10})
        small = self.make(n=2, custom_fields={"size": 9.5})
        none = self.make(n=3)
        for values, code in (
            ({"size": "10"}, "not_a_number"),
            ({"size": True}, "not_a_number"),
            ({"height": 1}, "unknown_field"),
        ):
            with self.subTest(values):
                [key] = values
                body = self.body(n=4, custom_fields=values)
                refused = self.alice.post(self.path, body)
                self.assertProblem(refused, 400, code, f"custom_fields.{key}")
                refused = self.alice.patch(self.address(big), {"custom_fields": values})
                self.assertProblem(refused, 400, code, f"custom_fields.{key}")
        self.assertEqual(self.model.objects.count(), 3)
        for query, found in (
            ({"custom_fields.size": "9.5"}, [small]),
            (
                {"custom_fields.size__gte": "9.5", "ordering": "created_at"},
                [big, small],
            ),
            ({"custom_fields.size__isnull": "true"}, [none]),
            ({"ordering": "custom_fields.size"}, [small, big, none]),
            ({"ordering": "-custom_fields.size", "cursor": ""}, [big, small, none]),
        ):
            with self.subTest(query):
                listed = self.alice.get(self.path, query)
                self.assertEqual(listed.json()["results"], found)
        self.alice.patch(self.address(big), {"custom_fields": {"size": 11}})
        [update, _] = self.alice.get(self.address(big, "history/")).json()["results"]
        self.assertEqual(update["before"], {"custom_fields": {"size": 10}})
        self.assertEqual(update["after"], {"custom_fields": {"size": 11}})
        self.alice.post(f"/api/change-sets/{update['change_set']['id']}/undo/")
        self.assertEqual(self.stored(big).custom_fields, {"size": 10})

    def test_a_custom_field_is_imported_and_taken_back(self):
        if not self.model.is_importable:
            self.skipTest("It is not imported.")
        self.define("size", "number", label="Shoe size")
        self.define("note_two", "text")
        custom = {"size": 10, "note_two": "kept"}
        record = self.make(n=1, custom_fields=custom)
        text = f"Id,Shoe size\n{record['id']},9.5\n"
        wish = {"record_type": self.model.record_type(), "mode": "update"}
        wish |= {"match": "id", "file": SimpleUploadedFile("f.csv", text.encode())}
        asked = client_of(self.cast.manager).post(
            "/api/imports/", wish, format="multipart"
        )
        self.assertEqual(asked.status_code, 202, asked.content)
        run(asked.json()["id"])
        self.assertEqual(self.stored(record).custom_fields, {**custom, "size": 9.5})
        change_set = Job.objects.get(pk=asked.json()["id"]).change_set
        client_of(self.cast.manager).post(f"/api/change-sets/{change_set.pk}/undo/")
        self.assertEqual(self.stored(record).custom_fields, custom)

    def test_a_bulk_change_of_a_custom_field_leaves_the_others(self):
        self.define("size", "number")
        self.define("note_two", "text")
        custom = {"size": 10, "note_two": "kept"}
        with_both = self.make(n=1, custom_fields=custom)
        with_none = self.make(n=2)
        for values in ({"size": 9}, {"size": None}):
            with self.subTest(values):
                size = {key: value for key, value in values.items() if value}
                change = {"set": {"custom_fields": values}}
                asked = self.alice.post(
                    f"{self.path}bulk/", {"filter": {}, "change": change}
                )
                self.assertEqual(asked.status_code, 202, asked.content)
                run(asked.json()["id"])
                found = [self.stored(r).custom_fields for r in (with_both, with_none)]
                self.assertEqual(found, [{"note_two": "kept", **size}, size])
                change_set = Job.objects.get(pk=asked.json()["id"]).change_set
                self.alice.post(f"/api/change-sets/{change_set.pk}/undo/")
                found = [self.stored(r).custom_fields for r in (with_both, with_none)]
                self.assertEqual(found, [custom, {}])
        for values, code in (
            ({"size": "9"}, "not_a_number"),
            ({"x": 1}, "unknown_field"),
        ):
            [key] = values
            change = {"set": {"custom_fields": values}}
            asked = self.alice.post(
                f"{self.path}bulk/", {"filter": {}, "change": change}
            )
            run(asked.json()["id"])
            job = Job.objects.get(pk=asked.json()["id"])
            self.assertEqual((job.counts["failed"], job.change_set), (2, None))
            self.assertEqual(
                {(e.column, e.code) for e in job.errors.all()},
                {(f"custom_fields.{key}", code)},
            )

    # Cost

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
        # A count, the rows, and their owners.
        self.assertEqual(counts, [3, 3])

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
