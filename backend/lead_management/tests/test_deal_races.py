from collections import Counter
from itertools import pairwise
from unittest import skipUnless

from django.db import connection
from django.test import TransactionTestCase

from core.testing import ALL, Cast, client_of, make_role, make_user
from core.tests.test_races import at_once
from lead_management.models import Deal, DealStay, Pipeline
from user_management.roles import BUILT_IN

THREADS = 8


@skipUnless(connection.vendor == "postgresql", "needs connections that wait for locks")
class DealRaceTests(TransactionTestCase):
    def setUp(self):
        self.cast = Cast()
        self.alice = client_of(self.cast.alice)
        self.pipeline = Pipeline.objects.get(organization=self.cast.organization)
        self.stages = {stage["name"]: stage["id"] for stage in self.pipeline.stages}

    def make(self) -> str:
        answer = self.alice.post("/api/deals/", {"name": "Engine"})
        return f"/api/deals/{answer.json()['id']}/"

    def move(self, address, stage, **headers):
        client = client_of(self.cast.alice)
        return client.patch(address, {"stage": self.stages[stage]}, headers=headers)

    def test_of_many_moves_of_one_version_one_wins(self):
        address = self.make()
        etag = self.alice.get(address)["ETag"]
        stages = ("Proposal", "Negotiation") * (THREADS // 2)
        answers = at_once(
            *(
                lambda stage=stage: self.move(address, stage, if_match=etag)
                for stage in stages
            )
        )
        self.assertEqual(
            Counter(a.status_code for a in answers), {200: 1, 412: THREADS - 1}
        )
        self.assertEqual(DealStay.objects.count(), 1)

    def test_moves_at_once_follow_each_other_without_a_double_stay(self):
        address = self.make()
        stages = ("Proposal", "Negotiation") * (THREADS // 2)
        answers = at_once(
            *(lambda stage=stage: self.move(address, stage) for stage in stages)
        )
        self.assertEqual(Counter(a.status_code for a in answers), {200: THREADS})
        deal = Deal.objects.get()
        stays = list(DealStay.objects.order_by("entered_at"))
        self.assertEqual(len(stays), deal.version - 1)
        for stay, following in pairwise(stays):
            self.assertEqual(stay.left_at, following.entered_at)
        self.assertEqual(stays[-1].left_at, deal.stage_since)

    def test_a_stage_is_removed_or_entered_not_both(self):
        role = make_role(self.cast.organization, "sales", ALL, **BUILT_IN["manager"])
        seller = make_user(self.cast.organization, "seller", role)
        where = f"/api/pipelines/{self.pipeline.pk}/"

        def set_stages(stages):
            return client_of(seller).patch(where, {"stages": stages})

        for n in range(10):
            with self.subTest(n):
                address = self.make()
                stages = self.alice.get(where).json()["stages"]
                trial = {"name": f"Trial {n}", "probability": 5}
                made = set_stages([*stages, trial]).json()["stages"][-1]["id"]
                self.stages["Trial"] = made
                removed, moved = at_once(
                    lambda stages=stages: set_stages(stages),
                    lambda address=address: self.move(address, "Trial"),
                )
                there = self.alice.get(address).json()["stage"] == made
                self.assertIn(
                    (removed.status_code, moved.status_code, there),
                    [(200, 409, False), (200, 400, False), (409, 200, True)],
                )
