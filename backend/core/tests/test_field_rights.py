"""Fields that a role does not see, or sees and does not edit."""

import json
import shutil
import tempfile

from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from rest_framework.exceptions import PermissionDenied

from contact_management.models import Contact
from core import jobs
from core.access import Scope, Verb, visibility_key
from core.field_rights import NO_LIMITS, FieldReadOnly, field_rights
from core.filters import filter_set
from core.models import Change, ChangeSet, Job
from core.models.values import snapshot
from core.representation import Representation
from core.serializers import record_serializer
from core.testing import (
    ALL,
    MARKER,
    Cast,
    client_of,
    make_role,
    make_user,
    system_changes,
)
from core.views.journaled import crossings, narrowed_view

PATH = "/api/contacts/"
SEE = {Verb.VIEW: Scope.ALL, Verb.EXPORT: Scope.ALL}
SYSTEM = {"changeset": ALL, "auditlog": SEE, "job": ALL, "role": ALL}


class FieldRightsTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        media = override_settings(MEDIA_ROOT=folder)
        media.enable()
        self.addCleanup(media.disable)
        self.manager = client_of(self.cast.manager)

    def person(self, hidden=(), read_only=(), name="limited", **fields):
        """Somebody who may do everything but see or edit these fields of contacts."""
        rights = {"contact": {"hidden": list(hidden), "read_only": list(read_only)}}
        role = make_role(self.cast.organization, name, ALL, rights, **SYSTEM)
        return make_user(self.cast.organization, name, role, **fields)

    def limited(self, hidden=(), read_only=()):
        return client_of(self.person(hidden, read_only))

    def make(self, **fields) -> Contact:
        contact = Contact()
        with system_changes(self.cast.organization) as changes:
            changes.save(
                contact, **{"last_name": "King", "owner": self.cast.alice, **fields}
            )
        return contact

    def edit(self, contact, **fields) -> ChangeSet:
        with system_changes(self.cast.organization) as changes:
            changes.save(self.stored(contact), **fields)
        return changes.change_set

    def stored(self, contact) -> Contact:
        return Contact.objects.get(pk=contact.pk)

    def address(self, contact, suffix="") -> str:
        return f"{PATH}{contact.pk}/{suffix}"

    def assertProblem(self, response, status, code, *fields):
        self.assertEqual(response.status_code, status, response.content)
        problem = response.json()
        found = [(e["field"], e["code"]) for e in problem.get("errors", ())]
        if fields:
            self.assertEqual(found, [(field, code) for field in fields])
        else:
            self.assertEqual(problem["code"], code)
        return problem


class CustomFieldTests(FieldRightsTestCase):
    def test_a_hidden_entry_is_left_out_and_kept(self):
        contact = self.make(custom_fields={"salary": 7, "size": 3})
        client = self.limited(hidden=["custom_fields.salary"])
        shown = client.get(self.address(contact)).json()
        self.assertEqual(shown["custom_fields"], {"size": 3})
        [listed] = client.get(PATH).json()["results"]
        self.assertEqual(listed["custom_fields"], {"size": 3})
        for method, sent, kept in (
            ("patch", {"custom_fields": {"size": 4}}, {"salary": 7, "size": 4}),
            ("patch", {"custom_fields": {"size": None}}, {"salary": 7}),
            (
                "put",
                {"last_name": "King", "custom_fields": {"a": 1}},
                {"salary": 7, "a": 1},
            ),
            ("put", {"last_name": "King"}, {"salary": 7}),
        ):
            with self.subTest(f"{method} {sent}"):
                response = getattr(client, method)(self.address(contact), sent)
                self.assertEqual(response.status_code, 200, response.content)
                self.assertNotIn("salary", response.json()["custom_fields"])
                self.assertEqual(self.stored(contact).custom_fields, kept)

    def test_a_hidden_entry_cannot_be_written(self):
        contact = self.make(custom_fields={"salary": 7})
        client = self.limited(hidden=["custom_fields.salary"])
        body = {"last_name": "K", "custom_fields": {"salary": 7}}
        for method, address in (("post", PATH), ("patch", self.address(contact))):
            response = getattr(client, method)(address, body)
            self.assertProblem(response, 400, "unknown_field", "custom_fields.salary")
        self.assertEqual(Contact.objects.get().version, 1)

    def test_a_read_only_entry_takes_no_new_value(self):
        contact = self.make(custom_fields={"salary": 7, "size": 3})
        client = self.limited(read_only=["custom_fields.salary"])
        address = self.address(contact)
        same = client.patch(address, {"custom_fields": {"salary": 7, "size": 4}})
        self.assertEqual(same.json()["custom_fields"], {"salary": 7, "size": 4})
        new = client.patch(address, {"custom_fields": {"salary": 8}})
        self.assertProblem(new, 403, "field_read_only")
        [error] = new.json()["errors"]
        self.assertEqual(error["field"], "custom_fields.salary")
        self.assertEqual(self.stored(contact).custom_fields, {"salary": 7, "size": 4})

    def test_the_past_tells_only_the_entries_that_are_seen(self):
        contact = self.make(custom_fields={"salary": 7, "size": 3})
        self.edit(contact, custom_fields={"salary": 8, "size": 3})
        self.edit(contact, custom_fields={"salary": 9, "size": 4})
        client = self.limited(hidden=["custom_fields.salary"])
        entries = client.get(self.address(contact, "history/")).json()["results"]
        self.assertEqual(
            [(e["before"], e["after"].get("custom_fields")) for e in entries],
            [
                ({"custom_fields": {"size": 3}}, {"size": 4}),
                ({}, None),
                ({}, {"size": 3}),
            ],
        )


class WritingTests(FieldRightsTestCase):
    def test_no_change_set_writes_what_its_actor_may_not_edit(self):
        contact = self.make(notes="old", email="ada@example.com")
        actor = self.person(hidden=["notes"], read_only=["email"])
        before = Change.objects.count()
        for values, error in (
            ({"notes": "new"}, PermissionDenied),
            ({"email": "new@example.com"}, FieldReadOnly),
        ):
            with (
                self.subTest(values),
                ChangeSet.open(actor=actor, source="api") as changes,
            ):
                with self.assertRaises(error):
                    changes.save(self.stored(contact), **values)
                with self.assertRaises(error):
                    changes.save(Contact(), last_name="New", **values)
                with self.assertRaises(error):
                    changes.bulk_create(
                        Contact, [Contact(last_name="New", owner=actor, **values)]
                    )
                stored = self.stored(contact)
                was = snapshot(stored)
                for name, value in values.items():
                    setattr(stored, name, value)
                with self.assertRaises(error):
                    changes.bulk_update(Contact, [(stored, was)])
        self.assertEqual(Contact.objects.count(), 1)
        self.assertEqual(self.stored(contact).version, 1)
        self.assertEqual(Change.objects.count(), before)

    def test_what_follows_from_a_field_is_written_though_it_is_read_only(self):
        client = self.limited(read_only=["phone_e164"])
        made = client.post(PATH, {"last_name": "K", "phone": "+41 44 668 18 00"})
        self.assertEqual(made.json()["phone_e164"], "+41446681800")
        changed = client.patch(
            f"{PATH}{made.json()['id']}/", {"phone": "+41 44 668 18 01"}
        )
        self.assertEqual(changed.json()["phone_e164"], "+41446681801")

    def test_what_follows_from_a_hidden_field_is_hidden(self):
        contact = self.make(phone="+41 44 668 18 00")
        client = self.limited(hidden=["phone"])
        shown = client.get(self.address(contact)).json()
        self.assertTrue(shown.keys().isdisjoint(("phone", "phone_e164")))
        found = client.get(PATH, {"search": "446681800"}).json()
        self.assertEqual(found["count"], 0)
        self.assertEqual(
            self.manager.get(PATH, {"search": "446681800"}).json()["count"], 1
        )

    def test_a_required_field_that_is_hidden_is_an_error_without_its_name(self):
        rights = {"tag": {"hidden": ["name"]}}
        role = make_role(self.cast.organization, "limited", ALL, rights)
        client = client_of(make_user(self.cast.organization, "limited", role))
        response = client.post("/api/tags/", {"color": "red"})
        problem = self.assertProblem(response, 400, "invalid")
        self.assertEqual(
            problem["errors"],
            [
                {
                    "field": None,
                    "code": "hidden_field",
                    "detail": "A field that your role may not see does not allow this.",
                }
            ],
        )

    def test_a_read_only_owner_is_whoever_creates(self):
        user = self.person(read_only=["owner"])
        client = client_of(user)
        body = {"last_name": "K"}
        made = client.post(PATH, body).json()
        self.assertEqual(made["owner"], str(user.pk))
        given = client.post(PATH, {**body, "owner": str(self.cast.alice.pk)})
        self.assertProblem(given, 403, "field_read_only")
        self.assertEqual(Contact.objects.count(), 1)

    def test_a_conflict_on_a_hidden_unique_field_does_not_name_it(self):
        deleted = self.make(email="ada@example.com")
        with system_changes(self.cast.organization) as changes:
            changes.delete(deleted)
        self.make(email="ada@example.com")
        for client, named in (
            (self.limited(hidden=["email"]), False),
            (self.manager, True),
        ):
            response = client.post(self.address(deleted, "restore/"))
            self.assertProblem(response, 409, "unique", *(["email"] if named else []))
            self.assertEqual(b"email" in response.content, named)

    def test_undo_leaves_what_the_actor_may_not_edit(self):
        contact = self.make()
        made = self.edit(contact, notes="secret", email="a@example.com", city="Zug")
        client = self.limited(hidden=["notes"], read_only=["email"])
        address = f"/api/change-sets/{made.pk}/undo/"
        refused = self.assertProblem(client.post(address), 409, "undo_conflict")
        self.assertEqual(
            sorted((str(c["field"]), c["code"]) for c in refused["conflicts"]),
            [("None", "permission_denied"), ("email", "permission_denied")],
        )
        self.assertEqual(self.stored(contact).city, "Zug")
        partly = client.post(address, {"partial": True})
        self.assertEqual(partly.status_code, 200, partly.content)
        stored = self.stored(contact)
        self.assertEqual(
            (stored.city, stored.notes, stored.email), ("", "secret", "a@example.com")
        )

    def test_undo_tells_no_hidden_field_that_was_edited_since(self):
        contact = self.make()
        made = self.edit(contact, notes="one")
        self.edit(contact, notes="two")
        address = f"/api/change-sets/{made.pk}/undo/?dry_run=true"
        refused = self.limited(hidden=["notes"]).post(address)
        self.assertEqual(
            [(c["field"], c["code"]) for c in refused.json()["conflicts"]],
            [(None, "edited_since")],
        )
        self.assertNotIn(b"notes", refused.content)


class ImportTests(FieldRightsTestCase):
    def start(self, client, text, **fields):
        if "mapping" in fields:
            fields["mapping"] = json.dumps(fields["mapping"])
        file = SimpleUploadedFile("people.csv", text.encode(), "text/csv")
        body = {"file": file, "record_type": "contact", **fields}
        return client.post("/api/imports/", body, format="multipart")

    def run_import(self, client, text, **fields) -> dict:
        response = self.start(client, text, **fields)
        self.assertEqual(response.status_code, 202, response.content)
        job = response.json()["id"]
        jobs.run(job)
        return client.get(f"/api/imports/{job}/").json()

    def test_no_column_goes_to_a_hidden_field(self):
        client = self.limited(hidden=["notes", "external_ids"])
        shown = self.run_import(client, "Last name,Notes\nKing,secret\n")
        self.assertEqual(shown["mapping"], {"Last name": "last_name", "Notes": None})
        self.assertEqual(Contact.objects.get().notes, "")
        for target in ("notes", "external_ids.crm"):
            with self.subTest(target):
                mapping = {"Last name": "last_name", "Notes": target}
                response = self.start(client, "Last name,Notes\nA,b\n", mapping=mapping)
                problem = self.assertProblem(response, 400, "unknown_target", "mapping")
                never = self.start(
                    client,
                    "Last name,Notes\nA,b\n",
                    mapping={**mapping, "Notes": "never_was"},
                )
                self.assertEqual(
                    json.dumps(problem).replace(target, "never_was"),
                    json.dumps(never.json()),
                )
        self.assertEqual(Contact.objects.count(), 1)

    def test_rows_with_a_new_value_for_a_read_only_field_are_refused(self):
        self.make(email="a@example.com", job_title="Countess")
        self.make(email="b@example.com", job_title="Countess")
        client = self.limited(read_only=["job_title"])
        shown = self.run_import(
            client,
            "Email,Last name,Job title,City\n"
            "a@example.com,King,Countess,Zug\n"
            "b@example.com,King,Analyst,Zug\n"
            "c@example.com,King,Analyst,Zug\n"
            "d@example.com,King,,Zug\n",
            mode="upsert",
        )
        self.assertEqual(
            [shown[n] for n in ("created", "updated", "skipped", "failed")],
            [1, 1, 0, 2],
        )
        self.assertEqual(
            [(e["line"], e["column"], e["code"]) for e in shown["errors"]],
            [(3, "Job title", "field_read_only"), (4, "Job title", "field_read_only")],
        )
        self.assertEqual(
            sorted(Contact.objects.values_list("email", "job_title", "city")),
            [
                ("a@example.com", "Countess", "Zug"),
                ("b@example.com", "Countess", ""),
                ("d@example.com", "", "Zug"),
            ],
        )

    def test_a_field_hidden_while_the_job_waits_is_not_written(self):
        user = self.person()
        response = self.start(client_of(user), "Last name,Notes\nKing,secret\n")
        with system_changes(self.cast.organization) as changes:
            changes.save(user.role, field_rights={"contact": {"hidden": ["notes"]}})
        jobs.run(response.json()["id"])
        self.assertEqual(Contact.objects.count(), 0)
        self.assertEqual(Job.objects.get().counts["failed"], 1)

    def test_errors_of_others_imports_show_no_cell_of_a_hidden_field(self):
        text = f"Last name,Email,Notes\nKing,{MARKER},{MARKER}\n"
        whole = self.run_import(client_of(self.person(name="other")), text)
        self.assertEqual([e["column"] for e in whole["errors"]], ["Email"])
        client = self.limited(hidden=["notes", "email"])
        address = f"/api/jobs/{whole['id']}/errors/"
        [error] = client.get(address).json()["results"]
        self.assertEqual(
            (error["line"], error["column"], error["row"]), (2, "", ["King", "", ""])
        )
        shown = client.get(f"/api/imports/{whole['id']}/").json()
        self.assertEqual(shown["mapping"], {"Last name": "last_name"})
        self.assertNotIn(MARKER, json.dumps(shown))


class ReadingTests(FieldRightsTestCase):
    def test_an_expanded_relation_shows_no_hidden_field(self):
        contact = self.make(first_name="Ada", company_name="Engines")
        user = self.person(hidden=["first_name"])
        representation = Representation(Contact, ("id", "owner"))
        representation.relations["owner"] = Contact
        for reader, names in (
            (user, {"id", "last_name", "email", "company_name"}),
            (self.cast.manager, set(Contact.summary_fields)),
        ):
            answers = [{"owner": contact.pk}]
            representation.expand(answers, ["owner"], reader)
            self.assertEqual(set(answers[0]["owner"]), names)

    def test_a_look_up_through_a_relation_asks_no_hidden_field(self):
        class Pair:
            model = Contact
            all_fields = ("id", "owner", "city")
            representation = Representation(Contact, all_fields)
            serializer_class = record_serializer(Contact, all_fields)
            search_fields = ("city", "^owner__last_name", "owner__email")
            ordering_fields = ("id", "city")
            default_ordering = "-created_at"
            filterset_class = filter_set(Contact, representation.fields)

        self.assertEqual(
            crossings(Pair),
            {
                "^owner__last_name": ("user", "last_name"),
                "owner__email": ("user", "email"),
            },
        )
        narrow = narrowed_view(Pair, NO_LIMITS, frozenset(["owner__email"]))
        self.assertEqual(narrow["search_fields"], ("city", "^owner__last_name"))
        self.assertEqual(narrow["all_fields"], Pair.all_fields)

    def test_a_cursor_made_with_a_right_that_was_lost_is_refused(self):
        for name in ("Ada", "Bob", "Cid"):
            self.make(first_name=name)
        user = self.person()
        client = client_of(user)
        query = {"ordering": "first_name", "page_size": 1, "cursor": ""}
        page = client.get(PATH, query).json()
        self.hide(user, ["first_name"])
        lost = client.get(page["next"])
        self.assertProblem(lost, 400, "unknown_ordering", "ordering")

    def hide(self, user, names):
        with system_changes(self.cast.organization) as changes:
            changes.save(user.role, field_rights={"contact": {"hidden": names}})

    def test_a_change_of_the_role_counts_at_once(self):
        self.make(notes=MARKER)
        user = self.person()
        client = client_of(user)
        first = client.get(PATH)
        self.assertIn(MARKER.encode(), first.content)
        self.hide(user, ["notes"])
        hidden = client.get(PATH, HTTP_IF_NONE_MATCH=first["ETag"])
        self.assertEqual(hidden.status_code, 200)
        self.assertNotIn(MARKER.encode(), hidden.content)
        self.hide(user, [])
        self.assertEqual(client.get(PATH).content, first.content)

    def test_people_who_see_other_fields_share_no_cached_answer(self):
        keys = {
            visibility_key(person, "contact")
            for person in (
                self.cast.manager,
                self.person(["notes"], name="one"),
                self.person(["email"], name="two"),
                self.person(["notes", "email"], name="three"),
            )
        }
        self.assertEqual(len(keys), 4)
        reading = self.person(read_only=["notes"], name="four")
        self.assertEqual(
            visibility_key(reading, "contact"),
            visibility_key(self.cast.manager, "contact"),
        )

    def test_access_tells_what_the_asker_may_know(self):
        contact = self.make()
        user = self.person(["notes", "email"], ["city", "state"])
        asker = self.person(["email"], ["city"], name="asker")
        for client, whom, hidden, read_only in (
            (self.manager, user, ["email", "notes"], ["city", "state"]),
            (client_of(asker), user, ["notes"], ["city", "state"]),
            (client_of(user), user, [], ["city", "state"]),
            (self.manager, self.cast.manager, [], []),
        ):
            with self.subTest(f"{client.handler._force_user} {whom}"):
                shown = client.get(
                    self.address(contact, "access/"), {"user": str(whom.pk)}
                ).json()
                self.assertEqual(shown["hidden_fields"], hidden)
                self.assertEqual(shown["read_only_fields"], read_only)

    def test_the_same_queries_with_and_without_limits(self):
        for n in range(3):
            self.make(last_name=f"K{n}")
        counts = []
        for client in (self.manager, self.limited(["notes"], ["city"])):
            client.get(PATH)
            with CaptureQueriesContext(connection) as queries:
                client.get(PATH, {"expand": "owner"})
            counts.append(len(queries))
        self.assertEqual(counts, [2, 2])

    def test_roles_without_limits_share_one_answer_that_is_false(self):
        self.assertIs(self.cast.manager.field_rights("contact"), NO_LIMITS)
        self.assertFalse(NO_LIMITS)
        rights = field_rights(Contact, ("notes",), ())
        self.assertTrue(rights)
        self.assertIs(rights, field_rights(Contact, ("notes",), ()))


class RoleTests(FieldRightsTestCase):
    path = "/api/roles/"

    def test_a_role_is_made_and_shown_with_field_rights(self):
        client = client_of(self.person())
        rights = {
            "contact": {
                "hidden": ["notes", "custom_fields.salary"],
                "read_only": ["owner"],
            }
        }
        made = client.post(self.path, {"name": "new", "field_rights": rights})
        self.assertEqual(made.status_code, 201, made.content)
        self.assertEqual(made.json()["field_rights"], rights)
        self.assertIs(made.json()["requires_two_factor"], False)

    def test_field_rights_that_mean_nothing_are_refused(self):
        client = client_of(self.person())
        for rights in (
            [],
            {"user": {"hidden": ["email"]}},
            {"surprise": {}},
            {"contact": []},
            {"contact": {"shown": []}},
            {"contact": {"hidden": "notes"}},
            {"contact": {"hidden": [7]}},
            {"contact": {"hidden": [["notes"]]}},
            {"contact": {"hidden": ["surprise"]}},
            {"contact": {"hidden": ["id"]}},
            {"contact": {"hidden": ["version"]}},
            {"contact": {"hidden": ["deleted_at"]}},
            {"contact": {"hidden": ["updated_at"]}},
            {"contact": {"hidden": ["organization"]}},
            {"contact": {"hidden": ["custom_fields."]}},
            {"contact": {"hidden": ["notes"] * 201}},
        ):
            with self.subTest(rights):
                body = {"name": "new", "field_rights": rights}
                response = client.post(self.path, body)
                self.assertProblem(response, 400, "invalid", "field_rights")

    def test_nobody_gives_a_role_that_sees_or_edits_more_than_their_own(self):
        giver = self.person(["notes", "custom_fields.salary"], ["city"])
        client = client_of(giver)
        rights = {"contact": ALL}
        for number, (hidden, read_only, allowed) in enumerate(
            (
                (["notes", "custom_fields.salary"], ["city"], True),
                (["notes", "custom_fields"], ["city", "state"], True),
                (["notes", "custom_fields.salary", "city"], [], True),
                ([], [], False),
                (["notes", "custom_fields.salary"], [], False),
                (["notes", "custom_fields.size"], ["city"], False),
                (["custom_fields.salary"], ["city", "notes"], False),
            )
        ):
            with self.subTest(f"{hidden} {read_only}"):
                limits = {"contact": {"hidden": hidden, "read_only": read_only}}
                body = {
                    "name": f"r{number}",
                    "rights": rights,
                    "field_rights": limits,
                }
                response = client.post(self.path, body)
                self.assertEqual(
                    response.status_code, 201 if allowed else 403, response.content
                )
        blind = client.post(
            self.path, {"name": "blind", "rights": {"contact": {}, "tag": ALL}}
        )
        self.assertEqual(blind.status_code, 201, blind.content)

    def test_nobody_takes_limits_from_their_own_role(self):
        user = self.person(["notes"])
        response = client_of(user).patch(
            f"{self.path}{user.role.pk}/", {"field_rights": {}}
        )
        self.assertProblem(response, 403, "permission_denied")
        user.role.refresh_from_db()
        self.assertEqual(
            user.role.field_rights, {"contact": {"hidden": ["notes"], "read_only": []}}
        )
