import secrets

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from faker import Faker

from core.models import ChangeSet, Organization
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


class Command(BaseCommand):
    help = "Make teams, and people of every role, to try MyCRM with."

    def add_arguments(self, parser):
        parser.add_argument("organization")
        parser.add_argument(
            "--password", help="of everybody made; made up and printed if not given"
        )

    @transaction.atomic
    def handle(self, organization, password, **options):
        try:
            organization = Organization.objects.get(name=organization)
        except (Organization.DoesNotExist, Organization.MultipleObjectsReturned):
            raise CommandError(
                f"There is no one organization {organization}."
            ) from None
        if not password:
            password = secrets.token_urlsafe(12)
            self.stdout.write(f"Everybody's password: {password}")
        teams = self.make_teams(organization)
        roles = {r.name: r for r in Role.objects.filter(organization=organization)}
        fake = Faker("en_US")
        fake.seed_instance(2026)
        for role, team in PEOPLE:
            first, last = fake.unique.first_name(), fake.unique.last_name()
            email = f"{first}.{last}@example.com".lower()
            if User.objects.filter(email=email).exists():
                continue
            create_user(
                organization,
                email,
                password,
                first_name=first,
                last_name=last,
                role=roles[role],
                team=teams.get(team),
            )
            self.stdout.write(f"  {email} ({role})")

    def make_teams(self, organization):
        source = ChangeSet.Source.COMMAND
        teams = {t.name: t for t in Team.objects.filter(organization=organization)}
        with ChangeSet.open(organization=organization, source=source) as changes:
            for _, name in PEOPLE:
                if name and name not in teams:
                    teams[name] = Team()
                    changes.save(teams[name], name=name)
        return teams
