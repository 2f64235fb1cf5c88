import secrets

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from faker import Faker
from tqdm import tqdm

from contact_management.models import Contact
from core.models import ChangeSet, Organization
from core.models.journal import validate
from user_management.models import Role, Team, User
from user_management.services import create_user

PEOPLE = (
    ("manager", "Sales"),
    ("sales_rep", "Sales"),
    ("sales_rep", "Sales"),
    ("sales_rep", "Sales"),
    ("marketing", "Marketing"),
    ("customer_support", "Support"),
    ("read_only", None),
)
SOURCES = ("website", "referral", "trade_show", "cold_call", "advertisement")
TAGS = ("vip", "newsletter", "partner", "event-2026", "follow-up")
CHUNK = 500


class Command(BaseCommand):
    help = "Fill an organization with people of every role, and contacts."

    def add_arguments(self, parser):
        parser.add_argument("--organization", metavar="NAME", help="if there are more")
        parser.add_argument("--contacts", type=int, default=2000)
        parser.add_argument(
            "--password", help="of everybody made; made up and printed if not given"
        )

    def handle(self, organization, contacts, password, **options):
        found = Organization.objects.all()
        if organization:
            found = found.filter(name=organization)
        if len(found) != 1:
            raise CommandError("Name one organization with --organization.")
        password = password or secrets.token_urlsafe(12)
        self.fake = Faker("en_US")
        self.fake.seed_instance(2026)
        with transaction.atomic():
            people = self.make_people(found[0], password)
            self.make_contacts(found[0], people, contacts)
        self.stdout.write(f"Everybody's password: {password}")
        for user in people:
            self.stdout.write(f"  {user.email} ({user.role.name})")

    def make_people(self, organization, password):
        source = ChangeSet.Source.COMMAND
        with ChangeSet.open(organization=organization, source=source) as changes:
            teams = {}
            for name in ("Sales", "Marketing", "Support"):
                teams[name] = Team()
                changes.save(teams[name], name=name)
        roles = {r.name: r for r in Role.objects.filter(organization=organization)}
        people = []
        for role, team in PEOPLE:
            first, last = self.fake.unique.first_name(), self.fake.unique.last_name()
            email = f"{first}.{last}@example.com".lower()
            if not User.objects.filter(email=email).exists():
                people.append(
                    create_user(
                        organization,
                        email,
                        password,
                        first_name=first,
                        last_name=last,
                        role=roles[role],
                        team=teams.get(team),
                    )
                )
        return people

    def make_contacts(self, organization, people, count):
        owners = [user for user in people if user.role.name in ("manager", "sales_rep")]
        with (
            tqdm(total=count, desc="Contacts", unit="") as bar,
            ChangeSet.open(
                organization=organization,
                source=ChangeSet.Source.COMMAND,
                reason="Demo data",
            ) as changes,
        ):
            for start in range(0, count, CHUNK):
                chunk = [
                    self.contact(organization, owners, number)
                    for number in range(start, min(start + CHUNK, count))
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
            job_title=fake.job()[:200],
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
