from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils.text import slugify
from faker import Faker
from tqdm import tqdm

from contact_management.models import Affiliation, Company, Contact
from core.access import Scope, Verb
from core.models import ChangeSet, Organization
from core.models.values import validate

SOURCES = ("website", "referral", "trade_show", "cold_call", "advertisement")
TAGS = ("vip", "newsletter", "partner", "event-2026", "follow-up")
INDUSTRIES = ("Software", "Manufacturing", "Retail", "Health", "Logistics", "Energy")
CHUNK = 500
# For so many contacts there is one company.
CONTACTS_OF_COMPANY = 8


class Command(BaseCommand):
    help = (
        "Make contacts and companies to try MyCRM with, owned by those who may create "
        "contacts."
    )

    def add_arguments(self, parser):
        parser.add_argument("organization")
        parser.add_argument("--contacts", type=int, default=2000)

    @transaction.atomic
    def handle(self, organization, contacts, **options):
        try:
            organization = Organization.objects.get(name=organization)
        except (Organization.DoesNotExist, Organization.MultipleObjectsReturned):
            raise CommandError(
                f"There is no one organization {organization}."
            ) from None
        people = get_user_model().objects.select_related("role")
        owners = [
            user
            for user in people.filter(organization=organization, is_active=True)
            if user.scope(Contact.record_type(), Verb.CREATE) != Scope.NONE
        ]
        self.fake = Faker("en_US")
        self.fake.seed_instance(2026)
        with (
            tqdm(total=contacts, desc="Contacts", unit="") as bar,
            ChangeSet.open(
                organization=organization,
                source=ChangeSet.Source.COMMAND,
                reason="Demo data",
            ) as changes,
        ):
            companies = self.companies(organization, owners, contacts)
            changes.bulk_create(Company, companies)
            for start in range(0, contacts, CHUNK):
                chunk = [
                    self.contact(organization, owners, companies, number)
                    for number in range(start, min(start + CHUNK, contacts))
                ]
                changes.bulk_create(Contact, chunk)
                changes.bulk_create(Affiliation, self.affiliations(chunk, companies))
                bar.update(len(chunk))

    def companies(self, organization, owners, contacts):
        """Every fifth belongs to the one before it."""
        fake = self.fake
        companies = []
        for number in range(contacts // CONTACTS_OF_COMPANY):
            name = fake.company()
            company = Company(
                organization=organization,
                owner=fake.random_element(owners),
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

    def affiliations(self, contacts, companies):
        """Every tenth contact advises another company."""
        affiliations = []
        for contact in contacts[::10]:
            other = self.fake.random_element(companies) if companies else None
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

    def contact(self, organization, owners, companies, number):
        """Two of three work for a company; every fourth has a second address."""
        fake = self.fake
        first, last = fake.first_name(), fake.last_name()
        company = fake.random_element(companies) if companies and number % 3 else None
        other = {"value": f"{first}.{last}.{number}@example.net", "label": "home"}
        contact = Contact(
            organization=organization,
            owner=fake.random_element(owners),
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
