import threading
from unittest import mock, skipUnless

from django.conf import settings
from django.db import connection, connections
from django.test import TransactionTestCase

from core import cache
from core.jobs import run
from core.testing import Cast, client_of, system_changes
from core.tests.test_races import at_once
from lead_management.models import Lead, LeadScore
from lead_management.scoring.rescoring import rescore

from .scoring import fit, make_model, publish_rules, start

LEADS = 60
VERSIONS = 4


@skipUnless(settings.REDIS_URL, "needs Redis")
class OwnScoresTests(TransactionTestCase):
    """New scores show in the lists of those whose leads they are of."""

    def setUp(self):
        self.cast = Cast()
        self.here = self.cast.organization
        self.mine, self.hers = Lead(), Lead()
        self.save(self.mine, last_name="Mine", owner=self.cast.manager)
        self.save(self.hers, last_name="Hers", owner=self.cast.alice)
        publish_rules(self.here, fit("Germany", 10, country="DE"))
        self.manager = client_of(self.cast.manager)

    def save(self, lead, **values):
        with system_changes(self.here) as changes:
            changes.save(lead, **values)

    def score(self) -> int:
        """Of the manager's own lead."""
        answer = self.manager.get("/api/leads/", {"owner": "me"})
        [lead] = answer.json()["results"]
        return lead["lead_score"]

    def test_of_ones_own_lead(self):
        self.save(self.mine, country="DE")
        self.assertEqual(self.score(), 0)
        rescore(self.here.pk)
        self.assertEqual(self.score(), 10)

    def test_those_of_others_leave_ones_own_list_in_use(self):
        self.score()
        self.save(self.hers, country="DE")
        rescore(self.here.pk)
        with self.assertNumQueries(0):
            self.assertEqual(self.score(), 0)

    @skipUnless(connection.vendor == "postgresql", "needs locks of rows")
    def test_of_a_lead_that_changes_hands_meanwhile(self):
        self.save(self.hers, country="DE")
        is_locked, is_scored = threading.Event(), threading.Event()

        def hand_over():
            with system_changes(self.here) as changes:
                hers = Lead.objects.select_for_update(of=("self",)).get(pk=self.hers.pk)
                is_locked.set()
                is_scored.wait(5)
                changes.save(hers, owner=self.cast.manager)

        def compute():
            is_locked.wait(5)
            before = cache.names_of(LeadScore.record_type())
            with mock.patch.object(cache, "mark_until_commit") as mark:
                rescore(self.here.pk)
            mark.assert_called_once_with(self.here.pk, before)
            is_scored.set()

        at_once(hand_over, compute)


@skipUnless(connection.vendor == "postgresql", "needs connections that wait for locks")
class ScoringRaceTests(TransactionTestCase):
    def setUp(self):
        self.cast = Cast()
        self.here = self.cast.organization
        self.leads = [Lead(last_name=f"{n}", country="DE") for n in range(LEADS)]
        with system_changes(self.here) as changes:
            for lead in self.leads:
                changes.save(lead, owner=self.cast.alice)

    def test_no_list_shows_two_versions(self):
        publish_rules(self.here, fit("All", 1))
        ended = threading.Event()
        seen = []

        def publish():
            try:
                for version in range(2, VERSIONS + 2):
                    run(start(make_model(self.here, fit("All", version))).pk)
            finally:
                ended.set()

        def read(query):
            alice = client_of(self.cast.alice)
            while not ended.is_set():
                rows = alice.get("/api/leads/", query).json()["results"]
                seen.append((len(rows), frozenset(row["lead_score"] for row in rows)))

        queries = (
            {"ordering": "-lead_score", "page_size": LEADS},
            {"page_size": LEADS},
            {"lead_score__gte": 1, "page_size": LEADS, "cursor": ""},
        )
        at_once(publish, *(lambda query=query: read(query) for query in queries))
        self.assertEqual({count for count, _ in seen}, {LEADS})
        self.assertEqual({len(scores) for _, scores in seen}, {1})
        versions = {score for _, scores in seen for score in scores}
        self.assertLessEqual(versions, set(range(1, VERSIONS + 2)))
        self.assertGreater(len(versions), 1)

    def test_changes_at_once_with_rescoring_are_all_counted(self):
        publish_rules(self.here, fit("Germany", 10, country="DE"), fit("All", 1))
        ended = threading.Event()

        def change(leads):
            try:
                for lead in leads:
                    with system_changes(self.here) as changes:
                        changes.save(lead, country="FR")
            finally:
                connections.close_all()

        def compute():
            while not ended.is_set():
                rescore(self.here.pk)

        def change_all():
            at_once(*(lambda n=n: change(self.leads[n::3]) for n in range(3)))
            ended.set()

        at_once(change_all, compute, compute)
        rescore(self.here.pk)
        self.assertEqual(set(LeadScore.objects.values_list("total", flat=True)), {1})
        self.assertFalse(LeadScore.objects.due().exists())


@skipUnless(settings.REDIS_URL, "needs Redis")
class CachedScoreTests(TransactionTestCase):
    def test_a_cached_list_ends_with_a_new_score_and_with_a_new_version(self):
        cast = Cast()
        alice = client_of(cast.alice)
        lead = Lead(last_name="Lovelace")
        with system_changes(cast.organization) as changes:
            changes.save(lead, owner=cast.alice)

        def shown():
            addresses = ("/api/leads/", f"/api/leads/{lead.pk}/")
            for _ in range(2):  # the second time from the cache
                listed, one = (alice.get(address).json() for address in addresses)
            with self.assertNumQueries(0):
                alice.get(addresses[0])
            [row] = listed["results"]
            self.assertEqual(row["lead_score"], one["lead_score"])
            return one["lead_score"]

        self.assertEqual(shown(), None)
        rules = (fit("All", 20), fit("Germany", 30, country="DE"))
        publish_rules(cast.organization, *rules)
        self.assertEqual(shown(), 20)
        with system_changes(cast.organization) as changes:
            changes.save(lead, country="DE")
        self.assertEqual(shown(), 20)
        rescore(cast.organization.pk)
        self.assertEqual(shown(), 50)
        publish_rules(cast.organization, fit("All", 5))
        self.assertEqual(shown(), 5)

    def test_a_new_score_of_one_lead_leaves_another_in_the_cache(self):
        cast = Cast()
        alice = client_of(cast.alice)
        leads = [Lead(last_name=name) for name in ("Lovelace", "Boole")]
        publish_rules(cast.organization, fit("Germany", 30, country="DE"))
        with system_changes(cast.organization) as changes:
            for lead in leads:
                changes.save(lead, owner=cast.alice)
        rescore(cast.organization.pk)
        changed, other = (f"/api/leads/{lead.pk}/" for lead in leads)
        for address in (changed, other):
            self.assertEqual(alice.get(address).json()["lead_score"], 0)
        with system_changes(cast.organization) as changes:
            changes.save(leads[0], country="DE")
        rescore(cast.organization.pk)
        with self.assertNumQueries(0):
            alice.get(other)
        self.assertEqual(alice.get(changed).json()["lead_score"], 30)
