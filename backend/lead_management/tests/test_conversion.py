from django.db import connection
from django.test.utils import CaptureQueriesContext

from contact_management.models import Company, Contact
from core.models import ChangeSet, CustomField
from core.testing import ALL, OWN, client_of, make_role, make_user, system_changes
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
        for values, name in (
            ({"first_name": "Ada"}, "Ada Lovelace"),
            ({"last_name": "", "email": "a@example.com"}, "a@example.com"),
        ):
            made = self.convert(self.lead(**values), deal={})
            self.assertEqual(made["deal"]["after"]["name"], name)

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
