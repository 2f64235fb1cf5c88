from django.utils.text import slugify

from contact_management.models import Affiliation, Company, Contact
from core.demo import DemoCommand
from core.models.values import validate

SOURCES = ("website", "referral", "trade_show", "cold_call", "advertisement")
TAGS = ("vip", "newsletter", "partner", "event-2026", "follow-up")
INDUSTRIES = ("Software", "Manufacturing", "Retail", "Health", "Logistics", "Energy")
# For so many contacts there is one company.
CONTACTS_OF_COMPANY = 8


class Command(DemoCommand):
    help = (
        "Make contacts and companies to try MyCRM with, owned by those who may create "
        "contacts."
    )
    model = Contact
    default = 2000

    def prepare(self, changes, count):
        self.companies = self.made_companies(count // CONTACTS_OF_COMPANY)
        changes.bulk_create(Company, self.companies)

    def make(self, changes, numbers):
        chunk = [self.contact(number) for number in numbers]
        changes.bulk_create(Contact, chunk)
        changes.bulk_create(Affiliation, self.affiliations(chunk))

    def made_companies(self, count):
        """Every fifth belongs to the one before it."""
        fake = self.fake
        companies = []
        for number in range(count):
            name = fake.company()
            company = Company(
                organization=self.organization,
                owner=fake.random_element(self.owners),
                name=name,
                domain=f"{slugify(name)}-{number}.example.com",
                industry=fake.random_element(INDUSTRIES),
                size=fake.random_int(2, 20_000),
                phone=fake.numerify("+1 (3##) 555-01##"),
                address_line_1=fake.street_address(),
                city=fake.city(),
                state=fake.state_abbr(),
                postal_code=fake.postcode(),
                country="US",
                parent=companies[-1] if number % 5 == 4 else None,
            )
            validate(company)
            companies.append(company)
        return companies

    def affiliations(self, contacts):
        """Every tenth contact advises another company."""
        affiliations = []
        for contact in contacts[::10]:
            other = self.fake.random_element(self.companies) if self.companies else None
            if other is None or other == contact.company:
                continue
            affiliation = Affiliation(
                organization=contact.organization,
                owner=contact.owner,
                contact=contact,
                company=other,
                job_title="Adviser",
            )
            validate(affiliation)
            affiliations.append(affiliation)
        return affiliations

    def contact(self, number):
        """Two of three work for a company; every fourth has a second address."""
        fake = self.fake
        first, last = fake.first_name(), fake.last_name()
        company = None
        if self.companies and number % 3:
            company = fake.random_element(self.companies)
        other = {"value": f"{first}.{last}.{number}@example.net", "label": "home"}
        contact = Contact(
            organization=self.organization,
            owner=fake.random_element(self.owners),
            first_name=first,
            last_name=last,
            email=f"{first}.{last}.{number}@example.org",
            phone=fake.numerify("+1 (2##) 555-01##"),
            other_emails=[other] if number % 4 == 0 else [],
            company=company,
            company_name=company.name if company else fake.company(),
            job_title=fake.job(),
            address_line_1=fake.street_address(),
            city=fake.city(),
            state=fake.state_abbr(),
            postal_code=fake.postcode(),
            country="US",
            contact_type=fake.random_element(Contact.Type.values),
            source=fake.random_element(SOURCES),
            tags=list(fake.random_elements(TAGS, length=number % 3, unique=True)),
        )
        validate(contact)
        return contact
