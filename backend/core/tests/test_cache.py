import time
from functools import partial
from unittest import mock, skipUnless

from django.conf import settings
from django.db import connection
from django.test import TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext

from contact_management.models import Company, Contact
from core import cache
from core.models import ChangeSet
from core.redis import rest
from core.testing import (
    OWN,
    Cast,
    client_of,
    make_role,
    make_team,
    make_user,
    system_changes,
)

PATH = "/api/contacts/"


class CacheTestCase(TransactionTestCase):
    def setUp(self):
        # Organizations are new in each test, so nothing is left from another.
        self.cast = Cast()
        self.alice = client_of(self.cast.alice)
        self.enterContext(mock.patch.object(rest, "until", 0.0))
        self.addCleanup(cache.overdue.clear)

    def make(self, name="Ada", **fields) -> Contact:
        contact = Contact()
        with system_changes(self.cast.organization) as changes:
            changes.save(
                contact,
                **{
                    "first_name": name,
                    "last_name": "King",
                    "owner": self.cast.alice,
                    **fields,
                },
            )
        return contact

    def edit(self, record, **fields):
        with system_changes(self.cast.organization) as changes:
            changes.save(record, **fields)

    def get(self, client=None, path=PATH, **query):
        """The answer, and how many queries it took."""
        with CaptureQueriesContext(connection) as queries:
            response = (client or self.alice).get(path, query)
        self.assertEqual(response.status_code, 200, response.content)
        return response, len(queries)

    def names(self, client=None, **query):
        response, _ = self.get(client, **query)
        return sorted(r["first_name"] for r in response.json()["results"])

    def assertCached(self, cached: bool, client=None, path=PATH, **query):
        response, queries = self.get(client, path, **query)
        self.assertEqual(queries == 0, cached, queries)
        return response


@skipUnless(settings.REDIS_URL, "needs Redis")
class SharedCacheTests(CacheTestCase):
    def test_the_second_read_asks_no_database(self):
        contact = self.make()
        for path in (PATH, f"{PATH}{contact.pk}/"):
            with self.subTest(path):
                first = self.assertCached(False, path=path)
                second = self.assertCached(True, path=path)
                self.assertEqual(second.content, first.content)
                self.assertEqual(second["ETag"], first["ETag"])
                self.assertEqual(second["Content-Type"], first["Content-Type"])

    def test_a_cached_answer_is_304_where_the_client_has_it(self):
        self.make()
        etag = self.get()[0]["ETag"]
        with self.assertNumQueries(0):
            answer = self.alice.get(PATH, HTTP_IF_NONE_MATCH=etag)
        self.assertEqual((answer.status_code, answer["ETag"]), (304, etag))

    def test_each_kind_of_write_makes_the_next_read_fresh(self):
        record = self.alice.post(PATH, {"last_name": "King", "first_name": "a"}).json()
        address = f"{PATH}{record['id']}/"

        def undo():
            newest = ChangeSet.objects.latest("created_at")
            return self.alice.post(f"/api/change-sets/{newest.pk}/undo/")

        writes = (
            (lambda: self.alice.patch(address, {"first_name": "b"}), ["b"]),
            (undo, ["a"]),
            (lambda: self.alice.put(address, {"last_name": "x"}), [""]),
            (lambda: self.alice.delete(address), []),
            (lambda: self.alice.post(f"{address}restore/"), [""]),
            (
                lambda: self.alice.post(PATH, {"last_name": "K", "first_name": "c"}),
                ["", "c"],
            ),
        )
        for number, (write, names) in enumerate(writes):
            with self.subTest(number):
                self.get()
                self.assertCached(True)
                self.assertLess(write().status_code, 300)
                self.assertEqual(self.names(), names)
                self.assertCached(True)

    def test_a_record_is_read_anew_when_it_changes_and_not_when_another_does(self):
        ada, bea = self.make("Ada"), self.make("Bea")
        of_ada, of_bea = f"{PATH}{ada.pk}/", f"{PATH}{bea.pk}/"
        for path in (PATH, of_ada, of_bea):
            self.get(path=path)
        self.edit(bea, first_name="Beatrix")
        self.assertCached(True, path=of_ada)
        self.assertEqual(self.get(path=of_bea)[0].json()["first_name"], "Beatrix")
        self.assertEqual(self.names(), ["Ada", "Beatrix"])

    def test_records_that_change_together_are_all_read_anew(self):
        for count in (cache.FEW_RECORDS, cache.FEW_RECORDS + 1):
            contacts = [self.make(f"{count} {place}") for place in range(count)]
            last = f"{PATH}{contacts[-1].pk}/"
            with self.subTest(count):
                self.get(path=last)
                self.assertCached(True, path=last)
                with system_changes(self.cast.organization) as changes:
                    changes.bulk_set(Contact, contacts, department="Sales")
                answer, _ = self.get(path=last)
                self.assertEqual(answer.json()["department"], "Sales")

    def test_a_record_shows_the_new_name_of_another_of_its_type(self):
        parent, child = Company(), Company()
        owner = self.cast.alice
        with system_changes(self.cast.organization) as changes:
            changes.save(parent, name="Old", owner=owner)
            changes.save(child, name="Child", parent=parent, owner=owner)
        path = f"/api/companies/{child.pk}/"
        self.get(path=path, expand="parent")
        self.assertCached(True, path=path, expand="parent")
        self.edit(parent, name="New")
        answer, _ = self.get(path=path, expand="parent")
        self.assertEqual(answer.json()["parent"]["name"], "New")

    def test_a_deleted_record_is_gone_and_restored_as_it_was(self):
        contact = self.make()
        path = f"{PATH}{contact.pk}/"
        self.get(path=path)
        self.assertEqual(self.alice.delete(path).status_code, 204)
        self.assertEqual(self.alice.get(path).status_code, 404)
        self.assertEqual(self.alice.post(f"{path}restore/").status_code, 200)
        self.assertEqual(self.get(path=path)[0].json()["deleted_at"], None)

    def test_a_refused_write_leaves_the_cache_in_use(self):
        contact = self.make()
        address = f"{PATH}{contact.pk}/"
        self.get()
        for answer in (
            self.alice.patch(address, {"status": "asleep"}),
            self.alice.patch(address, {"first_name": "b"}, HTTP_IF_MATCH='"9"'),
            self.alice.patch(address, {"first_name": contact.first_name}),
            client_of(self.cast.reader).post(PATH, {"last_name": "K"}),
        ):
            with self.subTest(answer.status_code):
                self.assertCached(True)

    def test_a_dry_run_leaves_the_cache_in_use(self):
        contact = self.make()
        self.alice.patch(f"{PATH}{contact.pk}/?dry_run=true", {"first_name": "b"})
        self.get()
        self.assertCached(True)
        self.assertEqual(self.names(), ["Ada"])

    def test_a_write_that_loses_a_race_leaves_the_cache_in_use(self):
        self.make(email="ada@example.com")
        answer = self.alice.post(PATH, {"email": "ada@example.com"})
        self.assertEqual(answer.status_code, 409)
        self.get()
        self.assertCached(True)

    # Who may share an answer

    def test_answers_are_shared_by_those_who_see_the_same(self):
        self.make()
        reader, manager = client_of(self.cast.reader), client_of(self.cast.manager)
        self.assertCached(False, reader)
        self.assertCached(True, manager)

    def test_answers_are_not_shared_by_those_who_see_other_records(self):
        self.make("a", owner=self.cast.alice)
        self.make("b", owner=self.cast.bob)
        self.make("s", owner=self.cast.stranger)
        for user, names in (
            (self.cast.manager, ["a", "b", "s"]),
            (self.cast.alice, ["a"]),
            (self.cast.bob, ["a", "b"]),
            (self.cast.stranger, ["s"]),
            (self.cast.carol, []),
        ):
            with self.subTest(user):
                client = client_of(user)
                self.assertEqual(self.names(client), names)
                self.assertEqual(self.names(client), names)

    def test_me_is_somebody_else_for_everybody(self):
        self.make("m", owner=self.cast.manager)
        self.make("r", owner=self.cast.reader)
        self.assertEqual(self.names(client_of(self.cast.manager), owner="me"), ["m"])
        self.assertEqual(self.names(client_of(self.cast.reader), owner="me"), ["r"])

    def test_whoever_joins_or_leaves_a_team_changes_what_it_sees(self):
        self.make("a", owner=self.cast.alice)
        bob = client_of(self.cast.bob)
        self.assertEqual(self.names(bob), ["a"])
        self.edit(self.cast.alice, team=None)
        self.assertEqual(self.names(bob), [])
        self.edit(self.cast.alice, team=self.cast.team)
        self.assertEqual(self.names(bob), ["a"])

    def test_teams_do_not_share_their_answers(self):
        self.make("a", owner=self.cast.alice)
        other = make_team(self.cast.organization, "Other")
        role = self.cast.bob.role
        dave = make_user(self.cast.organization, "dave", role, other)
        solo = make_user(self.cast.organization, "solo", role)
        ned = make_user(self.cast.organization, "ned", role)
        self.make("s", owner=solo)
        self.assertEqual(self.names(client_of(self.cast.bob)), ["a"])
        self.assertEqual(self.names(client_of(dave)), [])
        self.assertEqual(self.names(client_of(solo)), ["s"])
        self.assertEqual(self.names(client_of(ned)), [])

    def test_a_role_that_changes_changes_what_its_holders_see(self):
        self.make("a")
        role = make_role(self.cast.organization, "growing", OWN)
        dave = make_user(self.cast.organization, "dave", role)
        self.assertEqual(self.names(client_of(dave)), [])
        self.edit(role, rights={"*": {"view": "all"}})
        dave = type(dave).objects.select_related("role", "organization").get(pk=dave.pk)
        self.assertEqual(self.names(client_of(dave)), ["a"])

    def test_an_expanded_relation_is_fresh_too(self):
        self.make()
        self.get(expand="owner")
        self.assertCached(True, expand="owner")
        self.edit(self.cast.alice, first_name="Alicia")
        answer, _ = self.get(expand="owner")
        self.assertEqual(answer.json()["results"][0]["owner"]["first_name"], "Alicia")

    def test_a_repeated_parameter_is_refused_though_its_last_value_is_cached(self):
        self.make()
        self.get(first_name="Ada")
        answer = self.alice.get(f"{PATH}?first_name=Bea&first_name=Ada")
        self.assertEqual(answer.status_code, 400)

    def test_different_queries_have_different_answers(self):
        self.make("a")
        self.make("b")
        self.assertEqual(self.names(), ["a", "b"])
        self.assertEqual(self.names(first_name="a"), ["a"])
        self.assertEqual(self.names(first_name="b"), ["b"])
        self.assertEqual(self.names(page_size=1, ordering="first_name"), ["a"])
        self.assertEqual(self.names(page_size=1, ordering="-first_name"), ["b"])

    def test_other_types_and_organizations_are_left_alone(self):
        self.make()
        self.get()
        with ChangeSet.open(actor=self.cast.carol, source="system") as changes:
            changes.save(Contact(), last_name="Boole")
        self.alice.post("/api/tags/", {"name": "vip"})
        self.assertCached(True)


@skipUnless(settings.REDIS_URL, "needs Redis")
class OwnListTests(CacheTestCase):
    """A list of one's own stands while others work on what is theirs."""

    def setUp(self):
        super().setUp()
        self.manager = client_of(self.cast.manager)
        self.mine = self.make("Mine", owner=self.cast.manager)
        self.hers = self.make("Hers")

    def own(self, **query) -> list[str]:
        return self.names(self.manager, owner="me", **query)

    def assertStands(self, stands: bool, **query):
        self.assertCached(stands, self.manager, owner="me", **query)

    def bulk_set(self, contacts, **values):
        with system_changes(self.cast.organization) as changes:
            changes.bulk_set(Contact, contacts, **values)

    def test_what_others_change_of_theirs_leaves_it_in_use(self):
        self.own()
        self.names(self.manager)
        self.edit(self.hers, first_name="B")
        self.bulk_set([self.hers], department="Sales")
        self.make("C")
        self.assertStands(True)
        self.assertEqual(self.names(self.manager), ["B", "C", "Mine"])

    def test_each_change_of_ones_own_shows(self):
        def delete():
            with system_changes(self.cast.organization) as changes:
                changes.delete(self.mine)

        def restore():
            with system_changes(self.cast.organization) as changes:
                changes.restore(self.mine)

        manager = self.cast.manager
        writes = (
            (lambda: self.edit(self.mine, first_name="New"), ["New"]),
            (lambda: self.make("Second", owner=manager), ["New", "Second"]),
            (delete, ["Second"]),
            (restore, ["New", "Second"]),
            (lambda: self.edit(self.hers, owner=manager), ["Hers", "New", "Second"]),
            (lambda: self.edit(self.hers, owner=self.cast.alice), ["New", "Second"]),
            (
                lambda: self.bulk_set([self.hers], owner=manager.pk),
                ["Hers", "New", "Second"],
            ),
            (
                lambda: self.bulk_set([self.hers, self.mine], owner=self.cast.bob.pk),
                ["Second"],
            ),
        )
        for number, (write, names) in enumerate(writes):
            with self.subTest(number):
                self.own()
                self.assertStands(True)
                write()
                for record in (self.mine, self.hers):
                    record.refresh_from_db()
                self.assertEqual(self.own(), names)
                self.assertStands(True)

    def test_many_that_change_together_end_it_whosever_they_are(self):
        contacts = [self.make(f"C{n}") for n in range(cache.FEW_RECORDS + 1)]
        self.own()
        self.bulk_set(contacts, owner=self.cast.manager.pk)
        self.assertEqual(len(self.own()), len(contacts) + 1)

    def test_what_it_shows_of_others_is_fresh(self):
        company = Company()
        self.edit(company, name="Old", owner=self.cast.alice)
        self.edit(self.mine, company=company)
        query = {"owner": "me", "expand": "company"}

        def shown():
            answer, _ = self.get(self.manager, **query)
            return answer.json()["results"][0]["company"]["name"]

        self.assertEqual(shown(), "Old")
        self.edit(company, name="New")
        self.assertEqual(shown(), "New")

    def test_a_search_among_ones_own_takes_no_chance(self):
        self.own(search="mine")
        self.make("Mime")
        self.assertStands(False, search="mine")

    def test_a_colleague_has_a_list_of_their_own(self):
        for client, names in ((self.manager, ["Mine"]), (self.alice, ["Hers"])):
            self.assertEqual(self.names(client, owner="me"), names)
        self.edit(self.hers, first_name="New")
        self.assertStands(True)
        self.assertEqual(self.names(owner="me"), ["New"])


@skipUnless(settings.REDIS_URL, "needs Redis")
class ProtocolTests(CacheTestCase):
    """The interleavings of readers and writers, step by step."""

    TYPES = ("contact",)

    def find(self, key="k", types=TYPES):
        return cache.find(self.cast.organization.pk, types, key)

    def mark(self, types=TYPES):
        return cache.mark(self.cast.organization.pk, types)

    def setUp(self):
        super().setUp()
        from django_redis import get_redis_connection

        self.redis = get_redis_connection("default")

    def test_what_is_stored_is_found(self):
        slot = self.find()
        self.assertIsNone(slot.answer)
        cache.store(slot, b"answer")
        self.assertEqual(self.find().answer, b"answer")
        self.assertIsNone(self.find("other").answer)

    def test_a_redis_that_began_anew_is_asked_at_once(self):
        cache.store(self.find(), b"answer")
        self.redis.script_flush()
        self.assertEqual(self.find().answer, b"answer")
        # It closes all connections as it ends.
        self.redis.client_kill_filter(_type="normal", skipme=False)
        # It answers before it has closed them.
        time.sleep(0.05)
        self.assertEqual(self.find().answer, b"answer")

    def test_no_more_is_given_than_is_enough(self):
        cache.store(self.find(), b"answer")
        again = partial(cache.find_again, self.cast.organization.pk, self.TYPES, "k")
        for enough, given in (("", "answer"), ("ans", "ans"), ("swer", "answer")):
            self.assertEqual(again(cache.NOTHING, enough).answer, given.encode())

    def test_while_a_mark_stands_the_cache_is_neither_used_nor_filled(self):
        cache.store(self.find(), b"old")
        mark = self.mark()
        self.assertIsNone(self.find())
        cache.store(self.find(), b"never")
        cache.lift(mark)
        self.assertIsNone(self.find().answer)

    def test_after_the_mark_is_lifted_the_cache_is_used_again(self):
        cache.lift(self.mark())
        cache.store(self.find(), b"new")
        self.assertEqual(self.find().answer, b"new")

    def test_the_cache_rests_until_the_last_of_several_writers_is_done(self):
        first, second = self.mark(), self.mark()
        cache.lift(first)
        self.assertIsNone(self.find())
        cache.lift(second)
        self.assertIsNotNone(self.find())

    def test_a_reader_that_began_before_the_write_stores_where_nobody_looks(self):
        slow = self.find()
        mark = self.mark()
        cache.store(slow, b"old")
        self.assertIsNone(self.find())
        cache.lift(mark)
        self.assertIsNone(self.find().answer)
        cache.store(slow, b"old")
        self.assertIsNone(self.find().answer)

    def test_a_reader_between_a_lapsed_mark_and_the_commit_poisons_nothing(self):
        """The commit took longer than its mark lived; the lift makes good for it."""
        mark = self.mark()
        self.redis.delete(*(f"{key}:marks" for key in mark.keys))
        slow = self.find()
        cache.store(slow, b"from before the commit")
        cache.lift(mark)
        self.assertIsNone(self.find().answer)

    def test_a_writer_that_died_after_its_commit_leaves_no_old_answer(self):
        cache.store(self.find(), b"from before the commit")
        mark = self.mark()
        self.redis.delete(*(f"{key}:marks" for key in mark.keys))
        self.assertIsNone(self.find().answer)

    def test_a_mark_whose_writer_died_lapses(self):
        with mock.patch.object(cache, "MARK_SECONDS", -2):
            self.mark()
        self.assertIsNotNone(self.find())

    def test_tokens_answers_and_marks_expire(self):
        slot = self.find()
        cache.store(slot, b"answer")
        mark = self.mark()
        [key] = mark.keys
        self.assertTrue(0 < self.redis.ttl(slot.name) <= cache.ANSWER_SECONDS)
        self.assertTrue(0 < self.redis.ttl(f"{key}:marks") <= 2 * cache.MARK_SECONDS)
        cache.lift(mark)
        self.find()
        self.assertTrue(0 < self.redis.ttl(key) <= cache.TOKEN_SECONDS)

    def test_after_a_flush_the_answers_are_made_again(self):
        cache.store(self.find(), b"answer")
        [key] = cache._version_keys(self.cast.organization.pk, self.TYPES)
        self.redis.delete(key)
        self.assertIsNone(self.find().answer)

    def test_an_answer_of_several_types_goes_with_any_of_them(self):
        both = ("contact", "user")
        for written in both:
            with self.subTest(written):
                cache.store(self.find(types=both), b"answer")
                self.assertEqual(self.find(types=both).answer, b"answer")
                mark = self.mark((written,))
                self.assertIsNone(self.find(types=both))
                cache.lift(mark)
                self.assertIsNone(self.find(types=both).answer)

    def test_the_order_in_which_types_are_named_does_not_matter(self):
        cache.store(self.find(types=("user", "contact")), b"answer")
        self.assertEqual(self.find(types=("contact", "user")).answer, b"answer")

    def test_other_organizations_have_versions_of_their_own(self):
        cache.store(self.find(), b"answer")
        cache.lift(cache.mark(self.cast.other_organization.pk, self.TYPES))
        self.assertEqual(self.find().answer, b"answer")
        theirs = cache.find(self.cast.other_organization.pk, self.TYPES, "k")
        self.assertIsNone(theirs.answer)

    def test_a_read_during_an_open_transaction_neither_uses_nor_fills(self):
        contact = self.make()
        self.get()
        self.assertCached(True)
        with ChangeSet.open(
            organization=self.cast.organization, source="system"
        ) as changes:
            changes.save(contact, first_name="Augusta")
            # Nothing is announced yet: the old answer is still the right one.
            self.assertEqual(self.names(), ["Ada"])
        self.assertEqual(self.names(), ["Augusta"])


@skipUnless(settings.REDIS_URL, "needs Redis")
class PartsTests(CacheTestCase):
    """An answer whose parts are made from versions of their own."""

    PARTS = {"a": {"contact@a", "team"}, "b": {"contact@b", "team"}}

    def setUp(self):
        super().setUp()
        self.number = 0

    def parts(self, names=PARTS, key="k") -> tuple[list[str], dict]:
        """Which parts were made, and all."""
        made = []

        def make(missing):
            made.extend(missing)
            self.number += 1
            return dict.fromkeys(missing, self.number)

        found = cache.kept_parts(self.cast.organization.pk, names, key, make)
        return sorted(made), found

    def change(self, *names):
        cache.lift(cache.mark(self.cast.organization.pk, names))

    def test_a_part_is_made_where_it_changed_only(self):
        self.assertEqual(self.parts(), (["a", "b"], {"a": 1, "b": 1}))
        self.assertEqual(self.parts(), ([], {"a": 1, "b": 1}))
        self.change("contact@a")
        self.assertEqual(self.parts(), (["a"], {"a": 2, "b": 1}))
        self.change("team")
        self.assertEqual(self.parts(), (["a", "b"], {"a": 3, "b": 3}))
        self.assertEqual(self.parts(), ([], {"a": 3, "b": 3}))

    def test_a_part_that_comes_is_made_and_one_that_goes_is_forgotten(self):
        self.parts({"a": {"contact@a"}})
        self.assertEqual(self.parts(), (["a", "b"], {"a": 2, "b": 2}))
        self.assertEqual(self.parts({"b": self.PARTS["b"]}), ([], {"b": 2}))
        self.change("contact@b")
        self.parts({"b": self.PARTS["b"]})
        self.assertEqual(self.parts(), (["a"], {"a": 4, "b": 3}))

    def test_while_a_change_of_it_is_announced_a_part_is_neither_used_nor_kept(self):
        self.parts()
        mark = cache.mark(self.cast.organization.pk, ["contact@a"])
        self.assertEqual(self.parts(), (["a"], {"a": 2, "b": 1}))
        self.assertEqual(self.parts(), (["a"], {"a": 3, "b": 1}))
        cache.lift(mark)
        self.assertEqual(self.parts(), (["a"], {"a": 4, "b": 1}))
        self.assertEqual(self.parts(), ([], {"a": 4, "b": 1}))

    def test_what_was_begun_before_a_change_is_not_used_after_it(self):
        def make(missing):
            self.change("contact@a")
            return dict.fromkeys(missing, "old")

        cache.kept_parts(self.cast.organization.pk, self.PARTS, "k", make)
        self.assertEqual(self.parts(), (["a"], {"a": 1, "b": "old"}))

    def test_other_keys_and_organizations_have_parts_of_their_own(self):
        self.parts()
        self.assertEqual(self.parts(key="other")[0], ["a", "b"])
        self.cast = Cast()
        self.assertEqual(self.parts()[0], ["a", "b"])

    def test_there_may_be_many_parts(self):
        names = {str(n): {f"contact@{n}", "team"} for n in range(9000)}
        self.assertEqual(len(self.parts(names)[0]), 9000)
        self.change("contact@1999")
        made, found = self.parts(names)
        self.assertEqual((made, len(found)), (["1999"], 9000))

    def test_without_redis_all_are_made(self):
        with override_settings(REDIS_URL=""):
            self.assertEqual(self.parts(), (["a", "b"], {"a": 1, "b": 1}))
            self.assertEqual(self.parts(), (["a", "b"], {"a": 2, "b": 2}))


@skipUnless(settings.REDIS_URL, "needs Redis")
class AwayTests(CacheTestCase):
    """Redis is not there, or stops being there."""

    def away(self):
        """Nothing listens on port 1."""
        caches = {
            "default": {
                **settings.CACHES["default"],
                "LOCATION": "redis://127.0.0.1:1/0",
            }
        }
        return override_settings(CACHES=caches)

    def test_without_redis_the_answers_are_right(self):
        contact = self.make()
        self.get()
        with self.away(), self.assertLogs("core.cache", "WARNING"):
            self.assertEqual(self.names(), ["Ada"])
            answer = self.alice.patch(f"{PATH}{contact.pk}/", {"first_name": "Bea"})
            self.assertEqual(answer.status_code, 200)
            self.assertEqual(self.names(), ["Bea"])

    def test_a_write_that_redis_did_not_hear_of_is_told_once_it_is_back(self):
        """Others may have reached it all the time."""
        contact = self.make()
        self.get()
        self.assertCached(True)
        with self.away(), self.assertLogs("core.cache", "WARNING"):
            self.edit(contact, first_name="Bea")
        rest.until = 0.0
        self.assertCached(False)
        self.assertEqual(self.names(), ["Bea"])
        self.assertFalse(cache.overdue)

    def test_a_redis_that_failed_is_left_alone_for_a_moment(self):
        from django_redis import get_redis_connection

        self.make()
        with (
            self.away(),
            mock.patch(
                "django_redis.get_redis_connection", wraps=get_redis_connection
            ) as connect,
        ):
            with self.assertLogs("core.cache", "WARNING"):
                self.get()
            asked = connect.call_count
            self.assertEqual(asked, 1)
            for _ in range(3):
                self.get()
            self.assertEqual(connect.call_count, asked)
            rest.until = 0.0
            with self.assertLogs("core.cache", "WARNING"):
                self.get()
            self.assertEqual(connect.call_count, asked + 1)

    def test_the_etag_is_the_same_with_and_without_redis(self):
        self.make()
        shared = self.get()[0]["ETag"]
        with self.away(), self.assertLogs("core.cache", "WARNING"):
            self.assertEqual(self.get()[0]["ETag"], shared)


class NoCacheTests(TestCase):
    """Without Redis every answer is computed, and has an ETag all the same."""

    def setUp(self):
        self.cast = Cast()
        self.alice = client_of(self.cast.alice)
        patch = override_settings(REDIS_URL="")
        patch.enable()
        self.addCleanup(patch.disable)

    def test_every_answer_is_computed_and_its_etag_tells_its_bytes(self):
        record = self.alice.post(PATH, {"last_name": "King"}).json()
        for path in (PATH, f"{PATH}{record['id']}/"):
            with self.subTest(path):
                first = self.alice.get(path)
                with CaptureQueriesContext(connection) as queries:
                    second = self.alice.get(path)
                self.assertGreater(len(queries), 0)
                self.assertEqual(
                    (second["ETag"], second.content), (first["ETag"], first.content)
                )
                same = self.alice.get(path, HTTP_IF_NONE_MATCH=first["ETag"])
                self.assertEqual(same.status_code, 304)
        self.alice.patch(f"{PATH}{record['id']}/", {"first_name": "Ada"})
        self.assertNotEqual(self.alice.get(path)["ETag"], first["ETag"])

    def test_find_gives_no_slot_and_storing_does_nothing(self):
        self.assertIsNone(cache.find(self.cast.organization.pk, ["contact"], "k"))
        cache.store(None, b"answer")
        cache.lift(cache.mark(self.cast.organization.pk, ["contact"]))
        self.assertIsNone(cache.find(self.cast.organization.pk, ["contact"], "k"))
