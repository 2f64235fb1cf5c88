from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from faker import Faker
from tqdm import tqdm

from contact_management.models import Contact
from core.access import Scope, Verb
from core.models import ChangeSet, Organization
from core.models.journal import validate

SOURCES = ("website", "referral", "trade_show", "cold_call", "advertisement")
TAGS = ("vip", "newsletter", "partner", "event-2026", "follow-up")
CHUNK = 500


class Command(BaseCommand):
    help = "Make contacts to try MyCRM with, owned by those who may create contacts."

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
            for start in range(0, contacts, CHUNK):
                chunk = [
                    self.contact(organization, owners, number)
                    for number in range(start, min(start + CHUNK, contacts))
                ]
                changes.bulk_create(Contact, chunk)
                bar.update(len(chunk))

    def contact(self, organization, owners, number):
        fake = self.fake
        first, last = fake.first_name(), fake.last_name()
        contact = Contact(
            organization=organization,
            owner=fake.random_element(owners),
            first_name=first,
            last_name=last,
            email=f"{first}.{last}.{number}@example.org",
            phone=fake.numerify("+1 (2##) 555-01##"),
            company_name=fake.company(),
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
