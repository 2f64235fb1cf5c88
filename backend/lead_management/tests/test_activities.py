from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from core.models import Change
from core.testing import (
    ALL,
    MARKER,
    RecordContract,
    client_of,
    make_role,
    make_user,
    system_changes,
)
from lead_management.models import Activity, Lead

from .clock import stopped_at
from .test_lifecycle import DAY, MONDAY, LifecycleTestCase


class ActivityContract(RecordContract, TestCase):
    path = "/api/activities/"
    # A note writes nothing but itself.
    valid = {
        "kind": "note",
        "subject": "Note {n}",
        "occurred_at": "2026-03-01T10:00:00Z",
    }
    change = {"outcome": "Reached"}
    needs = {"lead": ("/api/leads/", {"last_name": "Lovelace"})}


class ActivityTestCase(LifecycleTestCase):
    def log(self, client=None, status=201, **body):
        body = {"kind": "call", "occurred_at": "2026-03-02T09:00:00Z", **body}
        answer = (client or self.alice).post("/api/activities/", body)
        self.assertEqual(answer.status_code, status, answer.content)
        return answer.json()

    def stored(self, lead):
        return Lead.objects.get(pk=lead.pk)


class TouchTests(ActivityTestCase):
    def test_a_call_e_mail_or_meeting_moves_the_lead_and_is_undone_with_it(self):
        for kind in ("call", "email", "meeting"):
            lead = self.lead()
            before = self.alice.get(f"/api/leads/{lead.pk}/").json()
            self.log(kind=kind, lead=lead.pk)
            touched = self.stored(lead)
            self.assertEqual((touched.status, touched.version), ("contacted", 2))
            self.assertEqual(touched.last_contacted_at, MONDAY)
            self.assertEqual(touched.stays.get().status, "new")
            change = Change.objects.get(record_id=lead.pk, version=2)
            types = change.change_set.changes.values_list("record_type", flat=True)
            self.assertEqual(set(types), {"activity", "lead"})
            self.alice.post(f"/api/change-sets/{change.change_set_id}/undo/")
            now = self.alice.get(f"/api/leads/{lead.pk}/").json()
            written = ("version", "updated_at")
            self.assertEqual(
                {k: v for k, v in now.items() if k not in written},
                {k: v for k, v in before.items() if k not in written},
            )
            self.assertFalse(self.stored(lead).stays.exists())
            self.assertFalse(Activity.objects.live().exists())

    def test_a_note_or_a_task_is_no_contact(self):
        lead = self.lead()
        for kind in ("note", "task"):
            self.log(kind=kind, lead=lead.pk)
        self.assertEqual(self.stored(lead).version, 1)

    def test_a_meeting_that_is_to_come_is_no_contact_yet(self):
        lead = self.lead()
        self.log(kind="meeting", lead=lead.pk, occurred_at="2126-03-01T10:00:00Z")
        self.assertEqual(self.stored(lead).version, 1)

    def test_the_moment_of_the_last_contact_never_goes_back(self):
        lead = self.lead(last_contacted_at=MONDAY + DAY, status="qualified")
        self.log(lead=lead.pk)
        self.assertEqual(self.stored(lead).version, 1)
        call = self.log(lead=lead.pk)
        later = {"occurred_at": "2026-03-04T09:00:00Z"}
        self.alice.patch(f"/api/activities/{call['id']}/", later)
        self.assertEqual(self.stored(lead).last_contacted_at, MONDAY + 2 * DAY)
        self.assertEqual(self.stored(lead).status, "qualified")

    def test_redo_of_what_moved_the_lead_is_exact(self):
        contact = self.alice.post("/api/contacts/", {"last_name": "Byron"}).json()
        note = self.log(kind="note", contact=contact["id"])
        # Younger than the note: a redo writes the note first.
        lead = self.lead()
        call = {"kind": "call", "lead": str(lead.pk)}
        self.alice.patch(f"/api/activities/{note['id']}/", call)
        address = f"/api/leads/{lead.pk}/"
        moved = self.alice.get(address).json()
        for version in (2, 3):
            change = Change.objects.get(record_id=lead.pk, version=version)
            undo = f"/api/change-sets/{change.change_set_id}/undo/"
            self.assertEqual(self.manager.post(undo).status_code, 200)
        now = self.alice.get(address).json()
        written = ("version", "updated_at")
        self.assertEqual(
            {k: v for k, v in now.items() if k not in written},
            {k: v for k, v in moved.items() if k not in written},
        )
        self.assertEqual(self.stored(lead).stays.count(), 1)

    def test_a_process_that_asks_for_more_leaves_the_lead_new(self):
        self.set_process(contacted={"required_fields": ["email"]})
        lead = self.lead()
        self.log(lead=lead.pk)
        self.assertEqual(self.stored(lead).status, "new")
        self.assertEqual(self.stored(lead).last_contacted_at, MONDAY)

    def test_a_converted_lead_stays_as_it_is(self):
        lead = self.lead(status="converted")
        self.log(lead=lead.pk)
        self.assertEqual(self.stored(lead).version, 1)

    def test_who_sees_a_lead_but_may_not_edit_it_may_tell_of_a_call(self):
        lead = self.lead()
        self.log(client_of(self.cast.bob), lead=lead.pk)
        self.assertEqual(self.stored(lead).status, "contacted")

    def test_many_at_once_touch_each_lead_once(self):
        leads = [self.lead() for _ in range(3)]
        activities = [
            Activity(
                kind="call",
                lead=lead,
                owner=self.cast.alice,
                occurred_at=MONDAY + n * DAY,
            )
            for lead in leads
            for n in range(4)
        ]
        with system_changes(self.cast.organization) as changes:
            changes.bulk_create(Activity, activities)
        for lead in leads:
            stored = self.stored(lead)
            self.assertEqual(stored.last_contacted_at, MONDAY + 3 * DAY)
            self.assertEqual(stored.version, 2)


class RuleTests(ActivityTestCase):
    def test_an_activity_is_about_something(self):
        answer = self.log(status=400)
        self.assertEqual(answer["errors"][0]["code"], "subject_required")
        self.assertFalse(Activity.objects.exists())

    def test_only_a_task_is_due(self):
        lead = self.lead()
        for name in ("due_at", "reminder_at", "done_at"):
            answer = self.log(status=400, lead=lead.pk, **{name: MONDAY})
            self.assertEqual(
                [(e["field"], e["code"]) for e in answer["errors"]],
                [(name, "not_a_task")],
            )
        self.assertFalse(Activity.objects.exists())

    def test_participants_are_contacts_and_users_that_one_sees(self):
        lead = self.lead()
        mine = self.alice.post("/api/contacts/", {"last_name": "Babbage"}).json()["id"]
        stranger = client_of(self.cast.stranger)
        hidden = stranger.post("/api/contacts/", {"last_name": "Byron"}).json()["id"]
        good = [{"contact": mine}, {"user": str(self.cast.bob.pk)}]
        made = self.log(lead=lead.pk, participants=[*good, good[0]])
        self.assertEqual(made["participants"], good)
        for wrong, code in (
            ([{"contact": hidden}], "does_not_exist"),
            ([{"contact": str(self.cast.bob.pk)}], "does_not_exist"),
            ([{"user": str(self.cast.carol.pk)}], "does_not_exist"),
            ([{}], "invalid"),
            ([{"contact": mine, "user": str(self.cast.bob.pk)}], "invalid"),
            ([{"lead": str(lead.pk)}], "unknown_field"),
            ([{"user": "x"}], "invalid"),
            ([good[0]] * 51, "max_length"),
            ("x", "not_a_list"),
        ):
            answer = self.log(status=400, lead=lead.pk, participants=wrong)
            self.assertEqual(answer["errors"][0]["code"], code, wrong)
            field = answer["errors"][0]["field"]
            self.assertTrue(field.startswith("participants"), (wrong, answer))
        address = f"/api/activities/{made['id']}/"
        kept = client_of(self.cast.manager).put(address, made)
        self.assertEqual(kept.json(), made)

    def test_moments_without_an_offset_are_of_ones_own_time_zone(self):
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.alice, timezone="Asia/Tokyo")
        task = self.log(
            kind="task",
            lead=self.lead().pk,
            reminder_at="2026-03-02T09:00:00",
            due_at="2026-03-02T09:00:00+01:00",
        )
        self.assertEqual(task["reminder_at"], "2026-03-02T00:00:00Z")
        self.assertEqual(task["due_at"], "2026-03-02T08:00:00Z")

    def test_tasks_are_found_by_when_they_are_due(self):
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.alice, timezone="Asia/Tokyo")
        lead = self.lead().pk
        # It is Monday, 18:00, in Tokyo.
        for subject, due in (
            ("yesterday", "2026-03-01T14:00:00Z"),
            ("this morning", "2026-03-01T15:00:00Z"),
            ("tonight", "2026-03-02T14:59:00Z"),
            ("tomorrow", "2026-03-02T15:00:00Z"),
        ):
            self.log(kind="task", subject=subject, lead=lead, due_at=due)
        self.log(kind="task", subject="done", lead=lead, due_at=MONDAY, done_at=MONDAY)
        self.log(subject="call", lead=lead)

        def found(**query):
            query = {"ordering": "due_at", "fields": "subject", **query}
            answer = self.alice.get("/api/activities/", query).json()
            return [one["subject"] for one in answer["results"]]

        with stopped_at(MONDAY):
            self.assertEqual(found(due="overdue"), ["yesterday", "this morning"])
            self.assertEqual(found(due="today"), ["this morning", "tonight"])
            self.assertEqual(found(due="later"), ["tomorrow"])
        with stopped_at(MONDAY + DAY):
            # The next day the same question has another answer.
            self.assertEqual(found(due="today"), ["tomorrow"])
        self.assertEqual(len(found(open="true")), 4)
        self.assertEqual(found(open="false"), ["done", "call"])
        self.assertEqual(len(found(owner="me", kind="task")), 5)
        wrong = self.alice.get("/api/activities/", {"due": "x"})
        self.assertEqual(wrong.status_code, 400)

    def test_an_activity_goes_with_what_it_hangs_on(self):
        lead = self.lead()
        self.log(lead=lead.pk)
        self.alice.delete(f"/api/leads/{lead.pk}/")
        self.assertFalse(Activity.objects.live().exists())
        self.alice.post(f"/api/leads/{lead.pk}/restore/")
        self.assertTrue(Activity.objects.live().exists())


class TimelineTests(ActivityTestCase):
    def timeline(self, record, client=None, path="leads", **query):
        address = f"/api/{path}/{record}/timeline/"
        answer = (client or self.alice).get(address, query)
        self.assertEqual(answer.status_code, 200, answer.content)
        return answer.json()

    def kinds(self, *args, **kwargs):
        return [e["kind"] for e in self.timeline(*args, **kwargs)["results"]]

    def test_it_tells_changes_and_activities_the_newest_first(self):
        with stopped_at(MONDAY - DAY):
            lead = self.lead(email="ada@example.com")
        call = self.log(lead=lead.pk, subject="Hello")
        entries = self.timeline(lead.pk)["results"]
        self.assertEqual(
            [(e["kind"], e["at"]) for e in entries[1:]],
            [("activity", "2026-03-02T09:00:00Z"), ("change", "2026-03-01T09:00:00Z")],
        )
        update, activity, creation = entries
        self.assertEqual(update["change"]["after"]["status"], "contacted")
        self.assertEqual(activity["record"]["id"], call["id"])
        self.assertEqual(activity["record"]["subject"], "Hello")
        self.assertEqual(creation["change"]["after"]["email"], "ada@example.com")

    def test_contacts_and_companies_have_one_by_their_declaration(self):
        contact = self.alice.post("/api/contacts/", {"last_name": "Babbage"}).json()
        company = self.alice.post("/api/companies/", {"name": "Engines"}).json()
        self.log(contact=contact["id"], company=company["id"])
        for path, record in (("contacts", contact), ("companies", company)):
            kinds = self.kinds(record["id"], path=path)
            self.assertEqual(kinds, ["change", "activity"])

    def test_pages_and_cursors_show_every_entry_once(self):
        # All at one moment: the table decides, and then the id.
        with stopped_at(MONDAY):
            lead = self.lead()
            for n in range(3):
                self.log(kind="note", lead=lead.pk, subject=str(n))
                self.alice.patch(f"/api/leads/{lead.pk}/", {"notes": str(n)})
        whole = self.timeline(lead.pk)["results"]
        self.assertEqual(len(whole), 7)
        for start in ({"page_size": 2}, {"page_size": 2, "cursor": ""}):
            seen, page = [], self.timeline(lead.pk, **start)
            while True:
                seen += page["results"]
                if page["next"] is None:
                    break
                page = self.alice.get(page["next"]).json()
            self.assertEqual(seen, whole)
            back = self.alice.get(page["previous"]).json()["results"]
            self.assertEqual(back, whole[4:6])

    def test_it_is_narrowed_to_a_kind(self):
        lead = self.lead()
        self.log(kind="note", lead=lead.pk)
        self.assertEqual(self.kinds(lead.pk, kind="activity"), ["activity"])
        self.assertEqual(self.kinds(lead.pk, kind="change"), ["change"])
        for query in ({"kind": "tag"}, {"surprise": 1}, {"cursor": "x"}):
            answer = self.alice.get(f"/api/leads/{lead.pk}/timeline/", query)
            self.assertEqual(answer.status_code, 400)

    def test_what_the_reader_does_not_see_is_not_in_it(self):
        lead = self.lead()
        self.log(kind="note", lead=lead.pk, body="mine")
        # A manager's note is not for alice, who sees only what is her own.
        self.log(client_of(self.cast.manager), kind="note", lead=lead.pk)
        self.assertEqual(self.kinds(lead.pk).count("activity"), 1)
        self.assertEqual(self.timeline(lead.pk)["count"], 2)
        manager = client_of(self.cast.manager)
        self.assertEqual(self.kinds(lead.pk, manager).count("activity"), 2)
        for user in (self.cast.stranger, self.cast.carol):
            answer = client_of(user).get(f"/api/leads/{lead.pk}/timeline/")
            self.assertEqual(answer.status_code, 404)

    def test_fields_that_a_role_hides_are_not_told(self):
        lead = self.lead()
        self.alice.patch(f"/api/leads/{lead.pk}/", {"notes": MARKER})
        self.log(kind="note", lead=lead.pk, body=MARKER)
        for n, (hidden, kinds) in enumerate(
            (
                ({"lead": ["notes"], "activity": ["body"]}, 3),
                ({"lead": ["notes"], "activity": ["lead"]}, 2),
                ({"lead": ["notes"], "activity": ["occurred_at"]}, 2),
            )
        ):
            limits = {name: {"hidden": names} for name, names in hidden.items()}
            role = make_role(self.cast.organization, f"limited {n}", ALL, limits)
            user = make_user(self.cast.organization, f"limited{n}", role)
            answer = self.timeline(lead.pk, client_of(user))
            self.assertEqual(len(answer["results"]), kinds)
            self.assertNotIn(MARKER, str(answer["results"]))

    def test_it_costs_the_same_for_few_and_many(self):
        lead = self.lead()
        counts = []
        for total in (2, 20):
            while lead.activities.count() < total:
                self.log(kind="call", lead=lead.pk)
            with CaptureQueriesContext(connection) as queries:
                self.timeline(lead.pk, cursor="")
            counts.append(len(queries))
        # The lead, the places in two tables, their rows, and what it was made with.
        self.assertEqual(counts, [6, 6])
