from collections import Counter
from functools import partial
from unittest import skipUnless

from django.db import connection
from django.test import TestCase, TransactionTestCase

from contact_management.models import Contact
from core.models import Change
from core.testing import Cast, client_of
from core.tests.test_races import THREADS, at_once

PATH = "/api/contacts/"
ADA = f"{PATH}by/hubspot/4711/"


class ByExternalIdTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        self.alice = client_of(self.cast.alice)

    def make(self, client=None, **fields) -> dict:
        fields = {"last_name": "King", "external_ids": {"hubspot": "4711"}, **fields}
        answer = (client or self.alice).post(PATH, fields)
        self.assertEqual(answer.status_code, 201)
        return answer.json()

    def assertRefused(self, answer, status, code, field=None):
        self.assertEqual(answer.status_code, status, answer.content)
        problem = answer.json()
        if field:
            self.assertEqual(
                [(e["field"], e["code"]) for e in problem["errors"]], [(field, code)]
            )
        else:
            self.assertEqual(problem["code"], code)

    def test_put_creates_and_then_changes_what_is_sent(self):
        first = self.alice.put(ADA, {"last_name": "King", "notes": "Met in 1833"})
        record = first.json()
        self.assertEqual(first.status_code, 201)
        self.assertEqual(record["external_ids"], {"hubspot": "4711"})
        self.assertEqual(first["Location"], f"http://testserver{PATH}{record['id']}/")
        second = self.alice.put(ADA, {"last_name": "Lovelace"})
        changed = second.json()
        self.assertEqual(second.status_code, 200)
        self.assertEqual((changed["id"], changed["version"]), (record["id"], 2))
        self.assertEqual(changed["last_name"], "Lovelace")
        self.assertEqual(changed["notes"], "Met in 1833")
        self.assertEqual(changed["external_ids"], {"hubspot": "4711"})
        self.assertEqual(second["ETag"], self.alice.get(ADA)["ETag"])
        self.assertEqual(Contact.objects.count(), 1)

    def test_get_finds_it_and_is_conditional(self):
        record = self.make()
        answer = self.alice.get(ADA)
        self.assertEqual(answer.json(), record)
        again = self.alice.get(ADA, headers={"If-None-Match": answer["ETag"]})
        self.assertEqual(again.status_code, 304)
        self.assertEqual(
            self.alice.get(ADA, {"fields": "id"}).json(), {"id": record["id"]}
        )

    def test_an_id_is_exact_and_of_one_source(self):
        self.make()
        for address in (
            "hubspot/471/",
            "hubspot/47111/",
            "pipedrive/4711/",
            "4711/hubspot/",
        ):
            answer = self.alice.get(f"{PATH}by/{address}")
            self.assertRefused(answer, 404, "not_found")

    def test_an_id_may_hold_slashes_and_quotes(self):
        for text in ("a/b", "by/by", '"', "%25", "Ä"):
            address = f"{PATH}by/other%20system/{text.replace('%', '%25')}/"
            with self.subTest(text):
                made = self.alice.put(address, {"last_name": text})
                self.assertEqual(made.status_code, 201, made.content)
                self.assertEqual(self.alice.get(address).json(), made.json())
                self.assertEqual(self.alice.get(made["Location"]).json(), made.json())

    def test_two_matches_are_a_conflict_and_nothing_is_written(self):
        self.make()
        self.make(client_of(self.cast.manager))
        manager = client_of(self.cast.manager)
        before = Change.objects.count()
        self.assertRefused(manager.get(ADA), 409, "ambiguous")
        self.assertRefused(manager.put(ADA, {"city": "London"}), 409, "ambiguous")
        self.assertEqual(Change.objects.count(), before)

    def test_what_is_not_seen_is_not_doubled_and_not_shown(self):
        record = self.make()
        stranger = client_of(self.cast.stranger)
        self.assertRefused(stranger.get(ADA), 404, "not_found")
        self.assertRefused(stranger.put(ADA, {"last_name": "X"}), 409, "unique")
        self.assertEqual(self.alice.get(ADA).json(), record)
        self.assertEqual(Contact.objects.count(), 1)

    def test_who_sees_but_may_not_edit_is_refused(self):
        record = self.make()
        for user in (self.cast.bob, self.cast.reader):
            answer = client_of(user).put(ADA, {"last_name": "X"})
            self.assertRefused(answer, 403, "permission_denied")
        self.assertEqual(self.alice.get(ADA).json(), record)
        answer = client_of(self.cast.reader).put(f"{PATH}by/x/1/", {"last_name": "X"})
        self.assertRefused(answer, 403, "permission_denied")
        self.assertEqual(Contact.objects.count(), 1)

    def test_another_organization_has_ids_of_its_own(self):
        self.make()
        carol = client_of(self.cast.carol)
        self.assertRefused(carol.get(ADA), 404, "not_found")
        self.assertEqual(carol.put(ADA, {"last_name": "X"}).status_code, 201)
        self.assertEqual(carol.put(ADA, {"last_name": "Y"}).status_code, 200)

    def test_a_deleted_record_does_not_stand_in_the_way(self):
        record = self.make()
        self.alice.delete(f"{PATH}{record['id']}/")
        self.assertRefused(self.alice.get(ADA), 404, "not_found")
        self.assertEqual(self.alice.put(ADA, {"last_name": "X"}).status_code, 201)

    def test_if_match_holds_and_wants_a_record(self):
        answer = self.alice.put(ADA, {"last_name": "X"}, headers={"If-Match": "*"})
        self.assertRefused(answer, 412, "stale")
        self.assertFalse(Contact.objects.exists())
        self.make()
        etag = self.alice.get(ADA)["ETag"]
        for status in (200, 412):
            answer = self.alice.put(
                ADA, {"city": str(status)}, headers={"If-Match": etag}
            )
            self.assertEqual(answer.status_code, status)
        self.assertEqual(self.alice.get(ADA).json()["city"], "200")

    def test_a_dry_run_changes_nothing(self):
        answer = self.alice.put(f"{ADA}?dry_run=true", {"last_name": "X"})
        self.assertEqual((answer.status_code, answer["Dry-Run"]), (201, "true"))
        self.assertFalse(Contact.objects.exists())

    def test_bad_input_is_named(self):
        for body, field, code in (
            ({"last_name": "X", "surprise": 1}, "surprise", "unknown_field"),
            ({"email": "no"}, "email", "invalid"),
            ({"external_ids": {"hubspot": "1"}}, "external_ids", "mismatch"),
            ({"external_ids": None}, "external_ids", "mismatch"),
            ({"external_ids": []}, "external_ids", "mismatch"),
        ):
            with self.subTest(body):
                self.assertRefused(self.alice.put(ADA, body), 400, code, field)
        for body in ([], None, 1, "x"):
            self.assertEqual(self.alice.put(ADA, body, format="json").status_code, 400)
        for address, field, code in (
            (f"{PATH}by/hubspot/{'x' * 101}/", "external_id", "max_length"),
            (f"{PATH}by/{'x' * 101}/1/", "source", "max_length"),
            (f"{PATH}by/hubspot/%00/", "external_id", "invalid"),
        ):
            for call in (self.alice.get, self.alice.put):
                self.assertRefused(call(address), 400, code, field)
        self.assertRefused(
            self.alice.get(f"{ADA}?surprise=1"), 400, "unknown_parameter", "surprise"
        )
        self.assertFalse(Contact.objects.exists())

    def test_types_without_external_ids_have_no_such_address(self):
        self.assertEqual(self.alice.get("/api/tags/by/hubspot/1/").status_code, 404)

    @skipUnless(connection.vendor == "postgresql", "SQLite scans")
    def test_an_index_answers_it(self):
        with connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off")
            found = Contact.objects.filter(external_ids__has=[("hubspot", "4711")])
            self.assertIn("contact_collections", found.explain())


@skipUnless(connection.vendor == "postgresql", "needs connections that wait for locks")
class ByExternalIdRaceTests(TransactionTestCase):
    def setUp(self):
        self.cast = Cast()

    def test_of_many_who_put_a_new_id_one_creates_and_the_others_change(self):
        def put(number):
            client = client_of(self.cast.alice)
            return client.put(ADA, {"last_name": f"King {number}"})

        answers = at_once(*(lambda n=n: put(n) for n in range(THREADS)))
        self.assertEqual(
            Counter(a.status_code for a in answers), {201: 1, 200: THREADS - 1}
        )
        self.assertEqual(Contact.objects.get().version, THREADS)

    def test_of_many_contacts_of_a_new_company_each_has_the_same_one(self):
        def make(number, wish):
            body = {"last_name": f"King {number}", **wish}
            return client_of(self.cast.alice).post(PATH, body)

        for wish in (
            {"company_domain": "engines.example"},
            {"company_external_id": {"hubspot": "1"}, "company_name": "Engines"},
        ):
            with self.subTest(wish):
                answers = at_once(*(partial(make, n, wish) for n in range(THREADS)))
                self.assertEqual({a.status_code for a in answers}, {201})
                self.assertEqual(len({a.json()["company"] for a in answers}), 1)
