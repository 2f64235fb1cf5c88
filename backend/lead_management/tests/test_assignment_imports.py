from collections import Counter

from django.db import connection
from django.test.utils import CaptureQueriesContext

from core import jobs
from core.models import Change
from core.testing import (
    ALL,
    OWN,
    client_of,
    make_role,
    make_team,
    make_user,
    system_changes,
)
from core.tests.test_imports import ImportTestCase
from lead_management.models import (
    AssignmentDecision,
    AssignmentRule,
    Availability,
    Lead,
)

PEOPLE = 3


class AssignedImportTests(ImportTestCase):
    @classmethod
    def setUpTestData(cls):
        super().setUpTestData()
        here = cls.cast.organization
        cls.team = make_team(here, "Telesales")
        role = make_role(here, "sells", OWN)
        cls.sellers = [
            make_user(here, f"seller{n}", role, cls.team) for n in range(PEOPLE)
        ]
        manages = make_role(here, "rules", ALL, assignmentrule=ALL)
        cls.head = make_user(here, "head", manages)
        cls.rule = AssignmentRule()
        with system_changes(here) as changes:
            changes.save(cls.rule, name="All", method="round_robin", team=cls.team)

    def rows(self, count):
        rows = "".join(f"Lead {n},lead{n}@example.com\n" for n in range(count))
        return f"Last Name,Email\n{rows}"

    def run_import(self, text, **fields):
        client = client_of(self.head)
        return super().run_import(text, client, record_type="lead", **fields)

    def owners(self) -> Counter:
        return Counter(Lead.objects.values_list("owner__first_name", flat=True))

    def test_rows_stay_the_importers_if_nobody_asks_for_rules(self):
        self.assertCounts(self.run_import(self.rows(2)), 2, 0, 0, 0)
        self.assertEqual(self.owners(), {"head": 2})
        self.assertFalse(AssignmentDecision.objects.exists())

    def test_rows_go_round_over_all_chunks_and_are_undone_at_once(self):
        self.chunks_of(4)
        shown = self.run_import(self.rows(10), auto_assign="true")
        self.assertCounts(shown, 10, 0, 0, 0)
        self.assertEqual(self.owners(), {"seller0": 4, "seller1": 3, "seller2": 3})
        self.assertEqual(AssignmentDecision.objects.count(), 10)
        versions = Change.objects.filter(record_type="lead").values_list("version")
        self.assertEqual(set(versions), {(1,)})
        undo = f"/api/change-sets/{shown['change_set']}/undo/"
        answer = client_of(self.head).post(undo)
        self.assertEqual((answer.status_code, answer.json()["undone"]), (200, 10))
        self.assertFalse(Lead.objects.live().exists())

    def test_a_row_that_names_an_owner_has_them(self):
        text = (
            "Last Name,Owner\n"
            f"Lovelace,{self.head.email}\nByron,\nKing,nobody@example.com\n"
        )
        shown = self.run_import(text, auto_assign=str(self.rule.pk))
        self.assertCounts(shown, 3, 0, 0, 0)
        owners = Lead.objects.order_by("pk").values_list("owner__first_name", flat=True)
        self.assertEqual(list(owners), ["head", "seller0", "seller1"])

    def test_an_owner_of_all_rows_wins(self):
        owner = str(self.cast.alice.pk)
        self.run_import(self.rows(2), auto_assign="true", owner=owner)
        self.assertEqual(self.owners(), {"alice": 2})

    def test_leads_that_are_over_and_those_that_are_there_stay(self):
        with system_changes(self.cast.organization) as changes:
            changes.save(
                Lead(owner=self.head), last_name="x", email="lead0@example.com"
            )
        text = (
            "Last Name,Email,Status\nNew,lead1@example.com,\n"
            "Old,lead2@example.com,converted\nThere,lead0@example.com,\n"
        )
        shown = self.run_import(text, auto_assign="true", mode="upsert")
        self.assertCounts(shown, 2, 1, 0, 0)
        self.assertEqual(self.owners(), {"seller0": 1, "head": 2})

    def test_limits_hold_in_a_chunk(self):
        with system_changes(self.cast.organization) as changes:
            for seller in self.sellers:
                changes.save(Availability(user=seller), max_open_leads=2)
        self.run_import(self.rows(8), auto_assign="true")
        counts = {"seller0": 2, "seller1": 2, "seller2": 2, None: 2}
        self.assertEqual(self.owners(), counts)

    def test_a_dry_run_takes_no_turn(self):
        shown = self.run_import(self.rows(2), auto_assign="true", dry_run="true")
        self.assertCounts(shown, 2, 0, 0, 0)
        self.assertFalse(AssignmentDecision.objects.exists())
        self.run_import(self.rows(1), auto_assign="true")
        self.assertEqual(self.owners(), {"seller0": 1})

    def test_what_cannot_be_wished_is_named(self):
        for fields, code in (
            ({"auto_assign": "perhaps"}, "invalid"),
            ({"auto_assign": str(self.team.pk)}, "does_not_exist"),
            ({"auto_assign": "true", "record_type": "contact"}, "not_assigned"),
        ):
            with self.subTest(code):
                fields = {"record_type": "lead", **fields}
                answer = self.post(self.rows(1), client_of(self.head), **fields)
                self.assertEqual(answer.status_code, 400, answer.content)
                [error] = answer.json()["errors"]
                self.assertEqual((error["field"], error["code"]), ("auto_assign", code))
        answer = self.post(
            self.rows(1), record_type="lead", auto_assign=str(self.rule.pk)
        )
        self.assertEqual(answer.json()["errors"][0]["code"], "does_not_exist")
        self.assertFalse(Lead.objects.exists())

    def test_many_leads_and_rules_take_no_more_queries_than_few(self):
        def queries(numbers: range) -> int:
            text = "".join(f"Lead {n},lead{n}@example.com\n" for n in numbers)
            job = self.submit(
                f"Last Name,Email\n{text}",
                client_of(self.head),
                record_type="lead",
                auto_assign="true",
            )
            with CaptureQueriesContext(connection) as found:
                jobs.run(job.pk)
            return len(found)

        queries(range(100, 104))
        few = queries(range(200, 204))
        with system_changes(self.cast.organization) as changes:
            for n in range(5):
                changes.save(
                    AssignmentRule(),
                    name=f"Big {n}",
                    filter={"estimated_value__gte": 10**6 + n},
                    method="user",
                    user=self.head,
                )
            changes.save(self.rule, position=9)
        # One query more: whether leads match the rules.
        self.assertEqual(queries(range(300, 320)), few + 1)
