"""Pages of lists stand until what they show changes, or which records that are."""

from functools import partial
from itertools import product
from unittest import mock, skipUnless

from django.conf import settings
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from contact_management.models import Company, Contact
from core import cache
from core.models import ChangeSet
from core.testing import client_of, system_changes
from lead_management.models import Lead
from user_management.models import User
from user_management.tests.test_remembered import PATH, RememberedTestCase


@skipUnless(settings.REDIS_URL, "needs Redis")
class PageTests(RememberedTestCase):
    def setUp(self):
        super().setUp()
        self.headers = self.sign_in()
        for name in ("Bea", "Cem"):
            self.make(first_name=name, last_name=name[0], city="Bern")

    def make(self, model=Contact, **fields):
        record = model()
        named = {} if model is Company else {"last_name": "L"}
        self.edit(record, **{"owner": self.dora, **named, **fields})
        return record

    def of(self, first_name) -> Contact:
        return Contact.objects.get(first_name=first_name)

    def change(self, name, **fields):
        self.edit(self.of(name), **fields)

    def read(self, path) -> tuple[list[str], bool]:
        """The first names on the page, and whether the database was asked for them."""
        with CaptureQueriesContext(connection) as queries:
            answer, _ = self.get(self.headers, path)
        self.assertEqual(answer.status_code, 200, answer.content)
        names = [row["first_name"] for row in answer.json()["results"]]
        return names, bool(queries)

    def computed(self, path) -> bytes:
        with override_settings(REDIS_URL=""):
            return self.get(self.headers, path)[0].content

    def assertReads(self, path, names, asked):
        self.assertEqual(self.read(path), (names, asked))
        self.assertEqual(self.get(self.headers, path)[0].content, self.computed(path))

    def test_a_page_stands_while_only_others_change(self):
        newest = f"{PATH}?page_size=2"
        self.warm(self.headers, newest)
        for write, names, asked in (
            (partial(self.change, "Ada", job_title="Head"), ["Cem", "Bea"], False),
            (partial(self.change, "Ada", city="Genf"), ["Cem", "Bea"], False),
            (partial(self.change, "Bea", city="Genf"), ["Cem", "Bea"], True),
            (partial(self.make, Lead), ["Cem", "Bea"], False),
            (partial(self.make, first_name="Dag"), ["Dag", "Cem"], True),
            (partial(self.change, "Bea", last_name="X"), ["Dag", "Cem"], False),
            (partial(self.change, "Cem", first_name="Cam"), ["Dag", "Cam"], True),
            # Who has it decides who sees it.
            (partial(self.change, "Ada", owner=self.cast.bob), ["Dag", "Cam"], True),
        ):
            with self.subTest(write):
                write()
                self.assertReads(newest, names, asked)
                self.assertReads(newest, names, False)

    def test_what_a_list_asks_decides_which_records_it_shows(self):
        of_berne = f"{PATH}?city=Bern&ordering=last_name"
        self.warm(self.headers, of_berne)
        for write, names, asked in (
            (partial(self.change, "Ada", job_title="Head"), ["Bea", "Cem"], False),
            (partial(self.change, "Ada", status="inactive"), ["Bea", "Cem"], False),
            (partial(self.change, "Ada", city="Bern"), ["Bea", "Cem", "Ada"], True),
            (partial(self.change, "Ada", last_name="A"), ["Ada", "Bea", "Cem"], True),
            (partial(self.change, "Bea", city="Genf"), ["Ada", "Cem"], True),
            (partial(self.change, "Bea", job_title="Head"), ["Ada", "Cem"], False),
        ):
            with self.subTest(write):
                write()
                self.assertReads(of_berne, names, asked)

    def test_an_empty_page_fills(self):
        path = f"{PATH}?city=Rom"
        self.warm(self.headers, path)
        self.change("Ada", job_title="Head")
        self.assertReads(path, [], False)
        self.change("Ada", city="Rom")
        self.assertReads(path, ["Ada"], True)

    def test_records_come_and_go(self):
        path = f"{PATH}?page_size=2"
        self.warm(self.headers, path)
        cem = self.of("Cem")
        with system_changes(self.cast.organization) as changes:
            changes.delete(cem)
        self.assertReads(path, ["Bea", "Ada"], True)
        newest = ChangeSet.objects.latest("created_at")
        client_of(self.cast.manager).post(f"/api/change-sets/{newest.pk}/undo/")
        self.assertReads(path, ["Cem", "Bea"], True)

    def test_many_that_change_together_are_all_shown_anew(self):
        for _ in range(cache.FEW_RECORDS):
            self.make(first_name="X")
        path = f"{PATH}?page_size=1&ordering=first_name"
        self.warm(self.headers, path)
        contacts = list(Contact.objects.all())
        with system_changes(self.cast.organization) as changes:
            changes.bulk_set(Contact, contacts, department="Sales")
        self.assertReads(path, ["Ada"], True)

    def test_the_names_of_what_relations_lead_to_are_fresh(self):
        company = self.make(Company, name="Old")
        self.change("Ada", company=company)
        path = f"{PATH}?expand=company,owner&ordering=first_name"
        self.warm(self.headers, path)
        for record, fields in (
            (company, {"name": "New"}),
            (User.objects.get(pk=self.dora.pk), {"first_name": "Dorothea"}),
        ):
            self.edit(record, **fields)
            self.assertReads(path, ["Ada", "Bea", "Cem"], True)

    def test_scores_are_those_of_the_leads_that_are_shown(self):
        first = self.make(Lead, first_name="Eva")
        self.make(Lead, first_name="Fay")
        path = "/api/leads/?page_size=1"
        self.warm(self.headers, path)
        organization = self.cast.organization.pk
        for pk, asked in (
            (first.pk, False),
            (Lead.objects.get(first_name="Fay").pk, True),
        ):
            names = cache.names_of("leadscore", [pk])
            self.assertIn("leadscore", names)
            cache.lift(cache.mark(organization, names))
            self.assertEqual(self.read(path), (["Fay"], asked))

    def test_all_kinds_of_lists_after_all_kinds_of_writes(self):
        asked = (
            *("", "?page_size=1&page=2", "?city=Bern", "?city__in=Bern,Genf"),
            *("?ordering=last_name,-city", "?ordering=-updated_at", "?search=bern"),
            *("?owner=me", "?fields=first_name", "?expand=owner", "?deleted=true"),
            *("?created_at__gte=2020-01-01T00:00:00Z", "?tags=vip", "?cursor="),
        )
        writes = (
            partial(self.change, "Ada", job_title="Head"),
            partial(self.change, "Bea", city="Genf"),
            partial(self.change, "Cem", last_name="A", tags=["vip"]),
            partial(self.make, first_name="Dag", city="Bern"),
            partial(self.change, "Dag", owner=self.cast.bob),
        )
        for path in asked:
            self.get(self.headers, PATH + path)
        for write in writes:
            write()
            for path, _ in product(asked, range(2)):
                with self.subTest(path, write=write):
                    answer, _ = self.get(self.headers, PATH + path)
                    self.assertEqual(answer.content, self.computed(PATH + path))


@skipUnless(settings.REDIS_URL, "needs Redis")
class ProtocolOfPagesTests(RememberedTestCase):
    """The interleavings of who reads pages and who writes what they show."""

    def setUp(self):
        super().setUp()
        from django_redis import get_redis_connection

        self.redis = get_redis_connection("default")
        self.names = {"contact.id", *cache.names_of_shown("contact")}

    def find(self):
        return cache.find(self.cast.organization.pk, self.names, "k")

    def store(self, slot, *shown):
        cache.store(slot, b"answer", shown)

    def mark(self, *ids, **more):
        names = cache.names_of("contact", ids, **more)
        return cache.mark(self.cast.organization.pk, names)

    def write(self, *ids, **more):
        cache.lift(self.mark(*ids, **more))

    def assertFound(self, found):
        self.assertEqual(self.find().answer, b"answer" if found else None)

    def test_it_goes_with_each_of_its_records_and_with_no_other(self):
        for pk, found in (("a", False), ("b", False), ("c", True)):
            with self.subTest(pk):
                self.store(self.find(), "a", "b")
                self.assertFound(True)
                self.write(pk)
                # First by the records, then by the type.
                self.assertFound(found)
                self.assertFound(found)

    def test_it_goes_with_what_decides_which_records_it_has(self):
        for more in ({"fields": ["id"]}, {"fields": ["name"]}):
            self.store(self.find(), "a")
            self.write("c", **more)
            self.assertFound(more["fields"] == ["name"])

    def test_it_stands_while_a_change_of_another_is_announced(self):
        self.store(self.find(), "a")
        mark = self.mark("b")
        self.assertFound(True)
        cache.lift(mark)
        self.assertFound(True)

    def test_it_is_neither_used_nor_filled_while_a_change_of_its_own_is_announced(self):
        self.store(self.find(), "a")
        mark = self.mark("a")
        self.assertFound(False)
        self.store(self.find(), "a")
        self.assertFound(False)
        cache.lift(mark)
        self.assertFound(False)

    def test_records_that_changed_since_the_slot_was_found_are_not_stored(self):
        """Which they are, nobody could know before they were read."""
        for write in (
            partial(self.write, "a"),
            partial(self.write, "c"),
            partial(self.mark, "a"),
            partial(self.redis.flushdb),
        ):
            for others_read in (False, True):
                with self.subTest(write, others_read=others_read):
                    slot = self.find()
                    write()
                    if others_read:
                        self.find()
                    self.store(slot, "a")
                    self.assertFound(False)

    def test_a_commit_that_took_longer_than_its_mark_lived_is_made_good_for(self):
        mark = self.mark("a")
        self.redis.delete(*(f"{key}:marks" for key in mark.keys))
        self.store(self.find(), "a")
        self.assertFound(True)
        cache.lift(mark)
        self.assertFound(False)

    def test_without_the_token_of_a_record_nobody_knows(self):
        self.store(self.find(), "a", "b")
        [key] = cache._version_keys(self.cast.organization.pk, ["contact:b"])
        self.write("c")
        self.redis.delete(key)
        self.assertFound(False)

    def test_what_is_kept_expires(self):
        slot = self.find()
        self.store(slot, "a")
        for _ in range(2):
            for key in (slot.name, f"{slot.name}:shown"):
                self.assertTrue(0 < self.redis.ttl(key) <= cache.ANSWER_SECONDS, key)
            self.write("c")
            self.assertFound(True)

    def test_a_proof_that_does_not_stand_gives_no_slot(self):
        organization = self.cast.organization.pk
        proof = cache.prove(organization, ["role"], [], [])
        self.assertIsNotNone(cache.find(organization, self.names, "k", proof))
        cache.lift(cache.mark(organization, ["role"]))
        self.assertIsNone(cache.find(organization, self.names, "k", proof))
        with mock.patch("time.time", return_value=2.0**40):
            proof = cache.prove(organization, ["role"], [], [])
        self.assertIsNotNone(cache.find(organization, self.names, "k", proof))
