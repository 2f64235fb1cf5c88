"""People to try MyCRM with, in teams and with every role."""

from core.models import Changes
from core.seeding import Seeder
from core.seeding.pools import ascii_of
from user_management.models import Role, Team, User
from user_management.services import create_user

# Those who come first, and then again and again.
PEOPLE = (
    ("manager", "Sales"),
    ("sales_rep", "Sales"),
    ("sales_rep", "Sales"),
    ("sales_rep", "Sales"),
    ("marketing", "Marketing"),
    ("customer_support", "Support"),
    ("read_only", None),
)


class Users(Seeder):
    """Those who are there already, from a run before, are not made again."""

    name = "users"
    default = len(PEOPLE)

    def prepare(self, changes: Changes):
        here = {"organization": self.seeding.organization}
        self.roles = {role.name: role for role in Role.objects.filter(**here)}
        self.teams = {team.name: team for team in Team.objects.filter(**here)}
        for _, name in PEOPLE:
            if name and name not in self.teams:
                self.teams[name] = Team()
                changes.save(self.teams[name], name=name)

    def make(self, changes, numbers):
        for number in numbers:
            self.make_person(*PEOPLE[number % len(PEOPLE)])

    def make_person(self, role: str, team: str | None):
        country = self.seeding.pools.countries.items[0]
        organization = self.seeding.organization
        first = country.first_names.pick(self.chance)
        last = country.last_names.pick(self.chance)
        name = f"{ascii_of(first)}.{ascii_of(last)}"
        email, more = f"{name}@example.com", 1
        while user := User.objects.filter(email=email).first():
            if user.organization_id == organization.pk:
                return
            more += 1
            email = f"{name}{more}@example.com"
        create_user(
            organization,
            email,
            self.seeding.password,
            first_name=first,
            last_name=last,
            role=self.roles[role],
            team=self.teams.get(team),
        )
        self.seeding.out.write(f"  {email} ({role})")


SEEDERS = (Users,)
