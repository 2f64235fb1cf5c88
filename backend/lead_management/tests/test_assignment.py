"""Who gets a new lead: rules, turns, limits, and what is told of it."""

import datetime
from collections import Counter

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.access import Scope, Verb
from core.jobs import run
from core.models import Change, ChangeSet, CustomField, Job
from core.testing import (
    ALL,
    OWN,
    Cast,
    RecordContract,
    client_of,
    make_role,
    make_team,
    make_user,
    system_changes,
)
from lead_management.models import (
    Absence,
    AssignmentDecision,
    AssignmentRule,
    Availability,
    Lead,
)
from lead_management.tests.clock import stopped_at

LEADS = "/api/leads/"
RULES = "/api/assignment-rules/"
TRIAL = f"{RULES}dry-run/"
DECISIONS = "/api/assignment-decisions/"
MANAGES = dict.fromkeys(Verb.values, Scope.ALL)


class AbsenceContract(RecordContract, TestCase):
    path = "/api/absences/"
    valid = {
        "starts_at": "2{n:03d}-01-01T00:00:00Z",
        "ends_at": "3000-01-01T00:00:00Z",
    }
    change = {"note": "Ill"}

    def test_it_ends_after_its_start(self):
        answer = self.alice.post(self.path, self.body(ends_at="2001-01-01T00:00:00Z"))
        self.assertProblem(answer, 400, "invalid", "ends_at")
        self.assertFalse(Absence.objects.exists())

    def test_a_successor_does_not_take_it_over(self):
        self.make()
        lead = self.alice.post(LEADS, {"last_name": "King"}).json()
        alice, bob = self.cast.alice, self.cast.bob
        answer = client_of(self.cast.manager).post(
            f"/api/users/{alice.pk}/hand-over/", {"to": str(bob.pk)}
        )
        run(answer.json()["id"])
        self.assertEqual(Lead.objects.get(pk=lead["id"]).owner, bob)
        self.assertEqual(Absence.objects.get().owner, alice)


class AssignmentTestCase(TestCase):
    """ann, ben and cid sell, in this order; the head decides."""

    @classmethod
    def setUpTestData(cls):
        cls.cast = cast = Cast()
        here = cast.organization
        cls.sales = make_team(here, "Telesales")
        cls.role = make_role(here, "sells", {**OWN, Verb.VIEW: Scope.TEAM})
        cls.sellers = [
            make_user(here, name, cls.role, cls.sales) for name in ("ann", "ben", "cid")
        ]
        cls.ann, cls.ben, cls.cid = cls.sellers
        role = make_role(
            here, "head", ALL, assignmentrule=MANAGES, availability=MANAGES
        )
        cls.head = make_user(here, "head", role)

    def setUp(self):
        self.client = client_of(self.head)
        self.number = 0

    def rule(self, name="All", **values) -> AssignmentRule:
        values = {"method": "round_robin", **values}
        if values["method"] != "user":
            values.setdefault("team", self.sales)
        rule = AssignmentRule()
        with system_changes(self.cast.organization) as changes:
            changes.save(rule, name=name, **values)
        return rule

    def available(self, user, **values) -> None:
        with system_changes(self.cast.organization) as changes:
            changes.save(Availability(user=user), **values)

    def absent(self, user, start=-1, end=1) -> None:
        now, day = timezone.now(), datetime.timedelta(days=1)
        with system_changes(self.cast.organization) as changes:
            changes.save(
                Absence(owner=user),
                starts_at=now + start * day,
                ends_at=now + end * day,
            )

    def post(self, client=None, **fields):
        self.number += 1
        body = {"email": f"lead{self.number}@example.com", **fields}
        return (client or self.client).post(LEADS, body)

    def owner(self, client=None, **fields) -> str | None:
        """The first name of who gets a new lead."""
        answer = self.post(client, **fields)
        self.assertEqual(answer.status_code, 201, answer.content)
        lead = Lead.objects.get(pk=answer.json()["id"])
        stored = lead.owner and str(lead.owner.pk)
        self.assertEqual(answer.json()["owner"], stored)
        return lead.owner and lead.owner.first_name

    def owners(self, count, **fields) -> list:
        return [self.owner(**fields) for _ in range(count)]

    def decision(self) -> AssignmentDecision:
        return AssignmentDecision.objects.latest("created_at", "id")


class RuleTests(AssignmentTestCase):
    def test_without_a_rule_a_lead_is_its_makers(self):
        self.assertEqual(self.owner(), "head")
        self.assertFalse(AssignmentDecision.objects.exists())

    def test_the_first_rule_that_matches_decides(self):
        self.rule("web", position=2, filter={"lead_source": "website"})
        self.rule(
            "big",
            position=1,
            filter={"estimated_value__gte": "1000"},
            method="user",
            user=self.cid,
        )
        self.rule("off", position=0, is_active=False, method="user", user=self.ann)
        self.assertEqual(self.owner(lead_source="website"), "ann")
        both = {"lead_source": "website", "estimated_value": "1000.00"}
        self.assertEqual(self.owner(**both), "cid")
        self.assertEqual(self.owner(lead_source="other"), "head")
        decision = self.decision()
        self.assertEqual((decision.outcome, decision.rule), ("unmatched", None))
        self.assertEqual(len(decision.not_matched), 2)

    def test_filters_are_those_of_the_list_custom_fields_tags_and_search_too(self):
        with system_changes(self.cast.organization) as changes:
            for key, kind in (("size", "number"), ("vat", "text")):
                changes.save(
                    CustomField(), applies_to="lead", key=key, label=key, kind=kind
                )
        self.rule(
            "custom",
            filter={"custom_fields.size__gte": 10},
            method="user",
            user=self.ann,
        )
        self.rule("tags", filter={"tags": "vip"}, method="user", user=self.ben)
        self.rule("search", filter={"search": "lovelace"}, method="user", user=self.cid)
        self.assertEqual(self.owner(custom_fields={"size": 10}), "ann")
        self.assertEqual(self.owner(custom_fields={"size": 9}, tags=["vip"]), "ben")
        self.assertEqual(self.owner(last_name="Lovelace"), "cid")
        self.assertEqual(self.owner(last_name="Hopper"), "head")

    def test_a_rule_that_is_not_understood_any_more_matches_nothing(self):
        field = CustomField()
        with system_changes(self.cast.organization) as changes:
            changes.save(
                field, applies_to="lead", key="size", label="Size", kind="number"
            )
        self.rule(
            "sized", filter={"custom_fields.size": 1}, method="user", user=self.ann
        )
        self.rule("rest", position=1, method="user", user=self.ben)
        with system_changes(self.cast.organization) as changes:
            changes.save(field, is_archived=True)
        self.assertEqual(self.owner(), "ben")
        [fault] = self.decision().not_matched
        self.assertIn("custom_fields.size", fault["reason"])

    def test_turns_go_round(self):
        self.rule()
        self.assertEqual(
            self.owners(7), ["ann", "ben", "cid", "ann", "ben", "cid", "ann"]
        )

    def test_turns_of_two_rules_are_their_own(self):
        self.rule("web", filter={"lead_source": "website"})
        self.rule("rest", position=1)
        found = [self.owner(lead_source=s) for s in ("website", "other") * 2]
        self.assertEqual(found, ["ann", "ann", "ben", "ben"])

    def test_the_teams_below_are_of_the_team(self):
        below = make_team(self.cast.organization, "Below")
        with system_changes(self.cast.organization) as changes:
            changes.save(below, parent=self.sales)
        make_user(self.cast.organization, "dot", self.role, below)
        self.rule()
        self.assertEqual(self.owners(5), ["ann", "ben", "cid", "dot", "ann"])

    def test_whoever_has_the_fewest_open_leads(self):
        with system_changes(self.cast.organization) as changes:
            for n, (owner, status) in enumerate(
                [(self.ann, "new"), (self.ann, "qualified"), (self.ben, "new")]
                + [(self.cid, "lost")] * 5
            ):
                changes.save(Lead(), last_name=f"Old {n}", owner=owner, status=status)
        self.rule(method="least_open")
        self.assertEqual(self.owners(6), ["cid", "ben", "cid", "ann", "ben", "cid"])

    def test_nobody_gets_more_than_they_may(self):
        self.rule()
        self.available(self.ann, max_open_leads=1)
        self.available(self.ben, max_open_leads=0)
        self.assertEqual(self.owners(4), ["ann", "cid", "cid", "cid"])
        decision = self.decision()
        reasons = {(p["user"], p["reason"]) for p in decision.passed_over}
        self.assertEqual(
            reasons, {(str(self.ann.pk), "full"), (str(self.ben.pk), "full")}
        )

    def test_a_lead_that_is_given_away_counts_for_nobody(self):
        self.rule()
        self.available(self.ann, max_open_leads=1)
        self.assertEqual(self.owner(client_of(self.ann)), "ann")
        self.assertEqual(self.owner(client_of(self.ann)), "ben")

    def test_the_absent_and_those_who_left_or_may_not_are_passed_over(self):
        reader = self.cast.reader
        with system_changes(self.cast.organization) as changes:
            changes.save(reader, team=self.sales)
            changes.save(self.ben, is_active=False)
        self.absent(self.ann)
        self.absent(self.cid, start=1, end=2)
        self.rule()
        self.assertEqual(self.owners(3), ["cid", "cid", "cid"])
        reasons = {p["user"]: p["reason"] for p in self.decision().passed_over}
        self.assertEqual(
            reasons, {str(self.ann.pk): "absent", str(reader.pk): "no_right"}
        )

    def test_hours_are_those_of_the_persons_time_zone(self):
        with system_changes(self.cast.organization) as changes:
            changes.save(self.ann, timezone="America/New_York")
            changes.save(self.ben, timezone="Europe/Berlin")
        for user in (self.ann, self.ben):
            hours = {"wed": [["09:00", "12:00"], ["13:00", "17:00"]]}
            self.available(user, working_hours=hours)
        self.available(self.cid, max_open_leads=0)
        self.rule()
        for hour, owner in (
            ("07:59", None),
            ("08:00", "ben"),
            ("11:30", None),
            ("12:00", "ben"),
            ("14:00", "ann"),
            ("17:30", None),
            ("18:00", "ann"),
            ("22:00", None),
        ):
            # In winter: Berlin is an hour after UTC, New York five before it.
            moment = datetime.datetime.fromisoformat(f"2026-01-14T{hour}Z")
            with self.subTest(hour), stopped_at(moment):
                self.assertEqual(self.owner(), owner)
        moment = datetime.datetime.fromisoformat("2026-01-15T12:00Z")
        with stopped_at(moment):
            self.assertEqual(self.owner(), None)

    def test_a_fall_back_takes_what_nobody_can(self):
        for seller in self.sellers:
            self.absent(seller)
        other = make_team(self.cast.organization, "Others")
        users = [
            make_user(self.cast.organization, name, self.role, other)
            for name in ("eve", "fay", "gus")
        ]
        self.absent(users[0])
        for name, values, owner, outcome in (
            ("queue", {}, None, "queued"),
            ("keep", {}, "head", "kept"),
            ("user", {"fallback_user": self.ann}, "ann", "fallback"),
            ("team", {"fallback_team": other}, "fay", "fallback"),
        ):
            with self.subTest(name):
                rule = self.rule(name, fallback=name, **values)
                self.assertEqual(self.owner(), owner)
                decision = self.decision()
                self.assertEqual((decision.outcome, decision.rule), (outcome, rule))
                seen = Counter(p["reason"] for p in decision.passed_over)
                self.assertEqual(seen, {"absent": 4 if name == "team" else 3})
                with system_changes(self.cast.organization) as changes:
                    changes.save(rule, is_active=False)

    def test_a_fall_back_to_who_has_left_is_the_queue(self):
        self.absent(self.ann)
        self.rule(method="user", user=self.ann, fallback="user", fallback_user=self.ben)
        with system_changes(self.cast.organization) as changes:
            changes.save(self.ben, is_active=False)
        self.assertEqual(self.owner(), None)
        self.assertEqual(
            [p["reason"] for p in self.decision().passed_over], ["absent", "inactive"]
        )

    def test_a_person_is_named_by_a_rule_and_has_limits_too(self):
        self.rule(method="user", user=self.ann, fallback="keep")
        self.available(self.ann, max_open_leads=1)
        self.assertEqual(self.owners(2), ["ann", "head"])


class WishTests(AssignmentTestCase):
    """What the maker of a lead says of its owner."""

    def test_an_explicit_owner_wins(self):
        rule = self.rule()
        for wish in (True, str(rule.pk)):
            owner = self.owner(owner=str(self.cid.pk), auto_assign=wish)
            self.assertEqual(owner, "cid")
        self.assertFalse(AssignmentDecision.objects.exists())

    def test_false_leaves_it_to_its_maker(self):
        self.rule()
        self.assertEqual(self.owner(auto_assign=False), "head")
        self.assertFalse(AssignmentDecision.objects.exists())

    def test_a_rule_that_is_named_is_taken_whatever_it_asks(self):
        self.rule("first", method="user", user=self.ann)
        rule = self.rule("web", position=1, filter={"lead_source": "website"})
        self.assertEqual(self.owner(auto_assign=str(rule.pk)), "ann")
        self.assertEqual(self.owner(auto_assign=str(rule.pk)), "ben")
        self.assertEqual(self.decision().rule, rule)
        self.assertIn("was asked for", self.decision().explanation)

    def test_a_rule_is_named_only_by_who_sees_it(self):
        rule = self.rule()
        off = self.rule("off", is_active=False)
        for client, wish in (
            (self.client, str(self.ann.pk)),
            (self.client, str(off.pk)),
            (client_of(self.ann), str(rule.pk)),
            (client_of(self.cast.carol), str(rule.pk)),
        ):
            answer = self.post(client, auto_assign=wish)
            self.assertEqual(answer.status_code, 400)
            [error] = answer.json()["errors"]
            self.assertEqual(
                (error["field"], error["code"]), ("auto_assign", "does_not_exist")
            )
        for wish in (None, 1, "x", [], {}):
            with self.subTest(wish):
                answer = self.post(auto_assign=wish)
                self.assertEqual(answer.status_code, 400)
                self.assertEqual(answer.json()["errors"][0]["field"], "auto_assign")
        self.assertFalse(Lead.objects.exists())

    def test_whoever_may_give_leads_to_nobody_has_them_given_by_the_rules(self):
        self.rule()
        answer = self.post(client_of(self.cast.alice))
        self.assertEqual(answer.status_code, 201)
        self.assertEqual(answer.json()["owner"], str(self.ann.pk))

    def test_a_change_does_not_assign(self):
        self.rule()
        answer = self.post(auto_assign=False)
        where = f"{LEADS}{answer.json()['id']}/"
        self.assertEqual(self.client.patch(where, {"notes": "x"}).status_code, 200)
        refused = self.client.patch(where, {"auto_assign": True})
        self.assertEqual(refused.json()["errors"][0]["code"], "unknown_field")
        self.assertEqual(Lead.objects.get().owner, self.head)

    def test_a_batch_shares_out_too(self):
        self.rule()
        bodies = [{"last_name": f"Lovelace {n}"} for n in range(4)]
        bodies[1]["owner"] = str(self.head.pk)
        operations = [{"method": "create", "body": body} for body in bodies]
        answer = self.client.post(f"{LEADS}batch/", {"operations": operations})
        self.assertEqual(answer.status_code, 200, answer.content)
        owners = [r["body"]["owner"] for r in answer.json()["results"]]
        people = (self.ann, self.head, self.ben, self.cid)
        self.assertEqual(owners, [str(user.pk) for user in people])

    def test_a_dry_run_of_a_creation_takes_no_turn(self):
        self.rule()
        for _ in range(2):
            answer = self.client.post(f"{LEADS}?dry_run=true", {"last_name": "King"})
            self.assertEqual(answer.json()["owner"], str(self.ann.pk))
        self.assertEqual(self.owner(), "ann")

    def test_it_is_part_of_the_making_and_undone_with_it(self):
        self.rule()
        answer = self.post()
        lead = Lead.objects.get()
        self.assertEqual((lead.version, lead.owner), (1, self.ann))
        [change] = Change.objects.filter(record_id=lead.pk)
        self.assertEqual(self.decision().change_set, change.change_set_id)
        history = self.client.get(f"{LEADS}{lead.pk}/history/").json()["results"]
        self.assertEqual(history[0]["after"]["owner"], str(self.ann.pk))
        where = f"/api/change-sets/{change.change_set_id}/undo/"
        undone = self.client.post(where)
        self.assertEqual(undone.status_code, 200, undone.content)
        self.assertEqual(self.client.get(f"{LEADS}{lead.pk}/").status_code, 404)
        self.assertEqual(self.client.get(DECISIONS).json()["count"], 0)
        redo = f"/api/change-sets/{undone.json()['change_set']}/undo/"
        self.assertEqual(self.client.post(redo).status_code, 200)
        again = self.client.get(f"{LEADS}{lead.pk}/").json()
        self.assertEqual(again["owner"], answer.json()["owner"])
        self.assertEqual(self.client.get(DECISIONS).json()["count"], 1)

    def test_a_lead_that_is_over_is_not_assigned(self):
        self.rule()
        with system_changes(self.cast.organization) as changes:
            lead = Lead(owner=self.head)
            lead.auto_assign = True
            changes.save(lead, last_name="King", status="lost")
        self.assertEqual(lead.owner, self.head)


class AgainTests(AssignmentTestCase):
    def test_a_lead_that_is_there_goes_to_whom_the_rules_choose_now(self):
        lead = self.post().json()
        self.rule()
        where = f"{LEADS}{lead['id']}/assign/"
        answer = self.client.post(where)
        self.assertEqual(answer.status_code, 200, answer.content)
        self.assertEqual(answer.json()["owner"], str(self.ann.pk))
        self.assertEqual(answer.json()["version"], 2)
        change = Change.objects.get(record_id=lead["id"], version=2)
        self.assertEqual(self.decision().change_set, change.change_set_id)

    def test_what_cannot_be_assigned_is_refused_and_left(self):
        lead = self.post().json()
        where = f"{LEADS}{lead['id']}/assign/"
        answer = self.client.post(where)
        self.assertEqual((answer.status_code, answer.json()["code"]), (409, "no_rule"))
        self.rule()
        answer = self.client.post(where, {"auto_assign": False})
        self.assertEqual(answer.json()["errors"][0]["field"], "auto_assign")
        body = {"status": "lost", "reason": "x"}
        self.client.post(f"{LEADS}{lead['id']}/transition/", body)
        answer = self.client.post(where)
        self.assertEqual((answer.status_code, answer.json()["code"]), (409, "not_open"))
        self.assertEqual(Lead.objects.get().owner, self.head)
        self.assertFalse(AssignmentDecision.objects.exists())

    def test_it_takes_the_right_to_assign(self):
        lead = self.post(client_of(self.cast.alice)).json()
        self.rule()
        answer = client_of(self.cast.alice).post(f"{LEADS}{lead['id']}/assign/")
        self.assertEqual(answer.status_code, 403)
        self.assertEqual(Lead.objects.get().owner, self.cast.alice)
        self.assertFalse(AssignmentDecision.objects.exists())


class BulkTests(AssignmentTestCase):
    def bulk(self, client=None, dry_run=False, wish=True, **selection):
        body = {"change": {"assign": wish}, "dry_run": dry_run, **selection}
        return (client or self.client).post(f"{LEADS}bulk/", body)

    def counts(self, answer) -> dict:
        """What the job that was started tells, without what is none."""
        self.assertEqual(answer.status_code, 202, answer.content)
        job = Job.objects.get(pk=answer.json()["id"])
        run(job.pk)
        job.refresh_from_db()
        return {name: count for name, count in job.counts.items() if count}

    def test_a_queue_is_shared_out(self):
        for _ in range(5):
            self.post()
        lost = self.post().json()["id"]
        body = {"status": "lost", "reason": "x"}
        self.client.post(f"{LEADS}{lost}/transition/", body)
        self.rule()
        tried = self.bulk(dry_run=True, filter={}).json()["counts"]
        self.assertEqual((tried["changed"], tried["refused"]), (5, 1))
        self.assertEqual(set(self.stored_owners()), {"head"})
        counts = self.counts(self.bulk(filter={}))
        self.assertEqual(
            counts, {"matched": 6, "changed": 5, "refused": 1, "not_open": 1}
        )
        shares = {"ann": 2, "ben": 2, "cid": 1, "head": 1}
        self.assertEqual(Counter(self.stored_owners()), shares)
        self.assertEqual(AssignmentDecision.objects.count(), 5)
        job = Job.objects.latest("created_at")
        self.client.post(f"/api/change-sets/{job.change_set_id}/undo/")
        self.assertEqual(set(self.stored_owners()), {"head"})

    def stored_owners(self):
        return Lead.objects.values_list("owner__first_name", flat=True)

    def test_it_takes_the_right_to_assign(self):
        alice = client_of(self.cast.alice)
        self.post(alice)
        self.rule()
        counts = self.counts(self.bulk(alice, filter={}))
        self.assertEqual(counts, {"matched": 1, "refused": 1, "no_right_to_assign": 1})
        self.assertEqual(set(self.stored_owners()), {"alice"})
        self.assertFalse(AssignmentDecision.objects.exists())

    def test_without_a_rule_nothing_changes(self):
        self.post()
        self.assertEqual(
            self.counts(self.bulk(filter={})), {"matched": 1, "unchanged": 1}
        )

    def test_bad_input_names_the_field(self):
        for wish, code in ((False, "invalid"), (str(self.ann.pk), "does_not_exist")):
            answer = self.bulk(wish=wish, filter={})
            self.assertEqual(answer.status_code, 400)
            [error] = answer.json()["errors"]
            self.assertEqual((error["field"], error["code"]), ("change.assign", code))


class CostTests(AssignmentTestCase):
    def queries(self, **fields) -> int:
        with CaptureQueriesContext(connection) as found:
            self.assertEqual(self.post(**fields).status_code, 201)
        return len(found)

    def test_rules_take_few_queries_however_many_there_are(self):
        self.queries()
        without = self.queries(auto_assign=False)
        # Whether there is a rule.
        self.assertEqual(self.queries(), without + 1)
        self.rule("rest", position=9)
        # The teams, the people, their turn, the new one, the owner, the log; what the
        # owner wants to be told, and that they are.
        self.assertEqual(self.queries(), without + 9)
        for n in range(10):
            sized = {"estimated_value__gte": 10**6 + n, "tags": "vip"}
            self.rule(f"big {n}", filter=sized, method="user", user=self.ann)
        # Which of them the lead matches.
        self.assertEqual(self.queries(), without + 10)
        self.available(self.ben, max_open_leads=9)
        # How many leads who has a limit has.
        self.assertEqual(self.queries(), without + 11)


class TrialTests(AssignmentTestCase):
    def test_it_says_of_a_draft_who_would_get_it_and_why(self):
        web = self.rule("web", filter={"lead_source": "website"})
        rest = self.rule("rest", position=1)
        self.absent(self.ann)
        before = ChangeSet.objects.count()
        for _ in range(2):
            answer = self.client.post(TRIAL, {"lead": {"last_name": "King"}})
            self.assertEqual(answer.status_code, 200, answer.content)
            [told] = answer.json()["decisions"]
            explanation = told.pop("explanation")
            self.assertEqual(
                told,
                {
                    "lead": None,
                    "rule": str(rest.pk),
                    "assignee": str(self.ben.pk),
                    "outcome": "assigned",
                    "not_matched": [
                        {"rule": str(web.pk), "reason": "the lead does not match"}
                    ],
                    "passed_over": [{"user": str(self.ann.pk), "reason": "absent"}],
                },
            )
            self.assertEqual(
                explanation,
                "Rule 'web': the lead does not match. Rule 'rest' matches: in turn to"
                " the people of a team, Telesales. ann is absent. It goes to ben.",
            )
        self.assertFalse(Lead.objects.exists())
        self.assertFalse(AssignmentDecision.objects.exists())
        self.assertEqual(ChangeSet.objects.count(), before)

    def test_a_draft_that_could_not_be_made_is_refused_as_its_creation_is(self):
        self.rule()
        self.post(email="ada@example.com")
        draft = {"last_name": "King", "email": "ada@example.com"}
        answer = self.client.post(TRIAL, {"lead": draft})
        self.assertEqual(answer.status_code, 409, answer.content)
        self.assertEqual(answer.json()["code"], "unique")
        [error] = answer.json()["errors"]
        self.assertEqual((error["field"], error["code"]), ("lead.email", "unique"))
        self.assertEqual(Lead.objects.count(), 1)

    def test_it_says_of_leads_that_are_there(self):
        ids = [self.post().json()["id"] for _ in range(4)]
        self.rule()
        answer = self.client.post(TRIAL, {"leads": ids})
        self.assertEqual(answer.status_code, 200, answer.content)
        told = [(d["lead"], d["assignee"]) for d in answer.json()["decisions"]]
        people = (self.ann, self.ben, self.cid, self.ann)
        self.assertEqual(
            told, [(i, str(u.pk)) for i, u in zip(ids, people, strict=True)]
        )
        self.assertEqual(
            set(Lead.objects.values_list("owner", flat=True)), {self.head.pk}
        )
        self.assertEqual(self.owner(), "ann")

    def test_an_owner_or_no_rule_leaves_nothing_to_decide(self):
        draft = {"lead": {"last_name": "King"}}
        self.assertEqual(self.client.post(TRIAL, draft).json(), {"decisions": []})
        self.rule()
        draft["lead"]["owner"] = str(self.ann.pk)
        self.assertEqual(self.client.post(TRIAL, draft).json(), {"decisions": []})

    def test_bad_input_names_the_field(self):
        self.rule()
        for body, field in (
            ({}, "lead"),
            ({"lead": {}, "leads": [str(self.ann.pk)]}, "lead"),
            ({"lead": {"emial": "x"}}, "lead.emial"),
            ({"lead": {"email": "x"}}, "lead.email"),
            ({"lead": {"notes": "x"}}, None),
            ({"leads": []}, "leads"),
            ({"leads": [str(self.ann.pk)]}, "leads"),
            ({"lead": {"last_name": "x"}, "auto_assign": "x"}, "auto_assign"),
            (
                {"lead": {"last_name": "x"}, "auto_assign": str(self.ann.pk)},
                "auto_assign",
            ),
        ):
            with self.subTest(body):
                answer = self.client.post(TRIAL, body)
                self.assertEqual(answer.status_code, 400, answer.content)
                if field:
                    self.assertEqual(answer.json()["errors"][0]["field"], field)

    def test_it_takes_the_right_to_see_rules_and_leads(self):
        lead = self.post().json()["id"]
        self.rule()
        refused = client_of(self.ann).post(TRIAL, {"lead": {"last_name": "King"}})
        self.assertEqual(refused.status_code, 403)
        role = make_role(self.cast.organization, "sees", OWN, assignmentrule=MANAGES)
        seeing = make_user(self.cast.organization, "seeing", role)
        refused = client_of(seeing).post(TRIAL, {"leads": [lead]})
        self.assertEqual(refused.json()["errors"][0]["code"], "does_not_exist")


class LogTests(AssignmentTestCase):
    def test_the_log_is_read_by_who_sees_rules_and_the_lead(self):
        rule = self.rule()
        lead = self.post().json()["id"]
        [told] = self.client.get(DECISIONS, {"lead": lead}).json()["results"]
        self.assertEqual(
            (told["rule"], told["assignee"], told["outcome"]),
            (str(rule.pk), str(self.ann.pk), "assigned"),
        )
        one = f"{DECISIONS}{told['id']}/"
        self.assertEqual(self.client.get(one).json(), told)
        own = make_role(self.cast.organization, "sees", OWN, assignmentrule=MANAGES)
        hidden = make_role(
            self.cast.organization,
            "not owners",
            ALL,
            {"lead": {"hidden": ["owner"]}},
            assignmentrule=MANAGES,
        )
        for user in (
            self.ann,
            make_user(self.cast.organization, "dot", own),
            make_user(self.cast.organization, "eve", hidden),
            self.cast.carol,
        ):
            with self.subTest(str(user)):
                client = client_of(user)
                self.assertEqual(client.get(DECISIONS).json()["count"], 0)
                self.assertEqual(client.get(one).status_code, 404)

    def test_it_filters(self):
        self.rule("web", filter={"lead_source": "website"})
        self.owners(2, lead_source="website")
        self.owner()
        for query, count in (
            ({"outcome": "assigned"}, 2),
            ({"outcome": "unmatched"}, 1),
            ({"assignee": str(self.ann.pk)}, 1),
            ({"rule__isnull": "true"}, 1),
        ):
            answer = self.client.get(DECISIONS, query)
            self.assertEqual(answer.json()["count"], count, query)

    def test_it_stands_in_the_timeline_of_the_lead(self):
        self.rule()
        lead = self.post().json()["id"]
        where = f"{LEADS}{lead}/timeline/"
        entries = self.client.get(where).json()["results"]
        self.assertEqual({e["kind"] for e in entries}, {"assignmentdecision", "change"})
        only = self.client.get(where, {"kind": "assignmentdecision"}).json()
        [entry] = only["results"]
        self.assertEqual(entry["record"]["assignee"], str(self.ann.pk))
        self.assertTrue(entry["record"]["explanation"].endswith("It goes to ann."))
        [entry] = client_of(self.ann).get(where).json()["results"]
        self.assertEqual(entry["kind"], "change")


class RuleApiTests(AssignmentTestCase):
    def test_rules_are_made_changed_and_told_in_their_order(self):
        body = {
            "name": "Web",
            "position": 5,
            "filter": {"lead_source__in": ["website", "referral"]},
            "method": "round_robin",
            "team": str(self.sales.pk),
        }
        made = self.client.post(RULES, body)
        self.assertEqual(made.status_code, 201, made.content)
        self.assertEqual(made.json() | body, made.json())
        self.assertEqual(made.json()["fallback"], "queue")
        first = {**body, "name": "First", "position": 1}
        self.client.post(RULES, first)
        listed = self.client.get(RULES).json()["results"]
        self.assertEqual([r["name"] for r in listed], ["First", "Web"])
        where = f"{RULES}{made.json()['id']}/"
        changed = self.client.patch(where, {"is_active": False})
        self.assertEqual((changed.status_code, changed.json()["version"]), (200, 2))
        self.assertEqual(self.client.delete(where).status_code, 405)
        undo = Change.objects.get(record_id=made.json()["id"], version=2)
        self.client.post(f"/api/change-sets/{undo.change_set_id}/undo/")
        self.assertTrue(self.client.get(where).json()["is_active"])

    def test_bad_input_names_the_field(self):
        ann, sales = str(self.ann.pk), str(self.sales.pk)
        good = {"name": "x", "method": "round_robin", "team": sales}
        self.rule("taken")
        for change, field, code in (
            ({"method": "by_lot"}, "method", "invalid_choice"),
            ({"method": "user"}, "team", "not_needed"),
            ({"method": "user", "team": None}, "user", "required"),
            ({"team": None}, "team", "required"),
            ({"team": ann}, "team", "does_not_exist"),
            ({"user": ann}, "user", "not_needed"),
            ({"fallback": "user"}, "fallback_user", "required"),
            ({"fallback": "team"}, "fallback_team", "required"),
            ({"fallback_user": ann}, "fallback_user", "not_needed"),
            ({"filter": []}, "filter", "not_an_object"),
            ({"filter": {"nonsense": 1}}, "filter", "unknown_parameter"),
            ({"filter": {"lead_source": "x"}}, "filter", "invalid_choice"),
            ({"filter": {"created_at__gte": "x"}}, "filter", "invalid"),
            ({"filter": {"owner": "me"}}, "filter", "not_allowed"),
            ({"filter": {"deleted": "true"}}, "filter", "unknown_parameter"),
            ({"position": -1}, "position", "min_value"),
            ({"position": 40_000}, "position", "max_value"),
            ({"last_assignee": ann}, "last_assignee", "unknown_field"),
        ):
            with self.subTest(change):
                answer = self.client.post(RULES, {**good, **change})
                self.assertEqual(answer.status_code, 400, answer.content)
                found = {(e["field"], e["code"]) for e in answer.json()["errors"]}
                self.assertIn((field, code), found)
        answer = self.client.post(RULES, {**good, "name": "taken"})
        self.assertEqual(answer.status_code, 409)
        self.assertEqual(AssignmentRule.objects.count(), 1)

    def test_who_sees_no_rules_does_not_change_them(self):
        rule = self.rule()
        client = client_of(self.ann)
        body = {"name": "x", "method": "user", "user": str(self.ann.pk)}
        self.assertEqual(client.get(RULES).json()["count"], 0)
        self.assertEqual(client.post(RULES, body).status_code, 403)
        where = f"{RULES}{rule.pk}/"
        self.assertEqual(client.patch(where, {"name": "y"}).status_code, 404)
        self.assertEqual(AssignmentRule.objects.get().name, "All")


class AvailabilityTests(AssignmentTestCase):
    path = "/api/availability/"
    hours = {"mon": [["09:00", "12:00"], ["12:30", "17:00"]], "fri": []}

    @classmethod
    def setUpTestData(cls):
        super().setUpTestData()
        own = {"view": "all", "create": "own", "edit": "own"}
        role = make_role(cls.cast.organization, "hours", OWN, availability=own)
        cls.dot = make_user(cls.cast.organization, "dot", role, cls.sales)

    def test_everybody_says_when_they_work(self):
        client = client_of(self.dot)
        made = client.post(self.path, {"working_hours": self.hours})
        self.assertEqual(made.status_code, 201, made.content)
        self.assertEqual(made.json()["user"], str(self.dot.pk))
        self.assertEqual(made.json()["working_hours"], self.hours)
        where = f"{self.path}{made.json()['id']}/"
        self.assertEqual(client.put(where, made.json()).json(), made.json())
        self.assertEqual(client.patch(where, {"working_hours": {}}).status_code, 200)
        again = client.post(self.path, {})
        self.assertEqual((again.status_code, again.json()["code"]), (409, "unique"))

    def test_how_many_leads_somebody_may_have_is_not_theirs_to_say(self):
        client = client_of(self.dot)
        body = {"max_open_leads": 1}
        self.assertEqual(client.post(self.path, body).status_code, 403)
        body = {"user": str(self.ann.pk), "working_hours": self.hours}
        self.assertEqual(client.post(self.path, body).status_code, 403)
        self.assertFalse(Availability.objects.exists())
        made = self.client.post(
            self.path, {"user": str(self.dot.pk), "max_open_leads": 1}
        )
        self.assertEqual(made.status_code, 201, made.content)
        where = f"{self.path}{made.json()['id']}/"
        for value in (5, None):
            answer = client.patch(where, {"max_open_leads": value})
            self.assertEqual(answer.status_code, 403)
        self.assertEqual(Availability.objects.get().max_open_leads, 1)
        self.assertEqual(
            client.patch(where, {"user": str(self.ann.pk)}).json()["errors"][0]["code"],
            "read_only",
        )

    def test_a_limit_is_a_number(self):
        for limit in (-1, 2**31, 1.5, "many"):
            with self.subTest(limit):
                answer = self.client.post(self.path, {"max_open_leads": limit})
                self.assertEqual(answer.status_code, 400, answer.content)
                self.assertEqual(answer.json()["errors"][0]["field"], "max_open_leads")
        self.assertFalse(Availability.objects.exists())

    def test_hours_that_are_none_are_refused(self):
        for hours in (
            [],
            {"monday": []},
            {"mon": None},
            {"mon": ["09:00", "17:00"]},
            {"mon": [["09:00"]]},
            {"mon": [["9:00", "17:00"]]},
            {"mon": [["09:00", "24:01"]]},
            {"mon": [["17:00", "09:00"]]},
            {"mon": [["09:00", "09:00"]]},
            {"mon": [["13:00", "17:00"], ["09:00", "12:00"]]},
            {"mon": [[9, 17]]},
            {"mon": [["00:00", "01:00"]] * 6},
        ):
            with self.subTest(hours):
                answer = self.client.post(self.path, {"working_hours": hours})
                self.assertEqual(answer.status_code, 400, answer.content)
                self.assertEqual(answer.json()["errors"][0]["field"], "working_hours")
        self.assertFalse(Availability.objects.exists())
