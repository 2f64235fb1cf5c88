from django.db import connection
from django.test.utils import CaptureQueriesContext

from contact_management.models import Company, Contact
from core.jobs import run
from core.models import Change, ChangeSet, CustomField, Job
from core.testing import ALL, OWN, client_of, make_role, make_user, system_changes
from core.tests.test_imports import ImportTestCase
from lead_management.models import Activity, Deal, DealContact, Lead, LeadStay, Pipeline

from .test_activities import ActivityTestCase

WRITTEN = {"version", "updated_at"}
EVERYTHING = {"contact": {}, "company": {}, "deal": {}}
VIEW_ALL = {**OWN, "view": "all"}


def rows() -> dict[str, list]:
    """All that is live, versions aside, and the stays of leads."""
    found = {}
    for model in (Lead, Contact, Company, Deal, DealContact, Activity):
        names = [
            f.attname for f in model._meta.concrete_fields if f.name not in WRITTEN
        ]
        found[model] = list(model.objects.live().order_by("pk").values(*names))
    stays = LeadStay.objects.order_by("entered_at")
    found[LeadStay] = list(
        stays.values("lead", "status", "reason", "entered_at", "left_at", "ended_by")
    )
    return found


class ConversionTestCase(ActivityTestCase):
    def full_lead(self, **values) -> Lead:
        values = {
            "first_name": "Ada",
            "email": "ada@example.com",
            "phone": "+49 30 901820",
            "phone_label": "work",
            "company_name": "Analytical Engines",
            "job_title": "Countess",
            "website": "https://www.engines.example.com/about",
            "address_line_1": "Unter den Linden 1",
            "city": "Berlin",
            "country": "DE",
            "lead_source": "referral",
            "estimated_value": "1200.50",
            "currency": "EUR",
            "notes": "Wants a demo",
            "tags": ["vip", "fair"],
            "external_ids": {"hubspot": "4711"},
            **values,
        }
        return self.lead(**values)

    def convert(self, lead, client=None, query="", status=200, **body):
        client = client or self.alice
        answer = client.post(f"/api/leads/{lead.pk}/convert/{query}", body)
        self.assertEqual(answer.status_code, status, answer.content)
        return answer.json()

    def make(self, path, client=None, **body) -> dict:
        answer = (client or self.alice).post(f"/api/{path}/", body)
        self.assertEqual(answer.status_code, 201, answer.content)
        return answer.json()

    def get(self, path, **query):
        answer = self.alice.get(f"/api/{path}/", query)
        self.assertEqual(answer.status_code, 200, answer.content)
        return answer.json()

    def undo(self, converted, client=None, status=200, **body):
        where = f"/api/change-sets/{converted['change_set']}/undo/"
        answer = (client or self.alice).post(where, body)
        self.assertEqual(answer.status_code, status, answer.content)
        return answer.json()

    def refused(self, lead, status, code, field=None, client=None, **body):
        """The problem of a conversion that does nothing at all."""
        before, sets = rows(), ChangeSet.objects.count()
        client = client or self.alice
        answer = client.post(f"/api/leads/{lead.pk}/convert/", body)
        problem = self.assertProblem(answer, status, code, field)
        self.assertEqual((rows(), ChangeSet.objects.count()), (before, sets))
        return problem

    def limited(self, scopes=ALL, field_rights=None, **more):
        role = make_role(
            self.cast.organization, "limited", scopes, field_rights, **more
        )
        return client_of(make_user(self.cast.organization, "limited", role))

    def assertHas(self, found: dict, **wanted):
        self.assertEqual({name: found[name] for name in wanted}, wanted)


class WhatIsNewTests(ConversionTestCase):
    def test_a_lead_becomes_a_contact_a_company_and_a_deal(self):
        lead = self.full_lead()
        made = self.convert(lead, **EVERYTHING)
        ids = {name: made[name]["id"] for name in EVERYTHING}
        alice = str(self.cast.alice.pk)
        contact = self.get(f"contacts/{ids['contact']}")
        self.assertHas(
            contact,
            first_name="Ada",
            last_name="Lovelace",
            email="ada@example.com",
            phone_e164="+4930901820",
            phone_label="work",
            company=ids["company"],
            company_name="Analytical Engines",
            job_title="Countess",
            source="referral",
            address_line_1="Unter den Linden 1",
            city="Berlin",
            country="DE",
            notes="Wants a demo",
            tags=["vip", "fair"],
            external_ids={"hubspot": "4711"},
            owner=alice,
        )
        self.assertHas(
            self.get(f"companies/{ids['company']}"),
            name="Analytical Engines",
            domain="engines.example.com",
            city="Berlin",
            phone="",
            tags=[],
            owner=alice,
        )
        self.assertHas(
            self.get(f"deals/{ids['deal']}"),
            name="Analytical Engines",
            amount="1200.50",
            currency="EUR",
            company=ids["company"],
            tags=["vip", "fair"],
            owner=alice,
        )
        [part] = self.get("deal-contacts")["results"]
        self.assertHas(part, deal=ids["deal"], contact=ids["contact"])
        shown = self.get(f"leads/{lead.pk}")
        self.assertEqual(made["lead"], shown)
        became = {f"converted_{name}": pk for name, pk in ids.items()}
        self.assertHas(shown, status="converted", version=2, **became)
        self.assertEqual(
            [stay["status"] for stay in self.get(f"leads/{lead.pk}/stays")],
            ["new", "converted"],
        )
        for name in EVERYTHING:
            self.assertTrue(made[name]["is_new"])
            self.assertEqual(made[name]["before"], {})
        self.assertEqual(made["contact"]["after"]["email"], "ada@example.com")
        self.assertEqual(made["deal"]["after"]["amount"], "1200.50")

    def test_all_of_it_is_one_change_set_of_its_own_kind(self):
        lead = self.full_lead()
        made = self.convert(lead, **EVERYTHING)
        shown = self.get(f"change-sets/{made['change_set']}")
        self.assertEqual(shown["source"], "conversion")
        counts = {(c["record_type"], c["verb"]): c["count"] for c in shown["changes"]}
        self.assertEqual(
            counts,
            {
                ("company", "create"): 1,
                ("contact", "create"): 1,
                ("deal", "create"): 1,
                ("dealcontact", "create"): 1,
                ("lead", "update"): 1,
            },
        )

    def test_without_a_company_and_a_deal_it_becomes_a_contact_alone(self):
        lead = self.full_lead()
        for body in ({}, {"company": None, "deal": None}):
            made = self.convert(lead, **body)
            self.assertEqual((made["company"], made["deal"]), (None, None))
            self.assertEqual(made["lead"]["converted_company"], None)
            self.assertFalse(Company.objects.exists() or Deal.objects.exists())
            self.undo(made)

    def test_values_of_the_body_take_the_place_of_what_the_lead_tells(self):
        owner = str(self.cast.bob.pk)
        stage = Pipeline.objects.get(organization=self.cast.organization).stages[2]
        made = self.convert(
            self.full_lead(),
            self.manager,
            contact={"values": {"last_name": "King", "tags": ["x"]}},
            company={"values": {"name": "Engines", "industry": "Looms"}},
            deal={"values": {"name": "Engine 1", "amount": "7", "stage": stage["id"]}},
            owner=owner,
            reason="She signed",
        )
        contact, company, deal = (made[n]["after"] for n in EVERYTHING)
        wanted = {"last_name": "King", "first_name": "Ada", "tags": ["x"]}
        self.assertHas(contact, **wanted, owner=owner)
        self.assertHas(company, name="Engines", industry="Looms", owner=owner)
        wanted = {"name": "Engine 1", "amount": "7.00", "currency": "EUR"}
        self.assertHas(deal, **wanted, stage=stage["id"], owner=owner)
        self.assertEqual(DealContact.objects.get().owner_id, self.cast.bob.pk)
        self.assertHas(made["lead"], status_reason="She signed")

    def test_a_deal_begins_in_the_first_stage_of_the_pipeline_that_is_named(self):
        other = Pipeline()
        with system_changes(self.cast.organization) as changes:
            changes.save(other, name="Renewals", position=7)
        made = self.convert(self.full_lead(), deal={"pipeline": str(other.pk)})
        self.assertEqual(made["deal"]["after"]["stage"], other.stages[0]["id"])

    def test_a_lead_of_a_person_alone_names_the_deal(self):
        lead = self.full_lead(company_name="", website="")
        made = self.convert(lead, deal={})
        self.assertEqual(made["deal"]["after"]["name"], "Ada Lovelace")

    def test_a_company_without_a_name_is_asked_for_it(self):
        lead = self.full_lead(company_name="")
        wanted = (lead, 400, "blank", "company.values.name")
        self.refused(*wanted, company={})

    def test_what_is_no_domain_makes_a_company_without_one(self):
        made = self.convert(self.full_lead(website="http://localhost/x"), company={})
        self.assertNotIn("domain", made["company"]["after"])

    def test_custom_fields_go_where_there_is_one_of_the_same_key_and_kind(self):
        choices = [{"value": "gold", "label": "Gold"}]
        for applies_to, key, kind, more in (
            ("lead", "size", "number", {}),
            ("lead", "since", "date", {}),
            ("lead", "level", "choice", {"choices": choices}),
            ("lead", "colour", "text", {}),
            ("contact", "size", "number", {}),
            ("contact", "since", "text", {}),
            ("deal", "size", "number", {}),
            (
                *("deal", "level", "choice"),
                {"choices": [{"value": "silver", "label": "Silver"}]},
            ),
        ):
            field = CustomField()
            values = {"applies_to": applies_to, "key": key, "label": key, "kind": kind}
            with system_changes(self.cast.organization) as changes:
                changes.save(field, **values, **more)
        custom = {"size": 3, "since": "2026-01-01", "level": "gold", "colour": "red"}
        made = self.convert(self.full_lead(custom_fields=custom), **EVERYTHING)
        self.assertEqual(made["contact"]["after"]["custom_fields"], {"size": 3})
        self.assertEqual(made["deal"]["after"]["custom_fields"], {"size": 3})
        self.assertNotIn("custom_fields", made["company"]["after"])

    def test_a_repeated_request_gives_the_first_answer(self):
        lead = self.full_lead()
        where, key = f"/api/leads/{lead.pk}/convert/", {"HTTP_IDEMPOTENCY_KEY": "a"}
        first, again = (self.alice.post(where, EVERYTHING, **key) for _ in range(2))
        self.assertEqual((again.status_code, again.content), (200, first.content))
        self.assertEqual(Contact.objects.count(), 1)


class WhatIsThereTests(ConversionTestCase):
    def test_only_what_is_empty_is_filled(self):
        lead = self.full_lead()
        contact = self.make(
            "contacts",
            last_name="Byron",
            city="London",
            phone="+44 20 7946 0000",
            tags=["VIP", "poet"],
            external_ids={"hubspot": "1", "crm": "2"},
        )
        made = self.convert(lead, contact={"id": contact["id"]})
        self.assertFalse(made["contact"]["is_new"])
        now = self.get(f"contacts/{contact['id']}")
        filled = {
            "first_name": "Ada",
            "email": "ada@example.com",
            "company_name": "Analytical Engines",
            "job_title": "Countess",
            "source": "referral",
            "website": "https://www.engines.example.com/about",
            "notes": "Wants a demo",
            "tags": ["VIP", "poet", "fair"],
        }
        self.assertEqual(now, {**contact, **filled, **{n: now[n] for n in WRITTEN}})
        self.assertEqual(made["contact"]["after"], filled)
        self.assertEqual(
            made["contact"]["before"], {name: contact[name] for name in filled}
        )

    def test_a_field_is_overwritten_that_is_named(self):
        lead = self.full_lead()
        contact = self.make(
            "contacts", last_name="Byron", city="London", phone="+44 20 7946 0000"
        )
        named = ["last_name", "phone"]
        self.convert(lead, contact={"id": contact["id"], "overwrite": named})
        now = self.get(f"contacts/{contact['id']}")
        self.assertHas(now, last_name="Lovelace", city="London", address_line_1="")
        self.assertHas(now, phone="+49 30 901820", phone_label="work")

    def test_an_amount_comes_with_its_currency(self):
        lead = self.full_lead()
        empty = self.make("deals", name="Engine", currency="USD")
        full = self.make("deals", name="Loom", currency="USD", amount="5")
        for deal, amount, currency in (
            (empty, "1200.50", "EUR"),
            (full, "5.00", "USD"),
        ):
            made = self.convert(lead, deal={"id": deal["id"]})
            now = self.get(f"deals/{deal['id']}")
            self.assertHas(now, name=deal["name"], amount=amount, currency=currency)
            self.undo(made)

    def test_a_contact_keeps_its_company_unless_it_is_overwritten(self):
        company = self.make("companies", name="Looms")
        contact = self.make("contacts", last_name="B", company=company["id"])
        lead = self.full_lead()
        made = self.convert(lead, contact={"id": contact["id"]}, company={})
        now = self.get(f"contacts/{contact['id']}")
        self.assertEqual(now["company"], company["id"])
        self.undo(made)
        wish = {"id": contact["id"], "overwrite": ["company"]}
        made = self.convert(lead, contact=wish, company={})
        now = self.get(f"contacts/{contact['id']}")
        self.assertEqual(now["company"], made["company"]["id"])

    def test_a_contact_has_one_part_in_a_deal(self):
        contact = self.make("contacts", last_name="Byron")
        deal = self.make("deals", name="Engine")
        self.make("deal-contacts", deal=deal["id"], contact=contact["id"], role="x")
        wish = {"contact": {"id": contact["id"]}, "deal": {"id": deal["id"]}}
        self.convert(self.full_lead(), **wish)
        self.assertEqual(DealContact.objects.get().role, "x")

    def test_a_contact_with_the_same_address_is_named_and_taken_if_asked(self):
        contact = self.make("contacts", last_name="Byron", email="ada@example.com")
        lead = self.full_lead()
        problem = self.refused(lead, 409, "exists")
        self.assertEqual(problem["contact"], contact["id"])
        self.assertEqual(problem["errors"][0]["field"], "contact.email")
        made = self.convert(lead, contact={"match": True})
        self.assertHas(made["contact"], id=contact["id"], is_new=False)
        self.assertEqual(Contact.objects.get().last_name, "Byron")

    def test_a_contact_is_matched_by_a_further_address_that_it_alone_has(self):
        other = [{"value": "ada@example.com", "label": "home"}]
        contact = self.make("contacts", last_name="Byron", other_emails=other)
        lead = self.full_lead()
        made = self.convert(lead)
        self.assertTrue(made["contact"]["is_new"])
        self.undo(made)
        made = self.convert(lead, contact={"match": True})
        self.assertEqual(made["contact"]["id"], contact["id"])
        self.undo(made)
        self.make("contacts", last_name="King", other_emails=other)
        made = self.convert(lead, contact={"match": True})
        self.assertTrue(made["contact"]["is_new"])

    def test_a_match_that_is_not_there_is_made(self):
        wish = {"contact": {"match": True}, "company": {"match": True}}
        made = self.convert(self.full_lead(), **wish)
        self.assertTrue(made["contact"]["is_new"] and made["company"]["is_new"])

    def test_a_company_is_found_by_its_domain_or_external_id_and_not_by_its_name(self):
        named = self.make("companies", name="Analytical Engines")
        domain = self.make("companies", name="E", domain="engines.example.com")
        known = self.make(
            "companies", name="F", domain="f.example.com", external_ids={"crm": "9"}
        )
        lead = self.full_lead()
        problem = self.refused(lead, 409, "exists", company={})
        self.assertEqual(problem["company"], domain["id"])
        for wish, company in (
            ({"match": True}, domain),
            ({"match": True, "values": {"external_ids": {"crm": "9"}}}, known),
        ):
            made = self.convert(lead, company=wish)
            self.assertEqual(made["company"]["id"], company["id"])
            self.undo(made)
        lead = self.lead(company_name=named["name"], email="b@example.com")
        made = self.convert(lead, company={"match": True})
        self.assertTrue(made["company"]["is_new"])

    def test_an_external_id_that_several_have_tells_none(self):
        for name in "ab":
            contact = Contact()
            values = {"last_name": name, "external_ids": {"hubspot": "4711"}}
            with system_changes(self.cast.organization) as changes:
                changes.save(contact, **values, owner=self.cast.alice)
        lead = self.full_lead()
        self.refused(lead, 409, "ambiguous", contact={"match": True})

    def test_what_a_colleague_has_is_not_named(self):
        stranger = client_of(self.cast.stranger)
        self.make("contacts", stranger, last_name="B", email="ada@example.com")
        self.make("companies", stranger, name="E", domain="engines.example.com")
        lead = self.full_lead()
        for wish in ({}, {"match": True}):
            problem = self.refused(lead, 409, "unique", contact=wish)
            self.assertNotIn("contact", problem)
            own = {"values": {"email": "b@example.com"}}
            problem = self.refused(lead, 409, "unique", contact=own, company=wish)
            self.assertNotIn("company", problem)

    def test_an_address_that_another_contact_has_fills_none(self):
        holder = self.make("contacts", last_name="Byron", email="ada@example.com")
        other = self.make("contacts", last_name="King")
        lead, wish = self.full_lead(), {"id": other["id"]}
        problem = self.refused(lead, 409, "unique", contact=wish)
        self.assertEqual(problem["errors"][0]["field"], "contact.email")
        self.assertEqual(problem["contact"], holder["id"])
        self.convert(lead, contact={**wish, "values": {"email": ""}})


class ActivityMoveTests(ConversionTestCase):
    def test_what_happened_is_seen_on_all_that_the_lead_becomes(self):
        lead = self.full_lead()
        call = self.log(lead=str(lead.pk), subject="First")
        task = self.log(lead=str(lead.pk), kind="task", due_at="2026-04-01T09:00:00Z")
        made = self.convert(lead, **EVERYTHING)
        self.assertEqual(made["activities"], {"call": 1, "task": 1})
        for name, path in (
            *(("contact", "contacts"), ("company", "companies")),
            *(("deal", "deals"), ("lead", "leads")),
        ):
            pk = made[name]["id"]
            found = self.get("activities", **{name: pk})["results"]
            self.assertEqual({a["id"] for a in found}, {call["id"], task["id"]})
            entries = self.get(f"{path}/{pk}/timeline", kind="activity")["results"]
            self.assertEqual(len(entries), 2)
            if name != "lead":
                [entry] = self.get(f"{path}/{pk}/timeline", kind="lead")["results"]
                self.assertEqual(entry["record"]["id"], str(lead.pk))
                self.assertEqual(entry["at"], made["lead"]["status_since"])
        tasks = self.get("activities", contact=made["contact"]["id"], open="true")
        self.assertEqual(tasks["count"], 1)

    def test_what_is_about_somebody_else_already_stays_so(self):
        other = self.make("contacts", last_name="King")
        lead = self.full_lead()
        call = self.log(lead=str(lead.pk), contact=other["id"])
        made = self.convert(lead, **EVERYTHING)
        now = self.get(f"activities/{call['id']}")
        self.assertHas(now, contact=other["id"], deal=made["deal"]["id"])

    def test_a_colleagues_call_comes_along_uncounted_and_goes_back(self):
        lead = self.full_lead()
        call = self.log(client_of(self.cast.bob), lead=str(lead.pk))
        before = rows()
        made = self.convert(lead)
        self.assertEqual(made["activities"], {})
        stored = Activity.objects.get(pk=call["id"])
        self.assertEqual(str(stored.contact_id), made["contact"]["id"])
        self.assertEqual(self.undo(made)["conflicts"], [])
        self.assertEqual(rows(), before)

    def test_who_may_not_edit_the_lead_does_not_take_its_activities_back(self):
        lead = self.full_lead()
        self.log(lead=str(lead.pk))
        made = self.convert(lead)
        before = rows()
        client = self.limited(VIEW_ALL, changeset={"view": "all"})
        answer = self.undo(made, client, partial=True)
        self.assertEqual(answer["undone"], 0)
        self.assertEqual(rows(), before)

    def test_many_activities_cost_no_more_queries_than_one(self):
        counts = []
        for total in (1, 20):
            lead = self.full_lead(
                email=f"{total}@example.com", website="", external_ids={}
            )
            for n in range(total):
                self.log(lead=str(lead.pk), subject=str(n), kind="note")
            with CaptureQueriesContext(connection) as queries:
                self.convert(lead, contact={}, deal={})
            counts.append(len(queries))
        self.assertEqual(counts[0], counts[1])


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
