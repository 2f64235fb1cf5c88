from collections import Counter
from unittest import skipUnless

from django.db import connection
from django.test import TransactionTestCase

from core.testing import (
    ALL,
    Cast,
    client_of,
    make_role,
    make_team,
    make_user,
    system_changes,
)
from core.tests.test_races import at_once
from lead_management.models import (
    AssignmentDecision,
    AssignmentRule,
    Availability,
    Lead,
)

THREADS = 8
PEOPLE = 7


@skipUnless(connection.vendor == "postgresql", "needs connections that wait for locks")
class AssignmentRaceTests(TransactionTestCase):
    def setUp(self):
        self.cast = Cast()
        here = self.cast.organization
        self.team = make_team(here, "Telesales")
        self.people = [
            make_user(here, f"seller{n}", self.cast.alice.role, self.team)
            for n in range(PEOPLE)
        ]

    def rule(self, method, name="All", **values):
        with system_changes(self.cast.organization) as changes:
            changes.save(
                AssignmentRule(), name=name, method=method, team=self.team, **values
            )

    def make(self, thread: int, count: int) -> list[int]:
        client = client_of(self.cast.manager)
        sources = ("website", "other")
        bodies = [
            {"last_name": f"{thread}.{n}", "lead_source": sources[n % 2]}
            for n in range(count)
        ]
        return [client.post("/api/leads/", body).status_code for body in bodies]

    def shares(self, count: int) -> Counter:
        """How many leads each owner got of `count` that each thread makes."""
        answers = at_once(*(lambda n=n: self.make(n, count) for n in range(THREADS)))
        for statuses in answers:
            self.assertEqual(statuses, [201] * count)
        self.assertEqual(AssignmentDecision.objects.count(), THREADS * count)
        return Counter(Lead.objects.values_list("owner__first_name", flat=True))

    def test_leads_that_come_at_once_go_round_evenly(self):
        self.rule("round_robin")
        shares = self.shares(8)
        self.assertEqual(sorted(shares.values()), [9, 9, 9, 9, 9, 9, 10])

    def test_leads_that_come_at_once_go_to_who_has_the_fewest(self):
        self.rule("least_open")
        shares = self.shares(8)
        self.assertEqual(sorted(shares.values()), [9, 9, 9, 9, 9, 9, 10])

    def test_nobody_gets_too_many_by_two_rules_at_once(self):
        with system_changes(self.cast.organization) as changes:
            for user in self.people:
                changes.save(Availability(user=user), max_open_leads=3)
        self.rule("round_robin", "web", filter={"lead_source": "website"})
        self.rule("least_open", "rest", position=1)
        shares = self.shares(6)
        self.assertEqual(shares.pop(None), THREADS * 6 - 3 * PEOPLE)
        self.assertEqual(Counter(shares.values()), {3: PEOPLE})

    def test_a_creation_that_fails_gives_its_turn_back(self):
        self.rule("round_robin")
        client = client_of(self.cast.manager)
        first = {"email": "ada@example.com"}
        self.assertEqual(client.post("/api/leads/", first).status_code, 201)
        bodies = ({"last_name": "King"}, first)
        operations = [{"method": "create", "body": body} for body in bodies]
        answer = client.post("/api/leads/batch/", {"operations": operations})
        self.assertEqual(answer.status_code, 409)
        client.post("/api/leads/", {"last_name": "Hopper"})
        owners = Lead.objects.order_by("pk").values_list("owner__first_name", flat=True)
        self.assertEqual(list(owners), ["seller0", "seller1"])

    def test_batches_that_wait_for_each_other_are_done_again(self):
        self.rule("round_robin")
        mine = {"owner": str(self.cast.manager.pk)}

        def batch(*bodies):
            operations = [{"method": "create", "body": body} for body in bodies]
            client = client_of(self.cast.manager)
            return client.post("/api/leads/batch/", {"operations": operations})

        for n in range(3):
            same = {**mine, "email": f"ada{n}@example.com"}
            answers = at_once(
                lambda same=same: batch({"last_name": "King"}, same),
                lambda same=same: batch(same, {"last_name": "King"}),
            )
            statuses = sorted(answer.status_code for answer in answers)
            self.assertEqual(statuses, [200, 409], [a.content for a in answers])
        self.assertEqual(Lead.objects.count(), 6)

    def test_a_rule_that_is_switched_off_meanwhile_still_decides(self):
        self.rule("round_robin")
        where = f"/api/assignment-rules/{AssignmentRule.objects.get().pk}/"
        role = make_role(self.cast.organization, "rules", ALL, assignmentrule=ALL)
        head = make_user(self.cast.organization, "head", role)

        def switch():
            client = client_of(head)
            return [
                client.patch(where, {"is_active": bool(n % 2)}).status_code
                for n in range(10)
            ]

        made, switched = at_once(lambda: self.make(1, 10), switch)
        self.assertEqual((made, switched), ([201] * 10, [200] * 10))
