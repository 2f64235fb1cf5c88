"""Records to try MyCRM with: what the commands that make them share."""

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from faker import Faker
from tqdm import tqdm

from core.access import Scope, Verb
from core.models import Changes, ChangeSet, Organization, Record

CHUNK = 500


class DemoCommand(BaseCommand):
    """Makes records, chunk by chunk in one change set, that look the same each time."""

    model: type[Record]
    default: int

    def add_arguments(self, parser):
        parser.add_argument("organization")
        parser.add_argument(
            f"--{self.model.plural()}", dest="count", type=int, default=self.default
        )

    @transaction.atomic
    def handle(self, organization, count, **options):
        try:
            self.organization = Organization.objects.get(name=organization)
        except (Organization.DoesNotExist, Organization.MultipleObjectsReturned):
            raise CommandError(
                f"There is no one organization {organization}."
            ) from None
        people = get_user_model().objects.select_related("role")
        # Those who may make such records own them.
        self.owners = [
            user
            for user in people.filter(organization=self.organization, is_active=True)
            if user.scope(self.model.record_type(), Verb.CREATE) != Scope.NONE
        ]
        self.fake = Faker("en_US")
        self.fake.seed_instance(2026)
        with (
            tqdm(total=count, desc=self.model.plural().title(), unit="") as bar,
            ChangeSet.open(
                organization=self.organization,
                source=ChangeSet.Source.COMMAND,
                reason="Demo data",
            ) as changes,
        ):
            self.prepare(changes, count)
            for start in range(0, count, CHUNK):
                numbers = range(start, min(start + CHUNK, count))
                self.make(changes, numbers)
                bar.update(len(numbers))

    def prepare(self, changes: Changes, count: int) -> None:
        """What has to be there before the first chunk."""

    def make(self, changes: Changes, numbers: range) -> None:
        """The records with these numbers."""
        raise NotImplementedError
