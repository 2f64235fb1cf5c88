"""Custom fields: what is defined, what records take, and what lists ask of them."""

from unittest import mock

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from core import jobs
from core.access import Scope, Verb
from core.custom_fields import definitions, indexing
from core.custom_fields.kinds import KINDS
from core.models import Change, CustomField, Job
from core.testing import ALL, Cast, client_of, make_role, make_user, system_changes

FIELDS = "/api/custom-fields/"
CONTACTS = "/api/contacts/"
CHOICES = [{"value": "gold", "label": "Gold"}, {"value": "tin", "label": "Tin"}]
RIGHTS = {Verb.VIEW: Scope.ALL, Verb.CREATE: Scope.ALL, Verb.EDIT: Scope.ALL}


class CustomFieldTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        here = cls.cast.organization
        role = make_role(here, "administrator", ALL, customfield=RIGHTS)
        cls.admin = make_user(here, "admin", role)

    def setUp(self):
        self.client = client_of(self.admin)

    def define(self, key="size", kind="number", **values) -> CustomField:
        field = CustomField()
        if "choice" in kind:
            values.setdefault("choices", CHOICES)
        with system_changes(self.cast.organization) as changes:
            values = {"applies_to": "contact", "label": key.title(), **values}
            changes.save(field, key=key, kind=kind, **values)
        return field

    def edit(self, field, **values):
        with system_changes(self.cast.organization) as changes:
            changes.save(field, **values)

    def make(self, name="King", client=None, **custom_fields) -> dict:
        body = {"last_name": name, "custom_fields": custom_fields}
        response = (client or self.client).post(CONTACTS, body)
        self.assertEqual(response.status_code, 201, response.content)
        return response.json()

    def patch(self, contact, client=None, **custom_fields):
        return (client or self.client).patch(
            f"{CONTACTS}{contact['id']}/", {"custom_fields": custom_fields}
        )

    def shown(self, contact) -> dict:
        return self.client.get(f"{CONTACTS}{contact['id']}/").json()["custom_fields"]

    def assertErrors(self, response, *errors, status=400):
        """The answer names these (field, code) pairs, and no others."""
        self.assertEqual(response.status_code, status, response.content)
        found = [(e["field"], e["code"]) for e in response.json()["errors"]]
        self.assertEqual(sorted(found), sorted(errors))


class DefinitionTests(CustomFieldTestCase):
    body = {"applies_to": "contact", "key": "size", "label": "Size", "kind": "number"}

    def test_an_administrator_defines_a_field_and_everybody_sees_it(self):
        made = self.client.post(FIELDS, self.body)
        self.assertEqual(made.status_code, 201, made.content)
        self.assertEqual(
            {k: v for k, v in made.json().items() if not k.endswith("_at")},
            {
                **self.body,
                "id": made.json()["id"],
                "choices": [],
                "position": 0,
                "is_required": False,
                "is_indexed": False,
                "is_archived": False,
                "index_status": "none",
                "version": 1,
            },
        )
        reader = client_of(self.cast.reader)
        self.assertEqual(reader.get(FIELDS).json()["results"], [made.json()])
        refused = reader.post(FIELDS, {**self.body, "key": "other"})
        self.assertEqual(refused.status_code, 403)
        refused = reader.delete(f"{FIELDS}{made.json()['id']}/")
        self.assertEqual(refused.status_code, 403)
        carol = client_of(self.cast.carol)
        self.assertEqual(carol.get(FIELDS).json()["results"], [])
        missing = carol.get(f"{FIELDS}{made.json()['id']}/")
        self.assertEqual(missing.status_code, 404)
        self.assertEqual(CustomField.objects.get().version, 1)

    def test_a_definition_that_means_nothing_is_refused(self):
        text = "x" * 101
        for name, value, code in (
            ("applies_to", "user", "unknown_type"),
            ("applies_to", "Contact", "unknown_type"),
            ("key", "Size", "invalid"),
            ("key", "1st", "invalid"),
            ("key", "a__in", "invalid"),
            ("key", "a_", "invalid"),
            ("key", "a'b", "invalid"),
            ("key", "a.b", "invalid"),
            ("key", "é", "invalid"),
            ("key", "x" * 51, "max_length"),
            ("kind", "json", "invalid_choice"),
            ("label", "", "blank"),
            ("choices", CHOICES, "no_choices"),
            ("choices", {}, "not_a_list"),
        ):
            with self.subTest(f"{name}: {value}"):
                response = self.client.post(FIELDS, {**self.body, name: value})
                self.assertErrors(response, (name, code))
        for choices, code in (
            ([], "required"),
            (["gold"], "invalid"),
            ([{"value": "gold"}], "invalid"),
            ([{"value": 1, "label": "One"}], "invalid"),
            ([{"value": text, "label": "x"}], "invalid"),
            ([{"value": " x", "label": "x"}], "invalid"),
            ([{"value": "a,b", "label": "x"}], "invalid"),
            ([{"value": "a;b", "label": "x"}], "invalid"),
            ([*CHOICES, CHOICES[0]], "repeated"),
            ([{"value": str(n), "label": "x"} for n in range(501)], "max_length"),
        ):
            with self.subTest(str(choices)[:60]):
                body = {**self.body, "kind": "choice", "choices": choices}
                self.assertErrors(self.client.post(FIELDS, body), ("choices", code))
        self.assertFalse(CustomField.objects.exists())

    def test_what_values_were_made_for_never_changes(self):
        field = self.define()
        for name, value in (
            ("applies_to", "tag"),
            ("key", "height"),
            ("kind", "text"),
        ):
            with self.subTest(name):
                response = self.client.patch(f"{FIELDS}{field.pk}/", {name: value})
                self.assertErrors(response, (name, "immutable"))
        field.refresh_from_db()
        self.assertEqual((field.version, field.kind), (1, "number"))

    def test_a_key_is_taken_for_ever_but_by_type_and_organization(self):
        field = self.define()
        self.client.delete(f"{FIELDS}{field.pk}/")
        again = self.client.post(FIELDS, self.body)
        self.assertErrors(
            again, ("applies_to", "unique"), ("key", "unique"), status=409
        )
        other = self.client.post(FIELDS, {**self.body, "applies_to": "tag"})
        self.assertEqual(other.status_code, 201)
        role = make_role(self.cast.other_organization, "a", ALL, customfield=RIGHTS)
        there = client_of(make_user(self.cast.other_organization, "there", role))
        self.assertEqual(there.post(FIELDS, self.body).status_code, 201)

    def test_a_type_has_so_many_fields_and_no_more(self):
        with mock.patch("core.models.custom_field.MAX_FIELDS", 1):
            self.define()
            response = self.client.post(FIELDS, {**self.body, "key": "height"})
        self.assertErrors(response, (None, "too_many"))
        self.assertEqual(CustomField.objects.count(), 1)

    def test_a_hidden_field_is_in_no_list_of_definitions(self):
        size, height = self.define(), self.define("height")
        self.define("size", applies_to="tag")
        for hidden, left in (
            (["custom_fields.size"], ["height", "size"]),
            (["custom_fields"], ["size"]),
        ):
            with self.subTest(hidden):
                limits = {"contact": {"hidden": hidden}}
                role = make_role(self.cast.organization, hidden[0], ALL, limits)
                client = client_of(make_user(self.cast.organization, left[0], role))
                listed = client.get(FIELDS).json()["results"]
                self.assertEqual([f["key"] for f in listed], left)
                response = client.get(f"{FIELDS}{size.pk}/")
                self.assertEqual(response.status_code, 404)
        self.assertEqual(self.client.get(FIELDS).json()["count"], 3)
        self.assertEqual(height.version, 1)


class ValueTests(CustomFieldTestCase):
    def test_without_definitions_any_json_is_taken(self):
        contact = self.make(anything={"goes": [1]}, Here=None)
        self.assertEqual(contact["custom_fields"], {"anything": {"goes": [1]}})

    def test_with_one_definition_no_other_key_is_written(self):
        old = self.make(colour="red")
        self.define()
        response = self.client.post(
            CONTACTS, {"last_name": "B", "custom_fields": {"size": 1, "colour": "red"}}
        )
        self.assertErrors(response, ("custom_fields.colour", "unknown_field"))
        self.assertErrors(
            self.patch(old, colour="blue"), ("custom_fields.colour", "unknown_field")
        )
        # What stands there stays, and can be taken away.
        kept = self.patch(old, colour="red", size=2)
        self.assertEqual(kept.json()["custom_fields"], {"colour": "red", "size": 2})
        self.assertEqual(
            self.patch(old, colour=None).json()["custom_fields"], {"size": 2}
        )

    def test_each_kind_takes_its_values_and_gives_them_back(self):
        bob = str(self.cast.bob.pk)
        money = {"amount": "-12.50", "currency": "EUR"}
        for kind, value, stored in (
            ("text", "é 😀", "é 😀"),
            ("text", "x" * 5000, "x" * 5000),
            ("number", 0, 0),
            ("number", -1.5, -1.5),
            ("number", 2**63 - 1, 2**63 - 1),
            ("money", money, money),
            ("date", "2026-02-28", "2026-02-28"),
            ("choice", "gold", "gold"),
            ("multi_choice", ["tin", "gold"], ["tin", "gold"]),
            ("boolean", False, False),
            ("link", "example.com/a", "https://example.com/a"),
            ("link", "http://example.com", "http://example.com"),
            ("user", bob.upper(), bob),
        ):
            with self.subTest(f"{kind}: {str(value)[:40]}"):
                if not CustomField.objects.filter(key=kind).exists():
                    self.define(kind, kind)
                made = self.make(**{kind: value})
                self.assertEqual(made["custom_fields"], {kind: stored})
                self.assertEqual(self.shown(made), {kind: stored})

    def test_each_kind_refuses_what_it_is_not(self):
        carol = str(self.cast.carol.pk)
        for kind, values in {
            "text": {"not_a_text": [1, {}, ["x"]], "max_length": ["x" * 5001]},
            "number": {"not_a_number": ["1", True, {}]},
            "money": {
                "not_money": [1, "12 EUR", {"amount": "1"}, [1]],
                "not_an_amount": [
                    {"amount": amount, "currency": "EUR"}
                    for amount in (
                        1,
                        "1,5",
                        "",
                        "1e5",
                        "NaN",
                        "1" * 16,
                        "1.12345",
                        "1\n",
                    )
                ],
                "unknown_currency": [
                    {"amount": "1", "currency": code} for code in ("eur", "XXX", 1, [])
                ],
            },
            "date": {
                "not_a_date": [
                    "2026-02-30",
                    "31.12.2026",
                    "20261231",
                    2026,
                    "\N{FULLWIDTH DIGIT TWO}026-01-01",
                ]
            },
            "choice": {"invalid_choice": ["Gold", "x", 1, ["gold"], {}]},
            "multi_choice": {
                "not_a_list": ["gold", [1], {}],
                "repeated": [["tin", "tin"]],
                "invalid_choice": [["gold", "x"]],
            },
            "boolean": {"not_a_boolean": [1, "true", 0]},
            "link": {
                "not_a_link": [
                    1,
                    "no link",
                    "javascript:alert(1)",
                    "ftp://example.com",
                    f"https://example.com/{'x' * 500}",
                ]
            },
            "user": {"does_not_exist": [carol, "x", 1, "0" * 32, {}]},
        }.items():
            self.define(kind, kind)
            for code, wrong in values.items():
                for value in wrong:
                    with self.subTest(f"{kind}: {str(value)[:40]}"):
                        body = {"last_name": "B", "custom_fields": {kind: value}}
                        response = self.client.post(CONTACTS, body)
                        self.assertErrors(response, (f"custom_fields.{kind}", code))
        self.assertEqual(self.client.get(CONTACTS).json()["count"], 0)

    def test_blank_values_are_none(self):
        self.define()
        self.define("level", "choice")
        contact = self.make(size=1, level="gold")
        patched = self.patch(contact, size=None, level="")
        self.assertEqual(patched.json()["custom_fields"], {})

    def test_what_is_required_must_be_given_and_is_not_lost(self):
        old = self.make()
        self.define(is_required=True)
        error = ("custom_fields.size", "required")
        for custom_fields in ({}, {"size": None}):
            body = {"last_name": "B", "custom_fields": custom_fields}
            self.assertErrors(self.client.post(CONTACTS, body), error)
        self.assertErrors(self.client.post(CONTACTS, {"last_name": "B"}), error)
        new = self.make(size=0)
        self.assertErrors(self.patch(new, size=None), error)
        self.assertErrors(
            self.client.put(f"{CONTACTS}{new['id']}/", {"last_name": "B"}), error
        )
        self.assertEqual(self.shown(new), {"size": 0})
        # Records from before have none, and are not stuck.
        address = f"{CONTACTS}{old['id']}/"
        renamed = self.client.patch(address, {"last_name": "Lovelace"})
        self.assertEqual(renamed.status_code, 200)

    def test_an_archived_field_keeps_its_values_and_takes_no_new_ones(self):
        field = self.define()
        self.define("height")
        contact = self.make(size=1, height=2)
        response = self.client.delete(f"{FIELDS}{field.pk}/")
        self.assertEqual(response.status_code, 204)
        self.assertErrors(
            self.patch(contact, size=2), ("custom_fields.size", "archived")
        )
        body = {"last_name": "B", "custom_fields": {"size": 1}}
        self.assertErrors(
            self.client.post(CONTACTS, body), ("custom_fields.size", "archived")
        )
        address = f"{CONTACTS}{contact['id']}/"
        for body in (
            {"last_name": "B"},
            {"last_name": "B", "custom_fields": {"height": 3}},
            {"last_name": "B", "custom_fields": {"height": 3, "size": 1}},
        ):
            replaced = self.client.put(address, body)
            self.assertEqual(replaced.status_code, 200, replaced.content)
            self.assertEqual(replaced.json()["custom_fields"]["size"], 1)
        back = self.client.patch(f"{FIELDS}{field.pk}/", {"is_archived": False})
        self.assertEqual(back.status_code, 200)
        self.assertEqual(
            self.patch(contact, size=2).json()["custom_fields"],
            {"height": 3, "size": 2},
        )

    def test_a_choice_that_is_not_offered_any_more_stays_where_it_stands(self):
        level = self.define("level", "choice")
        levels = self.define("levels", "multi_choice")
        contact = self.make(level="gold", levels=["gold"])
        for field in (level, levels):
            self.edit(field, choices=[{"value": "tin", "label": "Plain tin"}])
        same = self.patch(contact, level="gold", levels=["gold", "tin"])
        self.assertEqual(
            same.json()["custom_fields"], {"level": "gold", "levels": ["gold", "tin"]}
        )
        body = {"last_name": "B", "custom_fields": {"level": "gold"}}
        self.assertErrors(
            self.client.post(CONTACTS, body), ("custom_fields.level", "invalid_choice")
        )
        self.patch(contact, level="tin")
        self.assertErrors(
            self.patch(contact, level="gold"), ("custom_fields.level", "invalid_choice")
        )

    def test_two_people_who_change_different_fields_lose_nothing(self):
        self.define()
        self.define("height")
        contact = self.make(size=1)
        self.patch(contact, size=2)
        self.patch(contact, height=5)
        self.assertEqual(self.shown(contact), {"size": 2, "height": 5})

    def test_put_replaces_what_is_not_archived(self):
        self.define()
        self.define("height")
        contact = self.make(size=1, height=2)
        body = {"last_name": "B", "custom_fields": {"height": 3}}
        replaced = self.client.put(f"{CONTACTS}{contact['id']}/", body)
        self.assertEqual(replaced.json()["custom_fields"], {"height": 3})

    def test_the_definitions_are_read_once_and_only_where_they_matter(self):
        self.define()
        contact = self.make(size=1)

        def queries(call):
            with CaptureQueriesContext(connection) as captured:
                self.assertLess(call().status_code, 300)
            table = CustomField._meta.db_table
            return sum(f'FROM "{table}"' in query["sql"] for query in captured)

        address = f"{CONTACTS}{contact['id']}/"
        self.assertEqual(queries(lambda: self.client.get(CONTACTS)), 0)
        self.assertEqual(queries(lambda: self.client.get(address)), 0)
        self.assertEqual(
            queries(lambda: self.client.patch(address, {"first_name": "Ada"})), 0
        )
        self.assertEqual(queries(lambda: self.patch(contact, size=2)), 1)
        self.assertEqual(
            queries(lambda: self.client.get(CONTACTS, {"custom_fields.size": 2})), 1
        )
        both = {"custom_fields.size__gte": 1, "ordering": "custom_fields.size"}
        self.assertEqual(queries(lambda: self.client.get(CONTACTS, both)), 1)


class JournalTests(CustomFieldTestCase):
    def history(self, contact) -> list:
        return self.client.get(f"{CONTACTS}{contact['id']}/history/").json()["results"]

    def undo(self, entry):
        return self.client.post(f"/api/change-sets/{entry['change_set']['id']}/undo/")

    def test_the_journal_keeps_the_entries_that_changed(self):
        contact = self.make(size=1, height=2)
        self.patch(contact, size=5, depth=3, height=None)
        [update, creation] = self.history(contact)
        self.assertEqual(update["before"], {"custom_fields": {"size": 1, "height": 2}})
        self.assertEqual(update["after"], {"custom_fields": {"size": 5, "depth": 3}})
        self.assertEqual(creation["after"]["custom_fields"], {"size": 1, "height": 2})

    def test_edits_of_different_fields_are_undone_one_by_one(self):
        contact = self.make(size=1)
        self.patch(contact, size=2)
        self.patch(contact, height=5)
        [height, size, _] = self.history(contact)
        self.assertEqual(self.undo(size).status_code, 200)
        self.assertEqual(self.shown(contact), {"size": 1, "height": 5})
        self.assertEqual(self.undo(height).status_code, 200)
        self.assertEqual(self.shown(contact), {"size": 1})

    def test_an_entry_that_was_changed_since_is_a_conflict_of_its_own(self):
        contact = self.make(size=1)
        self.patch(contact, size=2, height=5)
        self.patch(contact, size=3)
        [_, edit, _] = self.history(contact)
        refused = self.undo(edit)
        self.assertEqual(refused.status_code, 409)
        self.assertEqual(
            [(c["field"], c["code"]) for c in refused.json()["conflicts"]],
            [("custom_fields.size", "edited_since")],
        )
        partial = self.client.post(
            f"/api/change-sets/{edit['change_set']['id']}/undo/", {"partial": True}
        )
        self.assertEqual(partial.status_code, 200, partial.content)
        self.assertEqual(self.shown(contact), {"size": 3})

    def test_undo_brings_back_what_would_not_be_taken_any_more(self):
        field = self.define("level", "choice")
        contact = self.make(level="gold")
        self.patch(contact, level=None)
        self.edit(field, is_archived=True)
        [edit, _] = self.history(contact)
        self.assertEqual(self.undo(edit).status_code, 200)
        self.assertEqual(self.shown(contact), {"level": "gold"})

    def test_an_undo_of_a_definition_brings_it_back(self):
        field = self.define()
        self.client.delete(f"{FIELDS}{field.pk}/")
        [archived, _] = self.client.get(f"{FIELDS}{field.pk}/history/").json()[
            "results"
        ]
        self.assertEqual(archived["after"], {"is_archived": True})
        limits = make_role(
            self.cast.organization, "all", ALL, customfield=RIGHTS, changeset=ALL
        )
        client = client_of(make_user(self.cast.organization, "undoer", limits))
        path = f"/api/change-sets/{archived['change_set']['id']}/undo/"
        self.assertEqual(client.post(path).status_code, 200)
        field.refresh_from_db()
        self.assertFalse(field.is_archived)


class ListTests(CustomFieldTestCase):
    def found(self, query: dict) -> str:
        """The last names that a list shows, in its order."""
        response = self.client.get(CONTACTS, {"ordering": "last_name", **query})
        self.assertEqual(response.status_code, 200, response.content)
        return "".join(c["last_name"] for c in response.json()["results"])

    def assertFinds(self, *cases):
        for lookup, value, names in cases:
            with self.subTest(f"{lookup}={value}"):
                self.assertEqual(self.found({f"custom_fields.{lookup}": value}), names)

    def test_numbers_are_compared_as_numbers(self):
        # What was there before the definition is of any type.
        for name, value in zip(
            "ABCDEF", (10, 9, -1.5, "9", True, 2**53 + 1), strict=True
        ):
            self.make(name, size=value)
        self.make("G")
        self.define()
        self.assertFinds(
            ("size", "9", "B"),
            ("size", "9.0", "B"),
            ("size", "-1.5", "C"),
            ("size", str(2**53 + 1), "F"),
            ("size", str(2**53), ""),
            ("size__in", "9,10", "AB"),
            ("size__gt", "9", "AF"),
            ("size__gte", "9", "ABF"),
            ("size__lt", "9", "C"),
            ("size__lte", "9", "BC"),
            ("size__isnull", "true", "DEG"),
            ("size__isnull", "false", "ABCF"),
        )

    def test_amounts_are_compared_as_numbers(self):
        for name, amount in zip("ABCDE", ("100", "20.50", "-3", "x", 5), strict=True):
            self.make(name, price={"amount": amount, "currency": "EUR"})
        self.make("F", price="20.50")
        self.define("price", "money")
        self.assertFinds(
            ("price", "20.5", "B"),
            ("price__gt", "20", "AB"),
            ("price__lte", "20.50", "BC"),
            ("price__isnull", "true", "DEF"),
        )

    def test_dates_are_compared_as_days(self):
        days = ("2026-12-31", "2026-01-02", "not one", 20261231)
        for name, value in zip("ABCD", days, strict=True):
            self.make(name, day=value)
        self.define("day", "date")
        self.assertFinds(
            ("day", "2026-12-31", "A"),
            ("day__in", "2026-12-31,2026-01-02", "AB"),
            ("day__gte", "2026-01-02", "AB"),
            ("day__gt", "2026-01-02", "A"),
            ("day__lt", "2026-12-31", "B"),
            ("day__isnull", "true", "CD"),
        )

    def test_texts_choices_links_and_booleans_are_found(self):
        self.define("note", "text")
        self.define("level", "choice")
        self.define("levels", "multi_choice")
        self.define("vip", "boolean")
        self.define("home", "link")
        self.make("A", note="50% Ünder_line", level="gold", levels=["gold", "tin"])
        self.make("B", note="other", level="tin", levels=["tin"], vip=True)
        self.make("C", vip=False, home="https://example.com/a", note="x" * 600)
        self.assertFinds(
            ("note", "other", "B"),
            ("note__in", "other,nothing", "B"),
            ("note__icontains", "50%", "A"),
            ("note__icontains", "OTHER", "B"),
            ("note__icontains", "xxx", "C"),
            ("note__icontains", "_", "A"),
            ("note", "x" * 499, ""),
            ("level", "gold", "A"),
            ("level__in", "gold,tin", "AB"),
            ("level__isnull", "true", "C"),
            ("levels", "tin", "AB"),
            ("levels", "gold", "A"),
            ("levels", "ti", ""),
            ("levels__isnull", "true", "C"),
            ("vip", "true", "B"),
            ("vip", "false", "C"),
            ("vip__isnull", "true", "A"),
            ("home", "https://example.com/a", "C"),
            ("home__icontains", "EXAMPLE", "C"),
        )

    def test_users_are_found_by_id_and_by_me(self):
        self.define("keeper", "user")
        self.make("A", keeper=str(self.admin.pk))
        self.make("B", keeper=str(self.cast.bob.pk))
        self.assertFinds(
            ("keeper", "me", "A"),
            ("keeper", str(self.cast.bob.pk), "B"),
            ("keeper__in", f"{self.admin.pk},{self.cast.bob.pk}", "AB"),
        )

    def test_filters_narrow_each_other_and_count(self):
        self.define()
        for n in range(5):
            self.make("ABCDE"[n], size=n)
        query = {"custom_fields.size__gte": 1, "custom_fields.size__lt": 4}
        self.assertEqual(self.found({**query, "last_name__in": "B,C,E"}), "BC")
        self.assertEqual(self.client.get(CONTACTS, query).json()["count"], 3)

    def pages(self, query: dict) -> list[str]:
        names, url = [], CONTACTS
        while url:
            response = self.client.get(url, query)
            self.assertEqual(response.status_code, 200, response.content)
            names += [c["last_name"] for c in response.json()["results"]]
            url, query = response.json()["next"], {}
        return names

    ORDERED = {
        "number": (10, 9, None, -1.5, "9", 2**53 + 1, 2**53, 0.1, 0.2),
        "money": [n and {"amount": n, "currency": "EUR"} for n in ("100", "9.5", None)],
        "date": ("2026-12-31", "2026-01-02", None, "2025-05-05"),
        "text": ("b", "a", None, "c" * 600, "c" * 599 + "d"),
        "boolean": (True, None, False, True),
    }

    def test_lists_are_ordered_by_any_kind_that_has_an_order(self):
        ranks = {}
        for kind, values in self.ORDERED.items():
            for n, value in enumerate(values):
                self.make(f"{kind}{n}", **{kind: value})
                ranks[f"{kind}{n}"] = self.rank(value)
        for kind in self.ORDERED:
            self.define(kind, kind)
        for kind in self.ORDERED:
            made = {name for name in ranks if name.startswith(kind)}
            for sign in ("", "-"):
                for start in ({"page_size": 2}, {"page_size": 2, "cursor": ""}):
                    with self.subTest(f"{sign}{kind} {start}"):
                        query = {"ordering": f"{sign}custom_fields.{kind},last_name"}
                        found = self.pages(
                            {**query, "last_name__icontains": kind, **start}
                        )
                        self.assertEqual((len(found), set(found)), (len(made), made))
                        values = [ranks[name] for name in found]
                        some = [value for value in values if value is not None]
                        self.assertEqual(some, sorted(some, reverse=bool(sign)))
                        self.assertEqual(values[: len(some)], some)

    @staticmethod
    def rank(value):
        if isinstance(value, dict):
            return float(value["amount"])
        if value == "9":
            return None
        return value[:500] if isinstance(value, str) else value

    def test_a_cursor_goes_back_and_over_filters(self):
        self.define()
        for n in range(5):
            self.make("ABCDE"[n], size=n % 2)
        query = {"ordering": "-custom_fields.size", "page_size": 2, "cursor": ""}
        query["custom_fields.size__isnull"] = "false"
        first = self.client.get(CONTACTS, query).json()
        second = self.client.get(first["next"]).json()
        back = self.client.get(second["previous"]).json()
        self.assertEqual(back["results"], first["results"])

    def test_what_is_unknown_archived_or_hidden_is_refused_alike(self):
        self.define("old", is_archived=True)
        self.define()
        limits = {"contact": {"hidden": ["custom_fields.size"]}}
        role = make_role(self.cast.organization, "limited", ALL, limits)
        limited = client_of(make_user(self.cast.organization, "limited", role))
        for client, key in (
            (self.client, "never"),
            (self.client, "old"),
            (limited, "size"),
            (self.client, "size__"),
            (self.client, "size__icontains"),
            (self.client, "size'"),
            (self.client, ""),
        ):
            with self.subTest(key):
                name = f"custom_fields.{key}"
                response = client.get(CONTACTS, {name: "1"})
                self.assertErrors(response, (name, "unknown_parameter"))
                response = client.get(CONTACTS, {"ordering": name})
                self.assertErrors(response, ("ordering", "unknown_ordering"))
        self.define("keeper", "user")
        response = self.client.get(CONTACTS, {"ordering": "custom_fields.keeper"})
        self.assertErrors(response, ("ordering", "unknown_ordering"))

    def test_wrong_values_are_named(self):
        for kind in CustomField.Kind.values:
            self.define(kind, kind)
        for name, value, code in (
            ("number", "x", "invalid"),
            ("number", "NaN", "invalid"),
            ("number", "1e30", "max_value"),
            ("number__in", "1,x", "invalid"),
            ("number", "", "blank"),
            ("number__isnull", "1", "invalid"),
            ("money", "EUR", "invalid"),
            ("date", "31.12.2026", "invalid"),
            ("boolean", "1", "invalid"),
            ("user", "x", "invalid"),
            ("text", "x" * 500, "max_length"),
            ("text", "a\0", "null_characters_not_allowed"),
            ("multi_choice", "\0", "null_characters_not_allowed"),
        ):
            with self.subTest(f"{name}={value[:20]}"):
                name = f"custom_fields.{name}"
                response = self.client.get(CONTACTS, {name: value})
                self.assertErrors(response, (name, code))


class ColumnTests(CustomFieldTestCase):
    """Cells of files: what a value is there, and what is meant by one."""

    def column(self, kind, **values):
        self.define(kind, kind, **values)
        definitions.forget(self.cast.organization)
        found = definitions.columns(self.cast.organization, "contact")
        return found[f"custom_fields.{kind}"]

    def test_cells_are_read_and_written(self):
        bob = self.cast.bob
        for kind, value, text, cells in (
            ("number", 1234.5, "1234.5", ["1,234.5", "1.234,5", "1 234,5", "1234.50"]),
            ("date", "2026-12-31", "2026-12-31", ["31.12.2026", "12/31/2026"]),
            ("boolean", True, "true", ["yes", "1", "TRUE", "Y"]),
            ("choice", "gold", "Gold", ["gold", "GOLD"]),
            ("multi_choice", ["gold", "tin"], "Gold; Tin", ["gold,tin", "Gold;tin;"]),
            ("user", str(bob.pk), bob.email, [bob.email.upper(), str(bob.pk)]),
            (
                "money",
                {"amount": "1234.50", "currency": "EUR"},
                "1234.50 EUR",
                ["EUR 1.234,50", "1,234.50 eur"],
            ),
            ("text", "a b", "a b", [" a b "]),
        ):
            column = self.column(kind)
            with self.subTest(kind):
                self.assertEqual(column.text({kind: value}), text)
                self.assertEqual(column.text({}), "")
                for cell in (text, *cells):
                    self.assertEqual(column.value(cell), value, cell)

    def test_numbers_have_either_separator(self):
        column = self.column("number")
        for cell, value in (
            ("1,5", 1.5),
            ("1.5", 1.5),
            ("1,234", 1234),
            ("1.234.567", 1234567),
            ("-3", -3),
            ("1'000", 1000),
        ):
            self.assertEqual(column.value(cell), value, cell)

    def test_what_a_cell_may_mean_twice_is_refused(self):
        for kind, cells, code in (
            ("date", ["01/02/2026"], "ambiguous_date"),
            ("number", ["x", "1.2.3,4,5", "--1"], "not_a_number"),
            ("boolean", ["maybe"], "not_a_boolean"),
        ):
            column = self.column(kind)
            for cell in cells:
                with self.subTest(cell), self.assertRaises(Exception) as raised:
                    column.value(cell)
                self.assertEqual(raised.exception.code, code)


class IndexTests(CustomFieldTestCase):
    """The index of a field follows its definition, by a job."""

    def indexes(self) -> set[str]:
        with connection.cursor() as cursor:
            constraints = connection.introspection.get_constraints(
                cursor, "contact_management_contact"
            )
        return {name for name in constraints if name.startswith("custom_")}

    def run_job(self):
        job = Job.objects.get(status=Job.Status.QUEUED)
        # PostgreSQL makes no index over rows whose references it has yet to check.
        connection.check_constraints()
        with mock.patch("core.jobs.PAUSE_SECONDS", 0):
            jobs.run(job.pk)
        job.refresh_from_db()
        return job

    def ask(self, field, **values) -> dict:
        response = self.client.patch(f"{FIELDS}{field.pk}/", values)
        self.assertEqual(response.status_code, 200, response.content)
        return response.json()

    def status(self, field) -> str:
        return self.client.get(f"{FIELDS}{field.pk}/").json()["index_status"]

    def test_an_index_is_made_when_asked_for_and_dropped_with_the_field(self):
        for kind in CustomField.Kind.values:
            field = self.define(kind, kind)
            if not indexing.is_possible(field):
                continue
            with self.subTest(kind):
                self.assertEqual(
                    self.ask(field, is_indexed=True)["index_status"], "none"
                )
                self.assertEqual(self.run_job().status, "done")
                self.assertEqual(self.status(field), "ready")
                name = f"custom_{field.pk.hex}"
                is_postgresql = connection.vendor == "postgresql"
                has_both = is_postgresql and KINDS[kind].is_sortable
                both = {name, f"{name}_down"}
                self.assertEqual(self.indexes(), both if has_both else {name})
                self.make(
                    "A" * 9,
                    **({"text": "\N{GRINNING FACE}" * 5000} if kind == "text" else {}),
                )
                self.client.delete(f"{FIELDS}{field.pk}/")
                self.assertEqual(self.run_job().status, "done")
                self.assertEqual(self.status(field), "none")
                self.assertEqual(self.indexes(), set())

    def test_nothing_is_done_where_all_is_so_already(self):
        field = self.define()
        self.ask(field, label="Height", is_required=True)
        self.assertFalse(Job.objects.exists())

    def test_a_database_that_forbids_it_is_said_so(self):
        field = self.define()
        self.ask(field, is_indexed=True)

        class Forbidden(Exception):
            pgcode = "42501"

        from django.db.utils import ProgrammingError

        error = ProgrammingError("permission denied")
        error.__cause__ = Forbidden()
        with mock.patch.object(indexing, "create_sql", side_effect=error):
            job = self.run_job()
        self.assertEqual(job.status, "failed")
        self.assertEqual(job.error["code"], "index_not_allowed")
        self.assertEqual(self.status(field), "failed")
        last = Change.objects.filter(record_id=field.pk).latest("id")
        self.assertEqual(last.after, {"index_status": "failed"})

    def test_filters_and_ordering_match_the_index(self):
        if connection.vendor != "postgresql":
            self.skipTest("SQLite's planner is not asked.")
        for kind, queries in {
            "number": {"": "5", "__gte": "5", "__in": "5,6"},
            "money": {"__gt": "5"},
            "date": {"": "2026-01-01", "__lt": "2026-01-01"},
            "text": {"": "x"},
            "choice": {"__in": "gold,tin"},
            "boolean": {"": "true"},
            "user": {"": "me"},
            "multi_choice": {"": "gold"},
        }.items():
            field = self.define(kind, kind)
            self.ask(field, is_indexed=True)
            self.run_job()
            for lookup, value in queries.items():
                with self.subTest(f"{kind}{lookup}"):
                    plan = self.plan({f"custom_fields.{kind}{lookup}": value})
                    self.assertIn(f"custom_{field.pk.hex}", plan)
            if kind in ListTests.ORDERED:
                for sign, ending in (("", " "), ("-", "_down ")):
                    with self.subTest(f"ordering by {sign}{kind}"):
                        plan = self.plan({"ordering": f"{sign}custom_fields.{kind}"})
                        self.assertIn(f"custom_{field.pk.hex}{ending}", plan)
                        self.assertNotIn("Seq Scan", plan)
            # Of a few rows any index gives all: one at a time.
            self.ask(field, is_indexed=False)
            self.run_job()

    def plan(self, query: dict) -> str:
        """How PostgreSQL would find the rows, had it enough of them."""
        with CaptureQueriesContext(connection) as captured:
            self.assertEqual(
                self.client.get(CONTACTS, {"cursor": "", **query}).status_code, 200
            )
        [sql] = [
            q["sql"] for q in captured if "LIMIT" in q["sql"] and "jsonb" in q["sql"]
        ]
        connection.check_constraints()
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            table = "contact_management_contact"
            found = connection.introspection.get_constraints(cursor, table)
            for name, constraint in found.items():
                if not (constraint["unique"] or constraint["check"]) and (
                    constraint["index"] and not name.startswith("custom_")
                ):
                    cursor.execute(f'DROP INDEX "{name}"')
            cursor.execute(f"EXPLAIN {sql}")
            return "\n".join(line for (line,) in cursor.fetchall())
