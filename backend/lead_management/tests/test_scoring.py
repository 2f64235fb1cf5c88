"""How leads are scored: rules, decay, caps, and scores that follow every change."""

import datetime

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.models import Change, CustomField
from core.testing import (
    ALL,
    MARKER,
    Cast,
    client_of,
    make_role,
    make_user,
    system_changes,
)
from lead_management.models import Activity, Lead, LeadScore, ScoringModel
from lead_management.scoring.computing import Computation, compute
from lead_management.scoring.rescoring import (
    claimed,
    organizations_due,
    rescore,
    rescore_chunk,
    tidy,
)

from .clock import stopped_at
from .scoring import (
    engagement,
    fit,
    make_model,
    publish,
    publish_rules,
    shown_score,
    start,
)

MONDAY = datetime.datetime(2026, 3, 2, 9, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


class ScoringTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        self.here = self.cast.organization
        self.alice = client_of(self.cast.alice)

    def lead(self, **values) -> Lead:
        lead = Lead()
        values = {"last_name": "Lovelace", "owner": self.cast.alice, **values}
        with system_changes(self.here) as changes:
            changes.save(lead, **values)
        return lead

    def log(self, lead, **values) -> Activity:
        activity = Activity(lead=lead)
        values = {"kind": "call", "occurred_at": MONDAY, **values}
        with system_changes(self.here) as changes:
            changes.save(activity, owner=self.cast.alice, **values)
        return activity

    def change(self, record, **values):
        with system_changes(self.here) as changes:
            changes.save(record, **values)

    def explained(self, lead, client=None) -> dict:
        answer = (client or self.alice).get(f"/api/leads/{lead.pk}/score/")
        self.assertEqual(answer.status_code, 200, answer.content)
        return answer.json()

    def assertProblem(self, answer, status, code, field=None):
        self.assertEqual(answer.status_code, status, answer.content)
        problem = answer.json()
        if field:
            found = [(e["field"], e["code"]) for e in problem["errors"]]
            self.assertEqual(found, [(field, code)])
        else:
            self.assertEqual(problem["code"], code)


class RuleTests(ScoringTestCase):
    def test_fields_give_and_take_points(self):
        german = self.lead(country="DE", job_title="Head of sales")
        other = self.lead(country="FR", job_title="Head of sales")
        publish_rules(
            self.here,
            fit("Germany", 30, country="DE"),
            fit("Head", 25, job_title__icontains="head"),
            fit("France", -10, country__in=["FR", "IT"]),
        )
        self.assertEqual((shown_score(german), shown_score(other)), (55, 15))

    def test_custom_fields_are_asked_as_lists_ask_them(self):
        with system_changes(self.here) as changes:
            field = CustomField(organization=self.here)
            changes.save(
                field, applies_to="lead", key="seats", label="Seats", kind="number"
            )
        big, small = self.lead(), self.lead()
        self.change(big, custom_fields={"seats": 50})
        self.change(small, custom_fields={"seats": 9})
        publish_rules(
            self.here,
            fit("Big", 40, **{"custom_fields.seats__gte": 10}),
            fit("Everybody", 5),
        )
        self.assertEqual((shown_score(big), shown_score(small)), (45, 5))

        with self.subTest("a rule whose field is archived gives nothing"):
            with system_changes(self.here) as changes:
                changes.save(field, is_archived=True)
            self.change(big, notes="Changed")
            with self.assertLogs("lead_management", "WARNING"):
                self.assertEqual(shown_score(big), 5)

    def test_each_activity_of_a_kind_gives_points_up_to_a_count(self):
        lead = self.lead()
        for outcome in ("Reached", "Reached", "Left a message"):
            self.log(lead, outcome=outcome)
        self.log(lead, kind="email")
        with stopped_at(MONDAY):
            publish_rules(
                self.here,
                engagement("Calls", 3, kind="call"),
                engagement("Reached", 10, at_most=1, outcome="Reached"),
                engagement("Many e-mails", 20, at_least=2, kind="email"),
            )
            self.assertEqual(shown_score(lead), 19)

    def test_points_of_an_activity_decay_by_the_half_life(self):
        lead = self.lead()
        self.log(lead)
        with stopped_at(MONDAY + 10 * DAY) as clock:
            publish_rules(
                self.here, engagement("Call", 40, kind="call"), half_life_days=10
            )
            self.assertEqual(shown_score(lead), 20)
            [told] = self.explained(lead)["contributions"]
            self.assertEqual(
                (told["points"], told["at"]), (20.0, "2026-03-02T09:00:00Z")
            )
            clock.shift(10 * DAY)
            # Nobody changed anything: time made it due.
            self.assertEqual(organizations_due(), [self.here.pk])
            self.assertEqual(shown_score(lead), 10)
            clock.shift(100 * DAY)
            self.assertEqual(shown_score(lead), 0)
            clock.shift(100 * DAY)
            self.assertEqual(organizations_due(), [])

    def test_without_a_half_life_points_stay(self):
        lead = self.lead()
        self.log(lead)
        with stopped_at(MONDAY + 400 * DAY):
            publish_rules(self.here, engagement("Call", 40), half_life_days=None)
            self.assertEqual(shown_score(lead), 40)
            self.assertEqual(LeadScore.objects.get().due_at, None)

    def test_what_is_only_planned_counts_when_it_comes(self):
        lead = self.lead()
        with stopped_at(MONDAY) as clock:
            publish_rules(self.here, engagement("Meeting", 30, kind="meeting"))
            self.log(lead, kind="meeting", occurred_at=MONDAY + DAY)
            self.assertEqual(shown_score(lead), 0)
            clock.shift(DAY)
            self.assertEqual(shown_score(lead), 30)

    def test_each_group_gives_and_takes_no_more_than_its_cap(self):
        lead = self.lead(country="DE")
        for _ in range(3):
            self.log(lead)
        rules = [
            fit("Germany", 50, country="DE"),
            fit("Title", 50),
            engagement("Calls", 20, kind="call"),
        ]
        with stopped_at(MONDAY):
            publish_rules(self.here, *rules, fit_cap=70, engagement_cap=25)
            self.assertEqual(shown_score(lead), 95)
            groups = self.explained(lead)["groups"]
            self.assertEqual(
                groups,
                [
                    {"group": "fit", "points": 100, "counted": 70},
                    {"group": "engagement", "points": 60.0, "counted": 25},
                ],
            )
            rules[2]["points"] = -20
            publish_rules(self.here, *rules, fit_cap=70, engagement_cap=25)
            self.assertEqual(shown_score(lead), 45)

    def test_a_score_is_never_below_0_or_above_100(self):
        lead = self.lead()
        publish_rules(self.here, fit("All", -50))
        self.assertEqual(shown_score(lead), 0)
        publish_rules(self.here, fit("A", 100), fit("B", 100), fit_cap=100)
        self.assertEqual(shown_score(lead), 100)

    def test_other_organizations_are_not_scored(self):
        there = Lead()
        with system_changes(self.cast.other_organization) as changes:
            changes.save(there, last_name="Byron")
        publish_rules(self.here, fit("All", 50))
        self.assertFalse(LeadScore.objects.filter(lead=there).exists())
        self.assertEqual(shown_score(there), None)

    def test_a_chunk_takes_the_same_queries_for_few_and_many(self):
        model = publish_rules(
            self.here, fit("All", 50), engagement("Call", 5, kind="call")
        )
        counts = []
        self.assertEqual(model.organization, self.here)
        for total in (2, 20):
            for _ in range(total):
                self.log(self.lead(country="DE"))
            with CaptureQueriesContext(connection) as queries:
                self.assertEqual(rescore_chunk(Computation(model)), total)
            counts.append(len(queries))
        self.assertEqual(counts[0], counts[1])
        self.assertEqual(model.scores.filter(computed_at=None).count(), 0)


class FollowingTests(ScoringTestCase):
    """Whatever changes a lead or what happened with it makes its score due."""

    def setUp(self):
        super().setUp()
        publish_rules(
            self.here, fit("Germany", 30, country="DE"), engagement("Call", 20)
        )

    def assertDue(self, *leads):
        due = LeadScore.objects.due().values_list("lead", flat=True)
        self.assertEqual(set(due), {lead.pk for lead in leads})
        rescore(self.here.pk)

    def test_a_new_lead_is_listed_by_score_before_it_is_computed(self):
        lead = self.lead(country="DE")
        listed = self.alice.get("/api/leads/", {"ordering": "-lead_score"}).json()
        self.assertEqual([r["id"] for r in listed["results"]], [str(lead.pk)])
        self.assertEqual(listed["results"][0]["lead_score"], 0)
        self.assertFalse(self.explained(lead)["is_current"])
        self.assertDue(lead)
        self.assertTrue(self.explained(lead)["is_current"])
        self.assertEqual(self.explained(lead)["total"], 30)

    def test_edits_activities_and_undo_are_followed(self):
        lead, other = self.lead(), self.lead()
        self.assertDue(lead, other)
        self.change(lead, country="DE")
        self.assertDue(lead)
        self.assertEqual(shown_score(lead), 30)
        call = self.log(lead, occurred_at=timezone.now())
        self.assertDue(lead)
        self.assertEqual(shown_score(lead), 50)
        self.change(call, lead=other)
        self.assertDue(lead, other)
        self.assertEqual((shown_score(lead), shown_score(other)), (30, 20))
        with system_changes(self.here) as changes:
            changes.delete(call)
        self.assertDue(other)
        edit = Change.objects.filter(record_id=lead.pk, after__country="DE").get()
        manager = client_of(self.cast.manager)
        undone = manager.post(f"/api/change-sets/{edit.change_set_id}/undo/")
        self.assertEqual(undone.status_code, 200, undone.content)
        self.assertDue(lead)
        self.assertEqual(shown_score(lead), 0)

    def test_what_changed_while_it_was_computed_stays_due(self):
        lead = self.lead()
        model = ScoringModel.objects.get()
        rows = claimed(model, 10)
        self.assertFalse(claimed(model, 10))
        self.change(lead, country="DE")
        compute(Computation(model), rows)
        self.assertDue(lead)
        self.assertEqual(shown_score(lead), 30)

    def test_a_call_makes_a_score_due_once(self):
        """Though it changes the lead too."""
        lead = self.lead()
        call = {"kind": "call", "lead": str(lead.pk), "subject": "Hello"}
        with CaptureQueriesContext(connection) as queries:
            self.assertEqual(self.alice.post("/api/activities/", call).status_code, 201)
        table = LeadScore._meta.db_table
        due = [q for q in queries if q["sql"].startswith(f'UPDATE "{table}"')]
        self.assertEqual(len(due), 1)
        self.assertDue(lead)

    def test_a_worker_is_told_once_for_each_set_of_changes(self):
        with (
            self.captureOnCommitCallbacks() as callbacks,
            system_changes(self.here) as changes,
        ):
            for name in ("A", "B", "C"):
                changes.save(Lead(), last_name=name)
        told = [
            c for c in callbacks if getattr(c, "func", None).__name__ == "tell_once"
        ]
        self.assertEqual(len(told), 1)

    def test_a_score_is_no_edit_of_the_lead(self):
        lead = self.lead(country="DE")
        address = f"/api/leads/{lead.pk}/"
        before = self.alice.get(address)
        rescore(self.here.pk)
        after = self.alice.get(address, HTTP_IF_NONE_MATCH=before["ETag"])
        self.assertEqual((after.status_code, after.json()["lead_score"]), (200, 30))
        self.assertEqual(after.json()["version"], 1)
        self.assertEqual(Change.objects.filter(record_id=lead.pk).count(), 1)
        # Whoever read the lead before its score changed may still write it.
        saved = self.alice.patch(address, {"notes": "x"}, HTTP_IF_MATCH=before["ETag"])
        self.assertEqual(saved.status_code, 200)
        self.assertEqual(saved.json()["lead_score"], 30)

    def test_a_restored_lead_is_scored_by_what_was_published_meanwhile(self):
        lead = self.lead(country="DE")
        with system_changes(self.here) as changes:
            changes.delete(lead)
        publish_rules(self.here, fit("All", 70), fit_cap=100)
        self.assertEqual(shown_score(lead), None)
        with system_changes(self.here) as changes:
            changes.restore(lead)
        self.assertEqual(shown_score(lead), 70)

    def test_what_was_replaced_is_removed_and_what_is_missing_made(self):
        lead = self.lead(country="DE")
        publish_rules(self.here, fit("All", 70), fit_cap=100)
        self.assertEqual(LeadScore.objects.count(), 2)
        # As of a lead that was being made while the version was published.
        LeadScore.objects.current().delete()
        tidy()
        self.assertEqual(LeadScore.objects.count(), 2)
        self.assertEqual(shown_score(lead), 70)
        with stopped_at(timezone.now() + DAY):
            tidy()
        self.assertEqual(LeadScore.objects.get().total, 70)


class ListTests(ScoringTestCase):
    def setUp(self):
        super().setUp()
        self.leads = [self.lead(probability=n, last_name=f"{n}") for n in range(5)]
        publish_rules(
            self.here,
            *(fit(f"{n}", 10 * n, probability__gte=n) for n in range(1, 5)),
            fit_cap=100,
        )

    def names(self, **query) -> list[str]:
        answer = self.alice.get("/api/leads/", query)
        self.assertEqual(answer.status_code, 200, answer.content)
        return [r["last_name"] for r in answer.json()["results"]]

    def test_leads_are_filtered_and_ordered_by_their_score(self):
        """Their scores are 0, 10, 30, 60 and 100."""
        self.assertEqual(self.names(ordering="-lead_score"), ["4", "3", "2", "1", "0"])
        self.assertEqual(self.names(ordering="lead_score"), ["0", "1", "2", "3", "4"])
        for query, expected in (
            ({"lead_score": "30"}, ["2"]),
            ({"lead_score__gte": "30", "lead_score__lt": "100"}, ["2", "3"]),
            ({"lead_score__gt": "60"}, ["4"]),
            ({"lead_score__in": "0,100"}, ["0", "4"]),
            ({"lead_score__lte": "10"}, ["0", "1"]),
        ):
            with self.subTest(query):
                found = self.names(ordering="created_at", **query)
                self.assertEqual(found, expected)
        seen, url = [], "/api/leads/?ordering=-lead_score&page_size=2&cursor="
        while url:
            page = self.alice.get(url).json()
            seen += [r["lead_score"] for r in page["results"]]
            url = page["next"]
        self.assertEqual(seen, [100, 60, 30, 10, 0])

    def test_wrong_scores_are_named(self):
        for query in ({"lead_score": "x"}, {"lead_score__gte": "101"}):
            with self.subTest(query):
                answer = self.alice.get("/api/leads/", query)
                [error] = answer.json()["errors"]
                self.assertEqual(answer.status_code, 400)
                self.assertEqual([error["field"]], list(query))

    def test_without_a_model_nothing_has_a_score(self):
        carol = client_of(self.cast.carol)
        carol.post("/api/leads/", {"last_name": "Byron"})
        for query in ({}, {"ordering": "-lead_score"}):
            [lead] = carol.get("/api/leads/", query).json()["results"]
            self.assertEqual(lead["lead_score"], None)
        listed = carol.get("/api/leads/", {"lead_score__gte": "0"}).json()
        self.assertEqual(listed["count"], 0)

    def test_the_order_by_score_is_that_of_its_index(self):
        with CaptureQueriesContext(connection) as queries:
            self.names(ordering="-lead_score")
        [listed] = [q["sql"] for q in queries if "LIMIT 26" in q["sql"]]
        with connection.cursor() as cursor:
            explain = "EXPLAIN QUERY PLAN"
            if connection.vendor == "postgresql":
                # Of five leads it would sort.
                explain = "EXPLAIN"
                for way in ("sort", "seqscan", "hashjoin", "mergejoin"):
                    cursor.execute(f"SET LOCAL enable_{way} = off")
            cursor.execute(f"{explain} {listed}")
            plan = str(cursor.fetchall())
        self.assertIn("leadscore_highest", plan)
        self.assertNotRegex(plan, "Sort|TEMP B-TREE")

    def test_a_list_takes_one_more_query_to_order_by_score(self):
        for query, expected in (({}, 1), ({"ordering": "-lead_score"}, 2)):
            with self.subTest(query), CaptureQueriesContext(connection) as queries:
                self.names(**query)
            self.assertEqual(len(queries), expected)

    def test_an_export_has_the_score(self):
        from core.jobs import run

        body = {
            "record_type": "lead",
            "filters": {"lead_score__gte": 60},
            "fields": ["last_name", "lead_score"],
            "ordering": "-lead_score",
        }
        asked = self.alice.post("/api/exports/", body)
        run(asked.json()["id"])
        address = f"/api/exports/{asked.json()['id']}/download/"
        content = b"".join(self.alice.get(address)).decode("utf-8-sig")
        self.assertEqual(
            content.splitlines(), ["last_name,lead_score", "4,100", "3,60"]
        )


class ExplanationTests(ScoringTestCase):
    def test_every_contribution_is_told_with_its_rule_points_and_date(self):
        lead = self.lead(country="DE")
        self.log(lead)
        with stopped_at(MONDAY + DAY):
            model = publish_rules(
                self.here,
                fit("Germany", 30, country="DE"),
                engagement("Call", 25, kind="call"),
                half_life_days=None,
            )
            told = self.explained(lead)
        self.assertEqual(
            told,
            {
                "total": 55,
                "grade": "B",
                "computed_total": 55,
                "override": None,
                "groups": [
                    {"group": "fit", "points": 30, "counted": 30},
                    {"group": "engagement", "points": 25, "counted": 25},
                ],
                "contributions": [
                    {"group": "fit", "rule": "Germany", "points": 30, "at": None},
                    {
                        "group": "engagement",
                        "rule": "Call",
                        "points": 25,
                        "at": "2026-03-02T09:00:00Z",
                    },
                ],
                "scoring_model": {
                    "id": str(model.pk),
                    "number": 1,
                    "name": "Rules",
                    "status": "published",
                },
                "computed_at": "2026-03-03T09:00:00Z",
                "is_current": True,
            },
        )

    def test_what_asks_a_hidden_field_is_not_named(self):
        lead = self.lead(country="DE", city=MARKER)
        publish_rules(
            self.here,
            fit(f"In {MARKER}", 10, city=MARKER),
            fit("Germany", 20, country="DE"),
        )
        role = make_role(self.here, "limited", ALL, {"lead": {"hidden": ["city"]}})
        limited = client_of(make_user(self.here, "limited", role))
        told = self.explained(lead, limited)
        names = [one["rule"] for one in told["contributions"]]
        self.assertEqual((told["total"], names), (30, [None, "Germany"]))
        self.assertNotIn(MARKER, str(told))

    def test_to_whom_the_score_is_hidden_nothing_tells_it(self):
        lead = self.lead()
        publish_rules(self.here, fit("All", 50))
        role = make_role(
            self.here, "limited", ALL, {"lead": {"hidden": ["lead_score"]}}
        )
        limited = client_of(make_user(self.here, "limited", role))
        shown = limited.get(f"/api/leads/{lead.pk}/")
        self.assertEqual(shown.status_code, 200)
        self.assertNotIn("score", shown.content.decode())
        address = f"/api/leads/{lead.pk}/score/"
        self.assertProblem(limited.get(address), 404, "not_found")
        put = limited.put(f"{address}override/", {})
        self.assertProblem(put, 404, "not_found")
        for query in ("ordering=-lead_score", "lead_score__gte=1", "fields=lead_score"):
            with self.subTest(query):
                answer = limited.get(f"/api/leads/?{query}")
                self.assertEqual(answer.status_code, 400)


class OverrideTests(ScoringTestCase):
    def setUp(self):
        super().setUp()
        self.one = self.lead()
        self.address = f"/api/leads/{self.one.pk}/score/override/"
        self.until = timezone.now() + DAY
        self.body = {
            "score": 90,
            "reason": "They called us",
            "until": self.until.isoformat(),
        }

    def publish(self):
        publish_rules(self.here, fit("All", 20))

    def test_an_override_is_shown_told_journalled_and_expires(self):
        self.publish()
        answer = self.alice.put(self.address, self.body)
        self.assertEqual(answer.status_code, 200, answer.content)
        told = answer.json()
        self.assertEqual(
            (told["total"], told["grade"], told["computed_total"]), (90, "A", 20)
        )
        self.assertEqual(told["override"]["reason"], "They called us")
        self.assertEqual(told["override"]["set_by"]["email"], self.cast.alice.email)
        listed = self.alice.get("/api/leads/", {"lead_score__gte": "90"}).json()
        self.assertEqual((listed["count"], listed["results"][0]["version"]), (1, 2))
        change = Change.objects.get(record_id=self.one.pk, version=2)
        self.assertEqual(change.after["score_override"], 90)
        self.assertEqual(shown_score(self.one), 90)
        with stopped_at(self.until):
            self.assertEqual(organizations_due(), [self.here.pk])
            self.assertEqual(shown_score(self.one), 20)
            self.assertEqual(self.explained(self.one)["override"], None)

    def test_it_is_undone_and_ended(self):
        self.publish()
        self.alice.put(self.address, self.body)
        change = Change.objects.get(record_id=self.one.pk, version=2)
        undo = f"/api/change-sets/{change.change_set_id}/undo/"
        self.assertEqual(self.alice.post(undo).status_code, 200)
        self.assertEqual(shown_score(self.one), 20)
        self.assertProblem(self.alice.delete(self.address), 409, "not_overridden")
        self.alice.put(self.address, self.body)
        ended = self.alice.delete(self.address)
        self.assertEqual((ended.status_code, ended.json()["total"]), (200, 20))

    def test_it_takes_a_published_model_and_the_right_version(self):
        self.assertProblem(self.alice.put(self.address, self.body), 409, "not_scored")
        self.publish()
        stale = self.alice.put(self.address, self.body, HTTP_IF_MATCH='"7-x"')
        self.assertProblem(stale, 412, "stale")
        trial = self.alice.put(f"{self.address}?dry_run=true", self.body)
        self.assertEqual(trial.json()["total"], 90)
        self.assertEqual(Lead.objects.get(pk=self.one.pk).version, 1)
        self.assertEqual(shown_score(self.one), 20)

    def test_bad_input_names_the_field(self):
        self.publish()
        past, far = timezone.now() - DAY, timezone.now() + 400 * DAY
        for name, value, code in (
            ("score", 101, "max_value"),
            ("score", -1, "min_value"),
            ("score", "x", "invalid"),
            ("reason", "", "blank"),
            ("reason", None, "null"),
            ("until", past.isoformat(), "out_of_range"),
            ("until", far.isoformat(), "out_of_range"),
            ("until", "x", "invalid"),
            ("surprise", 1, "unknown_field"),
        ):
            with self.subTest(f"{name}: {value}"):
                answer = self.alice.put(self.address, {**self.body, name: value})
                self.assertProblem(answer, 400, code, name)
        for name in self.body:
            body = {k: v for k, v in self.body.items() if k != name}
            self.assertProblem(
                self.alice.put(self.address, body), 400, "required", name
            )
        self.assertEqual(Lead.objects.get(pk=self.one.pk).version, 1)

    def test_nothing_else_sets_it(self):
        for name in ("lead_score", "score_override", "score_override_until"):
            answer = self.alice.patch(f"/api/leads/{self.one.pk}/", {name: 50})
            self.assertEqual(answer.status_code, 400)
            [error] = answer.json()["errors"]
            self.assertEqual(error["field"], name)


class PublishingTests(ScoringTestCase):
    def test_readers_see_the_old_version_until_all_is_computed(self):
        lead = self.lead()
        publish_rules(self.here, fit("Old", 20))
        job = start(make_model(self.here, fit("New", 50)))
        from lead_management.scoring.publication import PublicationHandler

        handler = PublicationHandler(job)
        self.assertFalse(handler.step(job))
        late = self.lead(last_name="Byron")
        self.assertFalse(handler.step(job))
        self.assertEqual((shown_score(lead), shown_score(late)), (20, 20))
        steps = 0
        while not handler.step(job):
            steps += 1
        self.assertLess(steps, 5)
        self.assertEqual((shown_score(lead), shown_score(late)), (50, 50))
        self.assertEqual(job.total, 1)

    def test_a_version_that_was_not_published_is_a_draft_again(self):
        from core import jobs

        self.lead()
        model = make_model(self.here)
        job = start(model)
        with self.captureOnCommitCallbacks(execute=True):
            jobs.cancel(job)
        model.refresh_from_db()
        self.assertEqual(model.status, "draft")
        publish(model)
        self.assertEqual(model.status, "published")

    def test_a_change_while_it_is_computed_is_part_of_it(self):
        lead = self.lead()
        job = start(make_model(self.here, fit("Germany", 50, country="DE")))
        from lead_management.scoring.publication import PublicationHandler

        handler = PublicationHandler(job)
        handler.step(job)
        handler.step(job)
        self.change(lead, country="DE")
        while not handler.step(job):
            pass
        self.assertEqual(shown_score(lead), 50)
