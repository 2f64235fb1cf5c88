import datetime
import itertools

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from core import jobs
from core.models import Change, ChangeSet, Job
from core.testing import ALL, Cast, client_of, make_role, make_user, system_changes
from lead_management.models import Lead, LeadProcess, LeadStay
from lead_management.models.process import default_statuses

from .clock import stopped_at

# By status, the statuses that follow it.
ALLOWED = {
    "new": ["contacted", "qualified", "unqualified", "lost"],
    "contacted": ["qualified", "unqualified", "lost"],
    "qualified": ["contacted", "unqualified", "lost"],
    "unqualified": ["contacted"],
    "converted": [],
    "lost": ["contacted"],
}
MONDAY = datetime.datetime(2026, 3, 2, 9, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


class LifecycleTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        self.alice = client_of(self.cast.alice)
        self.manager = client_of(self.cast.manager)

    def lead(self, **values) -> Lead:
        lead = Lead()
        values = {"last_name": "Lovelace", "owner": self.cast.alice, **values}
        with system_changes(self.cast.organization) as changes:
            changes.save(lead, **values)
        return lead

    def move(self, lead, status, reason="", client=None, **headers):
        body = {"status": status, "reason": reason}
        client = client or self.alice
        return client.post(f"/api/leads/{lead.pk}/transition/", body, **headers)

    def assertProblem(self, response, status, code, field=None):
        self.assertEqual(response.status_code, status, response.content)
        problem = response.json()
        if field:
            found = [(e["field"], e["code"]) for e in problem["errors"]]
            self.assertEqual(found, [(field, code)])
        else:
            self.assertEqual(problem["code"], code)
        return problem

    def set_process(self, **changed):
        """The default process, but for these statuses."""
        statuses = default_statuses()
        for status, row in changed.items():
            statuses[status] = {**statuses[status], **row}
        process = LeadProcess.of(self.cast.organization)
        with system_changes(self.cast.organization) as changes:
            changes.save(process, statuses=statuses)


class TransitionTests(LifecycleTestCase):
    def test_every_pair_of_statuses_is_answered_as_the_process_says(self):
        for old, new in itertools.product(Lead.Status.values, repeat=2):
            with self.subTest(f"{old} -> {new}"):
                lead = self.lead(status=old)
                response = self.move(lead, new, "Because")
                lead.refresh_from_db()
                if new in ALLOWED[old]:
                    self.assertEqual(response.status_code, 200, response.content)
                    self.assertEqual(response.json()["status"], new)
                    self.assertEqual((lead.status, lead.version), (new, 2))
                    self.assertEqual(lead.status_reason, "Because")
                    continue
                if old == "converted":
                    self.assertProblem(response, 409, "converted")
                else:
                    problem = self.assertProblem(response, 409, "illegal_transition")
                    self.assertEqual(problem["current"], old)
                    self.assertEqual(problem["allowed"], ALLOWED[old])
                self.assertEqual((lead.status, lead.version), (old, 1))
                self.assertFalse(lead.stays.exists())

    def test_a_status_that_needs_a_reason_names_it(self):
        for status in ("unqualified", "lost"):
            lead = self.lead()
            self.assertProblem(self.move(lead, status), 400, "required", "reason")
            lead.refresh_from_db()
            self.assertEqual((lead.status, lead.version), ("new", 1))

    def test_a_status_that_needs_fields_names_them(self):
        self.set_process(
            qualified={"required_fields": ["email", "custom_fields.budget"]}
        )
        lead = self.lead()
        response = self.move(lead, "qualified")
        self.assertEqual(response.status_code, 400)
        self.assertEqual(
            {(e["field"], e["code"]) for e in response.json()["errors"]},
            {("email", "required"), ("custom_fields.budget", "required")},
        )
        values = {"email": "ada@example.com", "custom_fields": {"budget": 3}}
        self.alice.patch(f"/api/leads/{lead.pk}/", values)
        self.assertEqual(self.move(lead, "qualified").status_code, 200)

    def test_a_required_field_that_is_hidden_is_not_named(self):
        self.set_process(qualified={"required_fields": ["email"]})
        client = self.limited(hidden=["email"])
        response = self.move(self.lead(), "qualified", client=client)
        self.assertEqual(response.status_code, 400)
        self.assertNotIn("email", response.content.decode())

    def limited(self, **limits):
        role = make_role(self.cast.organization, "limited", ALL, {"lead": limits})
        return client_of(make_user(self.cast.organization, "limited", role))

    def test_to_whom_the_status_is_hidden_there_are_no_transitions_and_stays(self):
        client, lead = self.limited(hidden=["status"]), self.lead()
        missing = client.get(f"/api/leads/{self.cast.alice.pk}/")
        for response in (
            self.move(lead, "contacted", client=client),
            client.get(f"/api/leads/{lead.pk}/stays/"),
        ):
            self.assertProblem(response, 404, "not_found")
            self.assertEqual(response.content, missing.content)
        self.assertNotIn("status_since", client.get(f"/api/leads/{lead.pk}/").json())

    def test_who_may_only_read_the_status_does_not_move_it(self):
        client, lead = self.limited(read_only=["status"]), self.lead()
        response = self.move(lead, "contacted", client=client)
        self.assertEqual(response.status_code, 403)
        self.assertEqual(Lead.objects.get().status, "new")

    def test_who_may_not_edit_does_not_move(self):
        lead = self.lead()
        for user, status in (("bob", 403), ("stranger", 404), ("carol", 404)):
            client = client_of(getattr(self.cast, user))
            self.assertEqual(
                self.move(lead, "contacted", client=client).status_code, status
            )
        self.assertEqual(Lead.objects.get().version, 1)

    def test_bad_bodies_and_a_stale_version_are_refused(self):
        lead = self.lead()
        address = f"/api/leads/{lead.pk}/transition/"
        for body, field, code in (
            ({}, "status", "required"),
            ({"status": "sold"}, "status", "invalid_choice"),
            ({"status": "contacted", "x": 1}, "x", "unknown_field"),
            ({"status": "contacted", "reason": "x" * 501}, "reason", "max_length"),
        ):
            self.assertProblem(self.alice.post(address, body), 400, code, field)
        response = self.move(lead, "contacted", HTTP_IF_MATCH='"7-0"')
        self.assertProblem(response, 412, "stale")
        self.assertEqual(Lead.objects.get().version, 1)

    def test_a_dry_run_answers_and_moves_nothing(self):
        lead = self.lead()
        address = f"/api/leads/{lead.pk}/transition/?dry_run=true"
        answer = self.alice.post(address, {"status": "contacted"})
        self.assertEqual(answer.json()["status"], "contacted")
        self.assertEqual(Lead.objects.get().status, "new")
        self.assertFalse(LeadStay.objects.exists())


class BulkTransitionTests(LifecycleTestCase):
    def bulk(self, client=None, **change):
        body = {"filter": {}, "change": change}
        return (client or self.alice).post("/api/leads/bulk/", body)

    def test_many_are_moved_as_the_process_allows_it_each(self):
        for status in ("new", "contacted", "lost", "unqualified", "converted"):
            self.lead(status=status)
        wish = {"status": "lost", "reason": "No budget"}
        job = self.bulk(transition=wish).json()
        jobs.run(job["id"])
        job = Job.objects.get(pk=job["id"])
        self.assertEqual(
            {name: count for name, count in job.counts.items() if count},
            {
                **{"matched": 5, "changed": 2, "unchanged": 1, "refused": 2},
                **{"illegal_transition": 1, "converted": 1},
            },
        )
        moved = Lead.objects.filter(status_reason="No budget").order_by("pk")
        self.assertEqual([lead.status for lead in moved], ["lost", "lost"])
        self.assertEqual(
            [stay.status for stay in LeadStay.objects.order_by("lead")],
            ["new", "contacted"],
        )
        undo = self.manager.post(f"/api/change-sets/{job.change_set_id}/undo/")
        self.assertEqual(undo.status_code, 200, undo.content)
        self.assertFalse(LeadStay.objects.exists())
        self.assertEqual(Lead.objects.filter(status="lost").count(), 1)

    def test_moving_many_takes_as_many_queries_as_moving_few(self):
        counts = []
        for total in (2, 12):
            for _ in range(total):
                self.lead()
            job = self.bulk(transition={"status": "contacted"}).json()
            with CaptureQueriesContext(connection) as queries:
                jobs.run(job["id"])
            counts.append(len(queries))
        self.assertEqual(counts[0], counts[1])
        self.assertEqual(LeadStay.objects.count(), 14)

    def test_a_wish_that_is_none_is_refused(self):
        self.lead()
        for wish, field, code in (
            ({}, "change.transition.status", "required"),
            ({"status": "sold"}, "change.transition.status", "invalid_choice"),
            ({"status": "lost", "x": 1}, "change.transition.x", "unknown_field"),
        ):
            with self.subTest(wish):
                self.assertProblem(self.bulk(transition=wish), 400, code, field)
        answer = self.bulk(set={"status": "contacted"})
        self.assertProblem(answer, 400, "read_only", "change.set.status")
        role = make_role(
            self.cast.organization, "limited", ALL, {"lead": {"hidden": ["status"]}}
        )
        client = client_of(make_user(self.cast.organization, "limited", role))
        answer = self.bulk(client, transition={"status": "lost"})
        self.assertProblem(answer, 400, "unknown_field", "change.transition")
        self.assertEqual(Lead.objects.get().version, 1)


class StatusIsWrittenByNothingElseTests(LifecycleTestCase):
    def test_a_lead_begins_where_the_process_says(self):
        body = {"last_name": "Byron"}
        for status in Lead.Status.values:
            made = self.alice.post("/api/leads/", {**body, "status": status})
            if status in ("new", "contacted", "qualified"):
                self.assertEqual(made.json()["status"], status)
            else:
                self.assertProblem(made, 400, "not_initial", "status")
        self.assertEqual(Lead.objects.count(), 3)

    def test_patch_and_put_do_not_set_it(self):
        lead = self.lead()
        address = f"/api/leads/{lead.pk}/"
        for method in (self.alice.patch, self.alice.put):
            for name, value in (
                ("status", "contacted"),
                ("status_since", "2020-01-01T00:00:00Z"),
                ("lead_score", 100),
            ):
                response = method(address, {"last_name": "Byron", name: value})
                self.assertProblem(response, 400, "read_only", name)
        self.assertEqual(Lead.objects.get().version, 1)

    def test_put_without_it_keeps_it(self):
        lead = self.lead(status="qualified")
        address = f"/api/leads/{lead.pk}/"
        changed = self.alice.put(address, {"last_name": "Byron"}).json()
        self.assertEqual(changed["status"], "qualified")

    def test_a_converted_lead_refuses_edits_of_everybody(self):
        lead = self.lead(status="converted")
        address = f"/api/leads/{lead.pk}/"
        for client in (self.alice, self.manager):
            response = client.patch(address, {"notes": "x"})
            self.assertProblem(response, 409, "converted")
        read = self.alice.get(address).json()
        self.assertEqual(self.alice.put(address, read).status_code, 200)
        self.assertEqual(Lead.objects.get().version, 1)

    def test_nothing_that_writes_a_lead_changes_its_status_by_the_way(self):
        lead = Lead.objects.get(pk=self.lead().pk)
        lead.status = "qualified"
        with self.assertRaises(Exception) as raised:
            lead.full_clean()
        self.assertEqual(list(raised.exception.error_dict), ["status"])


class StayTests(LifecycleTestCase):
    def stays(self, lead):
        return [
            (stay["status"], stay["seconds"], stay["reason"])
            for stay in self.alice.get(f"/api/leads/{lead.pk}/stays/").json()
        ]

    def undo(self, lead):
        change = Change.objects.filter(record_id=lead.pk).order_by("-version").first()
        answer = self.manager.post(f"/api/change-sets/{change.change_set_id}/undo/")
        self.assertEqual(answer.status_code, 200, answer.content)

    def test_every_stay_is_kept_with_its_length_and_who_ended_it(self):
        with stopped_at(MONDAY) as clock:
            lead = self.lead()
            clock.shift(DAY)
            self.move(lead, "contacted")
            clock.shift(2 * DAY)
            self.move(lead, "lost", "Too dear")
            clock.shift(DAY)
            answer = self.alice.get(f"/api/leads/{lead.pk}/stays/").json()
        day = DAY.total_seconds()
        self.assertEqual(
            [(s["status"], s["seconds"], s["reason"]) for s in answer],
            [("new", day, ""), ("contacted", 2 * day, ""), ("lost", day, "Too dear")],
        )
        self.assertEqual(answer[1]["entered_at"], "2026-03-03T09:00:00Z")
        self.assertEqual(answer[1]["left_at"], "2026-03-05T09:00:00Z")
        self.assertEqual(answer[1]["ended_by"]["email"], self.cast.alice.email)
        self.assertEqual((answer[2]["left_at"], answer[2]["ended_by"]), (None, None))

    def test_undo_and_redo_of_transitions_are_exact(self):
        with stopped_at(MONDAY) as clock:
            lead = self.lead()
            states = [self.stays(lead)]
            for status in ("contacted", "qualified"):
                clock.shift(DAY)
                self.move(lead, status)
            rows = list(LeadStay.objects.values_list("status", "entered_at", "left_at"))
            clock.shift(DAY)
            day = DAY.total_seconds()
            self.undo(lead)
            self.assertEqual(
                self.stays(lead), [("new", day, ""), ("contacted", 2 * day, "")]
            )
            clock.shift(DAY)
            self.undo(lead)
            self.assertEqual(
                list(LeadStay.objects.values_list("status", "entered_at", "left_at")),
                rows,
            )
            self.assertEqual(states, [[("new", 0, "")]])

    def test_a_transition_that_others_followed_is_not_undone_alone(self):
        lead = self.lead(status="contacted")
        self.move(lead, "qualified")
        first = ChangeSet.objects.order_by("created_at").last()
        self.move(lead, "contacted")
        self.move(lead, "qualified")
        before = list(LeadStay.objects.values_list())
        answer = self.manager.post(f"/api/change-sets/{first.pk}/undo/")
        self.assertEqual(answer.status_code, 409, answer.content)
        self.assertEqual(list(LeadStay.objects.values_list()), before)
        self.assertEqual(Lead.objects.get().status, "qualified")

    def test_a_clock_that_went_back_does_not_take_back_a_stay(self):
        with stopped_at(MONDAY) as clock:
            lead = self.lead()
            clock.shift(-DAY)
            self.move(lead, "contacted")
        stay = LeadStay.objects.get()
        self.assertEqual(stay.left_at, MONDAY + datetime.timedelta.resolution)

    def test_the_stays_of_a_lead_cost_the_same_for_few_and_many(self):
        lead = self.lead()
        counts = []
        for status in ("contacted", "qualified", "contacted", "qualified"):
            self.move(lead, status)
            with self.assertNumQueries(2):
                counts.append(len(self.stays(lead)))
        self.assertEqual(counts, [2, 3, 4, 5])

    def test_a_purged_lead_takes_its_stays_along(self):
        from core.purge import purge_batch

        lead = self.lead()
        self.move(lead, "contacted")
        self.alice.delete(f"/api/leads/{lead.pk}/")
        later = datetime.datetime.now(datetime.UTC) + DAY
        self.assertEqual(purge_batch(self.cast.organization, later), 1)
        self.assertFalse(LeadStay.objects.exists())


class ProcessTests(LifecycleTestCase):
    PATH = "/api/lead-process/"

    @classmethod
    def setUpTestData(cls):
        super().setUpTestData()
        role = make_role(
            cls.cast.organization,
            "administrator",
            ALL,
            organization={"view": "all", "edit": "all"},
            changeset=ALL,
        )
        cls.admin_user = make_user(cls.cast.organization, "admin", role)

    def setUp(self):
        super().setUp()
        self.admin = client_of(self.admin_user)

    def test_everybody_sees_the_default_until_somebody_changes_it(self):
        for client in (self.alice, self.admin):
            answer = client.get(self.PATH).json()
            self.assertEqual(answer["statuses"], default_statuses())
            self.assertEqual(answer["version"], 1)
        etag = self.alice.get(self.PATH)["ETag"]
        again = self.alice.get(self.PATH, HTTP_IF_NONE_MATCH=etag)
        self.assertEqual(again.status_code, 304)
        self.assertFalse(LeadProcess.objects.exists())

    def test_administrators_change_it_and_it_holds_from_then_on(self):
        changed = self.admin.patch(self.PATH, {"statuses": self.strict()})
        self.assertEqual(changed.status_code, 200, changed.content)
        lead = self.lead()
        self.assertProblem(self.move(lead, "qualified"), 409, "illegal_transition")
        [edit, creation] = self.admin.get(f"{self.PATH}history/").json()["results"]
        self.assertEqual(creation["change_set"]["source"], "system")
        self.assertEqual(edit["before"]["statuses"], default_statuses())
        undone = self.admin.post(f"/api/change-sets/{edit['change_set']['id']}/undo/")
        self.assertEqual(undone.status_code, 200, undone.content)
        self.assertEqual(self.move(lead, "qualified").status_code, 200)

    def test_put_gives_back_the_defaults(self):
        self.admin.patch(self.PATH, {"statuses": self.strict()})
        answer = self.admin.put(self.PATH, {}).json()
        self.assertEqual(answer["statuses"], default_statuses())

    def strict(self):
        statuses = default_statuses()
        statuses["new"]["to"] = ["contacted"]
        return statuses

    def test_others_may_not_and_nothing_is_made(self):
        for user in (self.cast.alice, self.cast.manager, self.cast.reader):
            answer = client_of(user).patch(self.PATH, {"statuses": self.strict()})
            self.assertProblem(answer, 403, "permission_denied")
        self.assertFalse(LeadProcess.objects.exists())

    def test_the_process_of_one_organization_is_not_that_of_another(self):
        self.admin.patch(self.PATH, {"statuses": self.strict()})
        answer = client_of(self.cast.carol).get(self.PATH).json()
        self.assertEqual(answer["statuses"], default_statuses())

    def test_what_is_no_process_is_refused(self):
        def but(status, **row):
            statuses = default_statuses()
            statuses[status].update(row)
            return statuses

        fewer = default_statuses()
        del fewer["lost"]
        nowhere = default_statuses()
        for row in nowhere.values():
            row["initial"] = False
        for wrong in (
            None,
            [],
            {},
            "x",
            fewer,
            nowhere,
            {**default_statuses(), "sold": default_statuses()["lost"]},
            {**default_statuses(), "lost": []},
            but("new", to=["new"]),
            but("new", to=["lost", "lost"]),
            but("new", to=[1]),
            but("new", to="lost"),
            but("new", initial=1),
            but("new", reason_required="no"),
            but("new", surprise=1),
            but("new", required_fields=["status"]),
            but("new", required_fields=["version"]),
            but("new", required_fields=["nothing"]),
            but("new", required_fields=[{}]),
            but("new", required_fields={"email": 1}),
            but("converted", to=["lost"]),
            but("converted", initial=True),
        ):
            with self.subTest(wrong):
                answer = self.admin.patch(self.PATH, {"statuses": wrong})
                self.assertEqual(answer.status_code, 400, answer.content)
                self.assertEqual(answer.json()["errors"][0]["field"], "statuses")
        self.assertFalse(LeadProcess.objects.exists())
