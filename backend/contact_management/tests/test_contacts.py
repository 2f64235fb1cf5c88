from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from contact_management.models import Company, Contact
from contact_management.services import CompanyReference, find_or_make_companies
from core.models import Change, ChangeSet
from core.testing import (
    OWN,
    Cast,
    RecordContract,
    client_of,
    make_role,
    make_user,
    system_changes,
)

CONTACTS = "/api/contacts/"
COMPANIES = "/api/companies/"


class ContactContract(RecordContract, TestCase):
    # Of one type it is tried on either database.
    tags = frozenset()

    path = "/api/contacts/"
    valid = {
        "first_name": "Ada",
        "last_name": "King {n}",
        "email": "ada{n}@example.com",
    }
    change = {"job_title": "Countess", "tags": ["vip"]}


class ContactTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        self.alice = client_of(self.cast.alice)

    def make(self, client=None, path=CONTACTS, **fields) -> dict:
        fields = {"last_name": "King", **fields} if path == CONTACTS else fields
        answer = (client or self.alice).post(path, fields)
        self.assertEqual(answer.status_code, 201, answer.content)
        return answer.json()

    def found(self, **query) -> list[str]:
        answer = self.alice.get(CONTACTS, {"ordering": "last_name", **query})
        self.assertEqual(answer.status_code, 200, answer.content)
        return [contact["last_name"] for contact in answer.json()["results"]]

    def assertRefused(self, answer, status, *errors):
        self.assertEqual(answer.status_code, status, answer.content)
        found = [(e["field"], e["code"]) for e in answer.json()["errors"]]
        self.assertEqual(found, list(errors))


class OtherAddressesTests(ContactTestCase):
    """Further e-mail addresses and phones, each with a label."""

    def test_addresses_are_in_lower_case_and_none_stands_twice(self):
        contact = self.make(
            email="Ada@Example.com",
            email_label="work",
            other_emails=[
                {"value": "A.da+List@Example.com", "label": " home "},
                {"value": "ada@example.COM", "label": "the first again"},
                {"value": "a.da+list@example.com"},
            ],
        )
        self.assertEqual(
            (contact["email"], contact["email_label"]), ("ada@example.com", "work")
        )
        self.assertEqual(
            contact["other_emails"],
            [{"value": "a.da+list@example.com", "label": "home"}],
        )

    def test_phones_are_as_given_beside_their_number(self):
        contact = self.make(
            phone="(415) 555-2671",
            mobile="+44 20 7946 0000",
            other_phones=[
                {"value": "415-555-2671", "label": "the first again"},
                {"value": "020 7946 0000", "label": "other"},
                {"value": "+1 (415) 555-2672"},
                {"value": "4155552672"},
                {"value": "ask Charles", "label": "secretary"},
            ],
        )
        self.assertEqual(
            contact["other_phones"],
            [
                {"value": "020 7946 0000", "label": "other", "e164": ""},
                {"value": "+1 (415) 555-2672", "label": "", "e164": "+14155552672"},
                {"value": "ask Charles", "label": "secretary", "e164": ""},
            ],
        )

    def test_another_first_address_leaves_the_further_ones(self):
        contact = self.make(
            email="ada@example.com", other_emails=[{"value": "ada@home.example"}]
        )
        changed = self.alice.patch(
            f"{CONTACTS}{contact['id']}/", {"email": "ada@home.example"}
        )
        self.assertEqual(changed.json()["other_emails"], [])

    def test_what_was_read_can_be_put_back(self):
        contact = self.make(
            other_emails=[{"value": "ada@home.example", "label": "home"}],
            other_phones=[{"value": "(415) 555-2671", "label": "work"}],
        )
        answer = self.alice.put(f"{CONTACTS}{contact['id']}/", contact)
        self.assertEqual((answer.status_code, answer.json()), (200, contact))

    def test_bad_ones_are_named(self):
        emails, phones = "other_emails", "other_phones"
        for name, value, field, code in (
            (emails, [{"value": "no"}], emails, "invalid"),
            (emails, [{"value": ""}], f"{emails}.0.value", "blank"),
            (emails, [{}], f"{emails}.0.value", "required"),
            (emails, {"value": "a@b.co"}, emails, "not_a_list"),
            (emails, [{"value": "a@b.co", "x": 1}], f"{emails}.0.x", "unknown_field"),
            (emails, [{"value": "a@b.co", "label": "x" * 31}], emails, "max_length"),
            (phones, [{"value": "1" * 51}], phones, "max_length"),
            (phones, [{"value": str(n)} for n in range(51)], phones, "max_length"),
        ):
            with self.subTest(f"{name}: {value}"):
                answer = self.alice.post(CONTACTS, {"last_name": "King", name: value})
                self.assertRefused(answer, 400, (field, code))
        self.assertFalse(Contact.objects.exists())

    def test_they_are_found_by_filter_and_search(self):
        self.make(
            last_name="Lovelace",
            email="ada@example.com",
            phone="(415) 555-2671",
            other_emails=[{"value": "countess@home.example", "label": "home"}],
            other_phones=[{"value": "(415) 555-2672", "label": "work"}],
        )
        self.make(last_name="Babbage", mobile="+14155552672")
        for query, names in (
            ({"other_emails": "Countess@home.example"}, ["Lovelace"]),
            ({"other_emails": "ada@example.com"}, []),
            ({"any_email": "ADA@example.com"}, ["Lovelace"]),
            ({"any_email": "countess@home.example"}, ["Lovelace"]),
            ({"any_email": "home"}, []),
            ({"any_phone": "415 555 2671"}, ["Lovelace"]),
            ({"any_phone": "+1 415 555 2672"}, ["Babbage", "Lovelace"]),
            ({"any_phone": "nobody's"}, []),
            ({"other_phones": "+14155552672"}, ["Lovelace"]),
            ({"search": "countess@"}, ["Lovelace"]),
            ({"search": "2672"}, ["Babbage", "Lovelace"]),
            ({"search": "label"}, []),
            ({"search": "100%"}, []),
        ):
            with self.subTest(query):
                self.assertEqual(self.found(**query), names)

    def test_as_text_they_are_read_as_they_were_written(self):
        field = Contact._meta.get_field("other_phones")
        entries = field.to_python(
            [
                {"value": "(415) 555-2671", "label": "work: main; first"},
                {"value": "tel:555;ext=5", "label": ""},
                {"value": "555; 556", "label": "home"},
            ]
        )
        self.assertEqual(field.from_text(field.as_text(entries)), entries)
        self.assertEqual(field.from_text(field.as_text(entries, "\n")), entries)
        self.assertEqual(
            field.from_text("1 ::: 2"),
            [{"value": "1", "label": ""}, {"value": "2", "label": ""}],
        )


class CompanyOfContactTests(ContactTestCase):
    def company(self, client=None, **fields):
        return self.make(client, COMPANIES, **{"name": "Engines", **fields})

    def test_contacts_of_a_company_are_filtered_and_expanded(self):
        company = self.company(domain="engines.example")
        self.make(last_name="Lovelace", company=company["id"])
        self.make(last_name="Babbage")
        self.assertEqual(self.found(company=company["id"]), ["Lovelace"])
        answer = self.alice.get(
            CONTACTS, {"company": company["id"], "expand": "company"}
        )
        self.assertEqual(
            answer.json()["results"][0]["company"],
            {"id": company["id"], "name": "Engines", "domain": "engines.example"},
        )

    def test_a_company_that_is_not_seen_expands_to_null(self):
        manager = client_of(self.cast.manager)
        company = self.company(manager)
        contact = self.make(
            manager, company=company["id"], owner=str(self.cast.alice.pk)
        )
        shown = self.alice.get(f"{CONTACTS}{contact['id']}/", {"expand": "company"})
        self.assertIsNone(shown.json()["company"])

    def test_a_domain_finds_the_company_or_makes_it(self):
        company = self.company(domain="engines.example")
        found = self.make(company_domain="https://WWW.Engines.example/about")
        self.assertEqual(found["company"], company["id"])
        made = self.make(company_domain="looms.example", company_name="Looms")
        looms = Company.objects.get(domain="looms.example")
        self.assertEqual((made["company"], looms.name), (str(looms.pk), "Looms"))
        self.assertEqual(looms.owner, self.cast.alice)
        unnamed = self.make(company_domain="mills.example")
        self.assertEqual(
            Company.objects.get(pk=unnamed["company"]).name, "mills.example"
        )
        self.assertNotIn("company_domain", unnamed)

    def test_an_external_id_finds_it_before_the_domain(self):
        self.company(domain="engines.example")
        company = self.company(external_ids={"hubspot": "1"})
        wish = {"company_domain": "engines.example"}
        found = self.make(company_external_id={"hubspot": "1"}, **wish)
        self.assertEqual(found["company"], company["id"])
        made = self.make(company_external_id={"hubspot": "2"}, company_name="Looms")
        looms = Company.objects.get(name="Looms")
        self.assertEqual(made["company"], str(looms.pk))
        self.assertEqual(looms.external_ids, {"hubspot": "2"})

    def test_a_name_alone_finds_and_makes_none(self):
        self.company()
        self.assertIsNone(self.make(company_name="Engines")["company"])
        self.assertEqual(Company.objects.count(), 1)

    def test_a_change_of_a_contact_tells_its_company_too(self):
        contact = self.make()
        address = f"{CONTACTS}{contact['id']}/"
        answer = self.alice.patch(address, {"company_domain": "engines.example"})
        company = Company.objects.get()
        self.assertEqual(answer.json()["company"], str(company.pk))
        change_set = Change.objects.get(record_id=company.pk).change_set
        self.assertEqual(change_set.changes.count(), 2)
        answer = self.alice.put(address, {"last_name": "King"})
        self.assertIsNone(answer.json()["company"])

    def test_what_cannot_be_told_is_refused_and_nothing_made(self):
        hidden = self.company(client_of(self.cast.stranger), domain="engines.example")
        twins = [self.company(external_ids={"hubspot": "1"}) for _ in range(2)]
        domain, external_id = "company_domain", "company_external_id"
        for wish, field, code in (
            ({domain: "engines.example"}, domain, "unique"),
            ({domain: "no domain"}, domain, "invalid"),
            ({external_id: {"hubspot": "1"}}, external_id, "ambiguous"),
            ({external_id: {"hubspot": "9"}}, external_id, "does_not_exist"),
            ({external_id: {}}, external_id, "empty"),
            ({domain: "x.example", "company": twins[0]["id"]}, domain, "both_given"),
        ):
            with self.subTest(wish):
                answer = self.alice.post(CONTACTS, {"last_name": "King", **wish})
                self.assertRefused(answer, 400, (field, code))
                self.assertNotIn(hidden["id"], str(answer.content))
        self.assertFalse(Contact.objects.exists())
        self.assertEqual(Company.objects.count(), 3)

    def test_who_may_not_make_companies_is_told_so(self):
        role = make_role(
            self.cast.organization, "contacts only", OWN, company={"view": "all"}
        )
        user = make_user(self.cast.organization, "dora", role)
        self.company(domain="engines.example")
        client = client_of(user)
        self.make(client, company_domain="engines.example")
        answer = client.post(
            CONTACTS, {"last_name": "King", "company_domain": "looms.example"}
        )
        self.assertRefused(answer, 400, ("company_domain", "permission_denied"))
        self.assertEqual((Contact.objects.count(), Company.objects.count()), (1, 1))

    def test_the_program_itself_makes_companies_too(self):
        reference = CompanyReference("Looms", "looms.example")
        with system_changes(self.cast.organization) as changes:
            company = find_or_make_companies(changes, [reference])[reference]
        self.assertEqual((company.domain, company.owner), ("looms.example", None))
        self.assertEqual(Company.objects.get(), company)

    def test_many_references_take_the_same_queries_as_few(self):
        counts = []
        for start, number in ((0, 2), (100, 80)):
            references = [
                CompanyReference(f"Mill {n}", f"mill{n}.example", (("x", str(n)),))
                for n in range(start, start + number)
            ]
            # The same company, by another of its keys.
            references.append(CompanyReference("Twin", f"mill{start}.example"))
            with (
                CaptureQueriesContext(connection) as queries,
                ChangeSet.open(actor=self.cast.alice, source="import") as changes,
            ):
                companies = find_or_make_companies(changes, references)
            self.assertEqual(len(set(companies.values())), number)
            counts.append(len(queries))
            with ChangeSet.open(actor=self.cast.alice, source="import") as changes:
                again = find_or_make_companies(changes, references)
            self.assertEqual(again, companies)
        self.assertEqual(Company.objects.count(), 82)
        # Django writes to SQLite at most 999 values at once.
        self.assertLessEqual(counts[1] - counts[0], 3)
