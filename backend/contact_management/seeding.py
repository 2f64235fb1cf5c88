"""Companies and contacts to try MyCRM with."""

from itertools import pairwise

from contact_management.models import Affiliation, Company, Contact
from core.seeding import Seeder
from core.seeding.pools import ascii_of, e164_of
from core.zipf import Weighted, Zipf

SOURCES = Zipf(("website", "referral", "trade_show", "cold_call", "advertisement"))
TAGS = Zipf(("newsletter", "vip", "partner", "event-2026", "follow-up", "reference"))
TAG_COUNTS = Weighted((0, 1, 2), (5, 3, 2))
INDUSTRIES = Zipf(
    ("Software", "Manufacturing", "Retail", "Health", "Logistics", "Energy"), 0.7
)
DEPARTMENTS = Zipf(("Sales", "Purchasing", "IT", "Marketing", "Finance", "Legal"))
TYPES = Zipf((*Contact.Type,))
Status = Contact.Status
STATUSES = Weighted((Status.ACTIVE, Status.INACTIVE, Status.DO_NOT_CONTACT), (90, 8, 2))
# For so many contacts there is one company.
CONTACTS_OF_COMPANY = 8
# Of more than so many companies the first ones have all contacts.
KNOWN_COMPANIES = 200_000


class Places(Seeder):
    """What people and companies have in common."""

    def address(self, country) -> dict:
        chance = self.chance
        city, state, postal_code = country.cities.pick(chance)
        phone = country.phone(chance)
        return {
            "phone": phone,
            "phone_e164": e164_of(phone),
            "address_line_1": chance.choice(country.streets),
            "city": city,
            "state": state,
            "postal_code": postal_code,
            "country": country.code,
            "tags": self.tags(),
        }

    def person(self, country) -> tuple[str, str, str]:
        """First name, last name, and both as they stand in an address."""
        first = country.first_names.pick(self.chance)
        last = country.last_names.pick(self.chance)
        return first, last, f"{ascii_of(first)}.{ascii_of(last)}"

    def tags(self) -> list[str]:
        count = TAG_COUNTS.pick(self.chance)
        return list(dict.fromkeys(TAGS.pick(self.chance) for _ in range(count)))


class Companies(Places):
    name = "companies"

    @classmethod
    def count_of(cls, counts):
        if counts[cls.name] is not None:
            return counts[cls.name]
        return (counts[Contacts.name] or 0) // CONTACTS_OF_COMPANY

    def prepare(self, changes):
        here = {"organization": self.seeding.organization}
        self.owners = self.seeding.owners_of(Company)
        # Numbers go on from a run before: no two companies share a domain.
        self.there = Company.objects.filter(**here).count()

    def make(self, changes, numbers):
        companies = [self.company(number) for number in numbers]
        # Every fifth belongs to the one before it.
        for parent, company in pairwise(companies):
            if parent.parent_id is None and self.is_so(0.2):
                company.parent = parent
        changes.bulk_create(Company, companies)

    def company(self, number: int) -> Company:
        chance = self.chance
        country = self.seeding.pools.countries.pick(chance)
        name = country.company(chance)
        domain = f"{ascii_of(name)[:40]}-{self.there + number}.example.com"
        return Company(
            **self.born(number),
            **self.address(country),
            organization=self.seeding.organization,
            owner=self.owners.pick(chance),
            name=name,
            domain=domain,
            website=f"https://{domain}",
            industry=INDUSTRIES.pick(chance),
            size=int(2 * 10 ** (4 * chance.random() ** 2)),
            description=chance.choice(self.seeding.pools.sentences),
        )


class Contacts(Places):
    name = "contacts"
    default = 2000

    def prepare(self, changes):
        here = {"organization": self.seeding.organization}
        self.owners = self.seeding.owners_of(Contact)
        self.there = Contact.objects.filter(**here).count()
        companies = Company.objects.filter(**here).live().order_by("pk")
        known = companies.values_list("pk", "name", "domain")[:KNOWN_COMPANIES]
        self.companies = Zipf(list(known), 0.6) if known else None

    def make(self, changes, numbers):
        contacts = [self.contact(number) for number in numbers]
        changes.bulk_create(Contact, contacts)
        changes.bulk_create(Affiliation, list(self.affiliations(contacts)))

    def contact(self, number: int) -> Contact:
        """Two of three work for a company; every fourth has a second address."""
        chance = self.chance
        pools = self.seeding.pools
        country = pools.countries.pick(chance)
        first, last, name = self.person(country)
        company, company_name, domain = None, "", "example.org"
        if self.companies and self.is_so(2 / 3):
            company, company_name, domain = self.companies.pick(chance)
        elif self.is_so(0.5):
            company_name = country.company(chance)
        # Numbers go on from a run before: no two contacts share an address.
        email = f"{name}{self.there + number}@{domain or 'example.org'}"
        mobile = country.phone(chance) if self.is_so(0.3) else ""
        other = {"value": f"{name}@example.net", "label": "home"}
        return Contact(
            **self.born(number),
            **self.address(country),
            organization=self.seeding.organization,
            owner=self.owners.pick(chance),
            first_name=first,
            last_name=last,
            email=email,
            other_emails=[other] if self.is_so(0.25) else [],
            mobile=mobile,
            mobile_e164=e164_of(mobile),
            company_id=company,
            company_name=company_name[:200],
            job_title=pools.jobs.pick(chance),
            department=DEPARTMENTS.pick(chance) if company else "",
            contact_type=TYPES.pick(chance),
            source=SOURCES.pick(chance),
            status=STATUSES.pick(chance),
            notes=chance.choice(pools.sentences) if self.is_so(0.3) else "",
        )

    def affiliations(self, contacts):
        """Some contacts advise another company."""
        for contact in contacts if self.companies else ():
            if not self.is_so(0.05):
                continue
            company, _, _ = self.companies.pick(self.chance)
            if company != contact.company_id:
                yield Affiliation(
                    organization=self.seeding.organization,
                    owner=contact.owner,
                    contact=contact,
                    company_id=company,
                    job_title="Adviser",
                )


SEEDERS = (Companies, Contacts)
