import secrets

from django.core.management.base import BaseCommand, CommandError

from core.models import Change, Organization, SearchWord
from core.registry import record_types
from core.seeding import Seeding, seeders, tidy


class Command(BaseCommand):
    help = (
        "Make people and records to try MyCRM with, or to measure it by: a few of each"
        " kind, or only as many as the options say."
    )

    def add_arguments(self, parser):
        parser.add_argument(
            "--organization", help="its name; needed where there are several"
        )
        parser.add_argument(
            "--seed", type=int, default=2026, help="the same one makes the same values"
        )
        parser.add_argument(
            "--password", help="of people; made up and printed if not given"
        )
        for seeder in seeders():
            parser.add_argument(f"--{seeder.name}", type=int, metavar="N")

    def handle(self, organization, seed, password, **options):
        known = Organization.objects.all()
        if organization:
            known = known.filter(name=organization)
        try:
            organization = known.get()
        except (Organization.DoesNotExist, Organization.MultipleObjectsReturned):
            raise CommandError(
                f"There is no one organization {organization or 'here: name it'}."
            ) from None
        found = seeders()
        counts = {seeder.name: options[seeder.name] for seeder in found}
        if set(counts.values()) == {None}:
            counts = {seeder.name: seeder.default or None for seeder in found}
        if any(count is not None and count < 0 for count in counts.values()):
            raise CommandError("Nobody can make fewer than none.")
        if not password:
            password = secrets.token_urlsafe(12)
            if counts.get("users"):
                self.stdout.write(f"Everybody's password: {password}")
        seeding = Seeding(organization, seed, password, self.stdout)
        for seeder in found:
            seeder(seeding).run(seeder.count_of(counts))
        tidy([*record_types().values(), Change, SearchWord])
