"""What a conversion takes, what it leaves behind, and how it is taken back."""

from contact_management.models import Contact
from core.jobs import run
from core.models import Change, Job
from core.testing import ALL, client_of, make_role, make_user, system_changes
from core.tests.test_imports import ImportTestCase
from lead_management.models import Activity, Lead, LeadStay, Pipeline

from .test_conversion import EVERYTHING, VIEW_ALL, ConversionTestCase, rows


class LifecycleOfConversionTests(ConversionTestCase):
    def test_a_lead_is_converted_from_the_statuses_that_lead_there(self):
        allowed = {"unqualified": ["contacted"], "lost": ["contacted"]}
        for status in Lead.Status.values:
            with self.subTest(status):
                lead = self.lead(status=status)
                if status in ("new", "contacted", "qualified"):
                    made = self.convert(lead)
                    self.assertHas(made["lead"], status="converted", version=2)
                    stay = LeadStay.objects.get(lead=lead)
                    self.assertEqual(stay.status, status)
                    self.assertEqual(stay.ended_by, self.cast.alice)
                elif status == "converted":
                    self.refused(lead, 409, "converted")
                else:
                    problem = self.refused(lead, 409, "illegal_transition")
                    self.assertHas(problem, current=status, allowed=allowed[status])

    def test_a_process_says_from_where_and_what_it_takes(self):
        self.set_process(
            new={"to": ["contacted"]},
            converted={"required_fields": ["job_title"], "reason_required": True},
        )
        lead = self.lead()
        self.refused(lead, 409, "illegal_transition")
        self.move(lead, "contacted")
        self.refused(lead, 400, "required", "job_title", reason="Signed")
        self.alice.patch(f"/api/leads/{lead.pk}/", {"job_title": "Countess"})
        self.refused(lead, 400, "required", "reason")
        made = self.convert(lead, reason="Signed")
        self.assertHas(made["lead"], status_reason="Signed")

    def test_a_transition_does_not_lead_there_nor_is_it_told_to(self):
        problem = self.assertProblem(
            self.move(self.lead(), "converted", "x"), 409, "illegal_transition"
        )
        self.assertNotIn("converted", problem["allowed"])

    def test_a_second_conversion_names_what_the_first_made(self):
        lead = self.full_lead()
        made = self.convert(lead, **EVERYTHING)
        problem = self.refused(lead, 409, "converted", **EVERYTHING)
        self.assertHas(problem, **{name: made[name]["id"] for name in EVERYTHING})

    def test_a_stale_version_and_a_deleted_lead_are_refused(self):
        lead = self.full_lead()
        where = f"/api/leads/{lead.pk}/convert/"
        answer = self.alice.post(where, {}, HTTP_IF_MATCH='"7-0"')
        self.assertProblem(answer, 412, "stale")
        self.alice.delete(f"/api/leads/{lead.pk}/")
        self.refused(lead, 404, "not_found")


class ReadOnlyTests(ConversionTestCase):
    def test_no_address_changes_a_converted_lead_and_each_names_what_it_became(self):
        lead = self.full_lead()
        made = self.convert(lead, **EVERYTHING)
        ids = {name: made[name]["id"] for name in EVERYTHING}
        where, before = f"/api/leads/{lead.pk}/", rows()
        read = self.alice.get(where).json()
        edit = {"notes": "x"}
        for client in (self.alice, self.manager):
            for call, path, body in (
                (client.patch, where, edit),
                (client.put, where, {**read, **edit}),
                (client.put, "/api/leads/by/hubspot/4711/", edit),
                (client.post, f"{where}transition/", {"status": "contacted"}),
                (client.post, f"{where}convert/", {}),
                (client.delete, where, None),
            ):
                with self.subTest(path):
                    problem = self.assertProblem(call(path, body), 409, "converted")
                    self.assertHas(problem, **ids)
                    self.assertEqual(rows(), before)
            for method in ("update", "delete"):
                one = {"method": method, "id": str(lead.pk)}
                if method == "update":
                    one["body"] = edit
                body = {"operations": [one], "atomic": False}
                [result] = client.post("/api/leads/batch/", body).json()["results"]
                self.assertEqual(result["status"], 409)
                self.assertHas(result["problem"], code="converted", **ids)
            for change in (
                {"set": edit},
                {"add_tags": ["x"]},
                {"owner": str(self.cast.alice.pk), "set": edit},
                {"transition": {"status": "contacted"}},
                {"delete": True},
            ):
                body = {"ids": [str(lead.pk)], "change": change, "dry_run": True}
                job = client.post("/api/leads/bulk/", body).json()
                self.assertHas(job["counts"], changed=0, refused=1)
        self.assertEqual(rows(), before)

    def test_it_can_be_put_back_as_it_was_read(self):
        lead = self.full_lead()
        read = self.convert(lead)["lead"]
        answer = self.alice.put(f"/api/leads/{lead.pk}/", read)
        self.assertEqual((answer.status_code, answer.json()), (200, read))

    def test_what_it_became_is_set_by_nobody(self):
        contact = self.make("contacts", last_name="King")
        lead = self.lead()
        for name in ("contact", "company", "deal"):
            body = {f"converted_{name}": contact["id"]}
            answer = self.alice.patch(f"/api/leads/{lead.pk}/", body)
            self.assertProblem(answer, 400, "read_only", f"converted_{name}")

    def test_the_deletion_of_what_it_became_is_undone(self):
        lead = self.full_lead()
        made = self.convert(lead, **EVERYTHING)
        for name, path in (("deal", "deals"), ("contact", "contacts")):
            before = rows()
            self.alice.delete(f"/api/{path}/{made[name]['id']}/")
            self.assertIsNone(self.get(f"leads/{lead.pk}")[f"converted_{name}"])
            written = Change.objects.order_by("-pk").first().change_set_id
            self.undo({"change_set": written})
            self.assertEqual(rows(), before)
            self.alice.delete(f"/api/{path}/{made[name]['id']}/")
            self.alice.post(f"/api/{path}/{made[name]['id']}/restore/")
            self.assertEqual(rows(), before)

    def test_it_is_deleted_once_its_contact_is(self):
        lead = self.full_lead()
        made = self.convert(lead)
        answer = self.alice.delete(f"/api/contacts/{made['contact']['id']}/")
        self.assertEqual(answer.status_code, 204)
        shown = self.get(f"leads/{lead.pk}")
        self.assertHas(shown, status="converted", converted_contact=None)
        answer = self.alice.delete(f"/api/leads/{lead.pk}/")
        self.assertEqual(answer.status_code, 204)


class ImportOfConvertedTests(ImportTestCase):
    def test_an_import_leaves_it_as_it_is(self):
        body = {"last_name": "Lovelace", "email": "ada@example.com"}
        lead = self.alice.post("/api/leads/", body).json()
        where = f"/api/leads/{lead['id']}/"
        converted = self.alice.post(f"{where}convert/", {}).json()["lead"]
        shown = self.run_import(
            "Last Name,Email\nKing,ada@example.com\n",
            record_type="lead",
            mode="upsert",
        )
        self.assertEqual([code for _, _, code in self.codes(shown)], ["converted"])
        self.assertEqual(self.alice.get(where).json(), converted)


class UndoTests(ConversionTestCase):
    def converted(self):
        """All that a conversion can do, and the rows before it."""
        company = self.make("companies", name="Engines", domain="engines.example.com")
        contact = self.make("contacts", last_name="Byron", tags=["poet"])
        lead = self.full_lead()
        self.log(lead=str(lead.pk))
        self.log(lead=str(lead.pk), kind="task", due_at="2026-04-01T09:00:00Z")
        self.move(lead, "qualified")
        before = rows()
        wish = {"contact": {"id": contact["id"]}, "company": {"id": company["id"]}}
        return lead, self.convert(lead, **wish, deal={}), before

    def test_undo_brings_everything_back_and_redo_does_it_again(self):
        lead, made, before = self.converted()
        after = rows()
        undone = self.undo(made)
        self.assertEqual((undone["conflicts"], rows()), ([], before))
        redone = self.undo(undone)
        self.assertEqual((redone["conflicts"], rows()), ([], after))
        self.undo(redone)
        self.assertEqual(rows(), before)
        again = self.convert(lead, contact={"id": made["contact"]["id"]}, deal={})
        self.assertNotEqual(again["deal"]["id"], made["deal"]["id"])

    def test_a_lead_with_a_long_past_is_undone_by_a_job(self):
        lead = self.full_lead()
        notes = [
            Activity(kind="note", lead=lead, owner=self.cast.alice, subject=str(n))
            for n in range(210)
        ]
        with system_changes(self.cast.organization) as changes:
            changes.bulk_create(Activity, notes)
        before = rows()
        made = self.convert(lead, **EVERYTHING)
        self.assertEqual(made["activities"], {"note": 210})
        job = Job.objects.get(pk=self.undo(made, status=202)["id"])
        run(job.pk)
        job.refresh_from_db()
        self.assertEqual((job.status, job.counts["conflicts"]), ("done", 0))
        self.assertEqual(rows(), before)

    def test_what_was_new_goes_and_the_same_can_be_made_again(self):
        lead = self.full_lead()
        self.log(lead=str(lead.pk))
        before = rows()
        for _ in range(2):
            made = self.convert(lead, **EVERYTHING)
            self.undo(made)
            self.assertEqual(rows(), before)

    def test_what_was_changed_since_is_not_undone(self):
        _, made, _ = self.converted()
        other = self.make("contacts", last_name="King")["id"]
        contact, deal = made["contact"]["id"], made["deal"]["id"]
        address = f"/api/contacts/{contact}/"
        task = Activity.objects.get(kind="task")
        for call, path, body, code in (
            (self.alice.patch, address, {"job_title": "Queen"}, "edited_since"),
            (self.alice.patch, f"/api/deals/{deal}/", {"name": "x"}, "edited_since"),
            (
                *(self.alice.patch, f"/api/activities/{task.pk}/"),
                *({"contact": other}, "edited_since"),
            ),
            (
                *(self.alice.post, "/api/activities/"),
                *({"kind": "note", "deal": deal}, "in_use"),
            ),
        ):
            with self.subTest(path):
                answer = call(path, body)
                self.assertIn(answer.status_code, (200, 201), answer.content)
                before = rows()
                problem = self.undo(made, status=409)
                self.assertEqual(problem["code"], "undo_conflict")
                self.assertIn(code, {c["code"] for c in problem["conflicts"]})
                self.assertEqual(rows(), before)
                written = Change.objects.order_by("-pk").first().change_set_id
                self.undo({"change_set": written})

    def test_a_field_that_was_not_filled_may_be_changed_meanwhile(self):
        lead, made, _ = self.converted()
        where = f"/api/contacts/{made['contact']['id']}/"
        self.alice.patch(where, {"department": "Sums"})
        self.undo(made)
        self.assertEqual(self.get(f"leads/{lead.pk}")["status"], "qualified")
        self.assertHas(self.alice.get(where).json(), department="Sums", email="")

    def test_an_edit_of_the_lead_from_before_is_not_undone_meanwhile(self):
        lead = self.full_lead()
        self.alice.patch(f"/api/leads/{lead.pk}/", {"notes": "Other"})
        edit = Change.objects.get(record_id=lead.pk, version=2).change_set_id
        self.convert(lead)
        before = rows()
        problem = self.undo({"change_set": edit}, status=409)
        self.assertEqual([c["code"] for c in problem["conflicts"]], ["converted"])
        self.assertEqual(rows(), before)


class DryRunTests(ConversionTestCase):
    def test_it_says_what_would_be_and_changes_nothing(self):
        contact = self.make("contacts", last_name="Byron")
        lead = self.full_lead()
        self.log(lead=str(lead.pk))
        before, changes = rows(), Change.objects.count()
        wish = {"contact": {"id": contact["id"]}, "company": {}, "deal": {}}
        trial = self.convert(lead, query="?dry_run=true", **wish)
        self.assertEqual((rows(), Change.objects.count()), (before, changes))
        self.assertIsNone(trial["change_set"])
        made = self.convert(lead, **wish)
        self.assertEqual(
            trial["contact"]["after"].keys(), made["contact"]["after"].keys()
        )
        self.assertEqual(trial["activities"], made["activities"])
        for name in EVERYTHING:
            self.assertEqual(trial[name]["is_new"], made[name]["is_new"])
        self.assertEqual(
            trial["company"]["after"] | {"owner": None},
            made["company"]["after"] | {"owner": None},
        )

    def test_what_would_be_refused_is_refused(self):
        self.make("contacts", last_name="Byron", email="ada@example.com")
        lead = self.full_lead()
        self.convert(lead, query="?dry_run=true", status=409)


class RightsOfConversionTests(ConversionTestCase):
    def test_it_takes_the_right_to_make_each_of_them(self):
        lead = self.full_lead()
        for record_type, part in (
            ("contact", "contact"),
            ("company", "company"),
            ("deal", "deal"),
            ("dealcontact", "deal"),
        ):
            with self.subTest(record_type):
                role = make_role(
                    self.cast.organization,
                    record_type,
                    ALL,
                    **{record_type: {**ALL, "create": "none"}},
                )
                user = make_user(self.cast.organization, record_type, role)
                self.refused(
                    *(lead, 403, "permission_denied", None, client_of(user)),
                    **{part: {}},
                )

    def test_it_takes_the_right_to_edit_what_is_there(self):
        lead = self.full_lead()
        bobs = {
            "contact": self.make("contacts", self.manager, last_name="King"),
            "company": self.make("companies", self.manager, name="Looms"),
            "deal": self.make("deals", self.manager, name="Loom"),
        }
        client = self.limited(VIEW_ALL, lead=ALL)
        for name, record in bobs.items():
            wish = {name: {"id": record["id"]}}
            self.refused(lead, 403, "permission_denied", None, client, **wish)

    def test_what_is_not_seen_is_unknown(self):
        lead = self.full_lead()
        carol, stranger = client_of(self.cast.carol), client_of(self.cast.stranger)
        for name, path, body in (
            ("contact", "contacts", {"last_name": "King"}),
            ("company", "companies", {"name": "Looms"}),
            ("deal", "deals", {"name": "Loom"}),
        ):
            none = self.refused(
                *(lead, 400, "does_not_exist", f"{name}.id"),
                **{name: {"id": str(lead.pk)}},
            )
            for client in (carol, stranger):
                pk = self.make(path, client, **body)["id"]
                problem = self.refused(
                    *(lead, 400, "does_not_exist", f"{name}.id"),
                    **{name: {"id": pk}},
                )
                detail = problem["errors"][0]["detail"].replace(pk, str(lead.pk))
                self.assertEqual(detail, none["errors"][0]["detail"])
        there = Pipeline.objects.get(organization=self.cast.other_organization)
        for field, wish in (
            ("deal.pipeline", {"pipeline": str(there.pk)}),
            ("deal.values.stage", {"values": {"stage": there.stages[0]["id"]}}),
        ):
            self.refused(lead, 400, "does_not_exist", field, deal=wish)
        owner = str(self.cast.carol.pk)
        self.refused(lead, 400, "does_not_exist", "owner", owner=owner)

    def test_another_owner_takes_the_right_to_assign(self):
        lead = self.full_lead()
        bob = str(self.cast.bob.pk)
        self.refused(lead, 403, "permission_denied", owner=bob)
        self.convert(lead, self.manager, owner=bob)
        self.assertEqual(str(Contact.objects.get().owner_id), bob)

    def test_hidden_fields_are_neither_copied_nor_written_nor_told(self):
        limits = {
            "lead": {"hidden": ["notes", "estimated_value"], "read_only": ["tags"]},
            "contact": {"hidden": ["phone"], "read_only": ["job_title"]},
        }
        client = self.limited(field_rights=limits)
        made = self.convert(self.full_lead(), client, contact={}, deal={})
        for name in ("notes", "phone", "phone_e164", "job_title"):
            self.assertNotIn(name, made["contact"]["after"])
        self.assertNotIn("amount", made["deal"]["after"])
        contact = Contact.objects.get()
        self.assertEqual((contact.notes, contact.phone, contact.job_title), ("",) * 3)
        self.assertEqual(contact.tags, ["vip", "fair"])

    def test_asked_for_by_name_they_are_refused(self):
        limits = {"contact": {"hidden": ["phone"], "read_only": ["job_title"]}}
        client = self.limited(field_rights=limits)
        contact = self.make("contacts", last_name="Byron", job_title="Lord")
        lead = self.full_lead()
        for field, wish in (
            ("contact.values.phone", {"values": {"phone": "1"}}),
            ("contact.overwrite", {"id": contact["id"], "overwrite": ["phone"]}),
        ):
            wanted = (lead, 400, "unknown_field", field, client)
            self.refused(*wanted, contact=wish)
        wish = {"id": contact["id"], "values": {"job_title": "x"}}
        wish["overwrite"] = ["job_title"]
        self.refused(lead, 403, "field_read_only", "job_title", client, contact=wish)

    def test_to_whom_the_status_is_hidden_nothing_is_told_of_it(self):
        client = self.limited(field_rights={"lead": {"hidden": ["status"]}})
        lead = self.full_lead()
        self.refused(lead, 404, "not_found", None, client)
        self.convert(lead)
        shown = client.get(f"/api/leads/{lead.pk}/").json()
        self.assertFalse({n for n in shown if n.startswith("converted_")})
        answer = client.patch(f"/api/leads/{lead.pk}/", {"notes": "x"})
        self.assertNotIn("contact", self.assertProblem(answer, 409, "converted"))

    def test_who_may_only_read_the_status_does_not_convert(self):
        client = self.limited(field_rights={"lead": {"read_only": ["status"]}})
        self.refused(self.full_lead(), 403, "field_read_only", "status", client)


class BadBodyTests(ConversionTestCase):
    def test_what_is_wrong_is_named(self):
        lead = self.full_lead()
        contact = self.make("contacts", last_name="Byron")["id"]
        self.make("companies", name="Without a domain")
        stage = Pipeline.objects.get(organization=self.cast.organization).stages[0]
        pipeline = str(stage and Pipeline.objects.visible_to(self.cast.alice).get().pk)
        for body, field, code in (
            ({"x": 1}, "x", "unknown_field"),
            ({"contact": None}, "contact", "null"),
            ({"contact": "x"}, "contact", "invalid"),
            ({"contact": {"x": 1}}, "contact.x", "unknown_field"),
            ({"contact": {"id": "x"}}, "contact.id", "invalid"),
            (
                {"contact": {"id": contact, "match": True}},
                *("contact.match", "both_given"),
            ),
            ({"contact": {"values": []}}, "contact.values", "not_a_dict"),
            (
                {"contact": {"values": {"x": 1}}},
                *("contact.values.x", "unknown_field"),
            ),
            (
                {"contact": {"values": {"version": 7}}},
                *("contact.values.version", "read_only"),
            ),
            (
                {"contact": {"values": {"company": contact}}},
                *("contact.values.company", "not_allowed"),
            ),
            (
                {"contact": {"values": {"owner": contact}}},
                *("contact.values.owner", "not_allowed"),
            ),
            (
                {"contact": {"values": {"email": "x"}}},
                *("contact.values.email", "invalid"),
            ),
            (
                {"contact": {"overwrite": ["version"]}},
                *("contact.overwrite", "unknown_field"),
            ),
            ({"company": {"match": "x"}}, "company.match", "invalid"),
            (
                {"company": {"match": True, "values": {"domain": "a b"}}},
                *("company.values.domain", "invalid"),
            ),
            ({"deal": {"match": True}}, "deal.match", "unknown_field"),
            (
                {"deal": {"values": {"amount": "-1"}}},
                *("deal.values.amount", "min_value"),
            ),
            (
                {"deal": {"pipeline": pipeline, "values": {"stage": stage["id"]}}},
                *("deal.pipeline", "both_given"),
            ),
            ({"owner": "x"}, "owner", "invalid"),
            ({"reason": "x" * 501}, "reason", "max_length"),
        ):
            with self.subTest(body):
                self.refused(lead, 400, code, field, **body)

    def test_an_unknown_parameter_is_refused(self):
        lead = self.full_lead()
        answer = self.alice.post(f"/api/leads/{lead.pk}/convert/?x=1", {})
        self.assertProblem(answer, 400, "unknown_parameter", "x")
