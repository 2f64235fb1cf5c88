"""Records to try MyCRM with, and to measure it by: `manage.py seed`.

Each app has a module `seeding` that says how its records look (SEEDERS); what they have
in common is here. They are written as an import writes them, in one change set: so they
are searched, listed, told in histories and undone like all others. Only that nobody
validates them: what a seeder makes is valid as it is, to which its tests hold it.
"""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from importlib import import_module
from uuid import UUID

import uuid_utils.compat
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone
from django.utils.module_loading import module_has_submodule
from tqdm import tqdm

from core.access import Scope, Verb
from core.models import Changes, ChangeSet, Organization, Record
from core.seeding.pools import Pools, pools_of
from core.zipf import Zipf

# Each chunk asks once which of its words searches know.
CHUNK = 5000
OLDEST = timedelta(days=4 * 365)


class Seeding:
    """One run of the command.

    Args:
        seed: the same one makes the same values, at the same times before now.
        password: of people that are made.
    """

    def __init__(self, organization: Organization, seed: int, password: str, out):
        self.organization = organization
        self.seed = seed
        self.password = password
        self.out = out
        self.now = timezone.now()
        self.records = self._change_set("Demo data")
        # Apart, for what others work by is not undone with the records.
        self.settings = self._change_set("Demo settings")

    def _change_set(self, reason: str) -> ChangeSet:
        source = ChangeSet.Source.COMMAND
        return ChangeSet(organization=self.organization, source=source, reason=reason)

    @cached_property
    def pools(self) -> Pools:
        return pools_of(self.seed)

    def chance(self, *names) -> random.Random:
        """Chance that is the same in each run for the same names."""
        return random.Random(f"{self.seed} {names}")  # noqa: S311 no secret

    def owners_of(self, model: type[Record]) -> Zipf:
        """Those who may make such records: some own many, others few."""
        people = get_user_model().objects.select_related("role")
        people = people.filter(organization=self.organization, is_active=True)
        owners = [
            user
            for user in people.order_by("pk")
            if user.scope(model.record_type(), Verb.CREATE) != Scope.NONE
        ]
        return Zipf(owners, 0.4)


class Seeder:
    """Makes records of one kind, a chunk in each transaction.

    Attributes:
        name: of the command's option that says how many.
        default: how many are made where no option says anything.
    """

    name: str
    default = 0

    def __init__(self, seeding: Seeding):
        self.seeding = seeding

    @classmethod
    def count_of(cls, counts: dict[str, int | None]) -> int:
        """How many to make where these were asked for; None: not said."""
        return counts[cls.name] or 0

    def run(self, count: int) -> None:
        if not count:
            return
        self.count = count
        with self.seeding.settings.writing() as changes:
            self.prepare(changes)
        with tqdm(total=count, desc=self.name.title(), unit="", disable=None) as bar:
            for start in range(0, count, CHUNK):
                numbers = range(start, min(start + CHUNK, count))
                self.chance = self.seeding.chance(self.name, start)
                with self.seeding.records.writing() as changes:
                    self.make(changes, numbers)
                bar.update(len(numbers))
        with self.seeding.settings.writing() as changes:
            self.finish(changes)

    def prepare(self, changes: Changes) -> None:
        """Settings that have to be there before the first chunk."""

    def make(self, changes: Changes, numbers: range) -> None:
        """The records with these numbers, from 0 on."""
        raise NotImplementedError

    def finish(self, changes: Changes) -> None:
        """Settings that follow once all are there."""

    def born(self, number: int) -> dict:
        """Id and times of a record, so that the numbers are in the order of time.

        More came lately than at the beginning.
        """
        ago = OLDEST * (1 - ((number + 1) / self.count) ** 0.6)
        moment = self.seeding.now - ago - timedelta(seconds=1)
        return {"id": id_at(moment), "created_at": moment, "updated_at": moment}

    def after(self, moment: datetime, days: float) -> datetime:
        """A moment within so many days after another one, and before now."""
        span = min(timedelta(days=days), self.seeding.now - moment)
        return moment + span * (0.05 + 0.9 * self.chance.random())

    def is_so(self, share: float) -> bool:
        return self.chance.random() < share


def id_at(moment: datetime) -> UUID:
    """An id as `new_id` would have made it then."""
    seconds = moment.timestamp()
    return uuid_utils.compat.uuid7(int(seconds), int(seconds % 1 * 1e9))


def seeders() -> list[type[Seeder]]:
    """Those of all apps, in the order in which their records need each other."""
    found: list[type[Seeder]] = []
    for app in apps.get_app_configs():
        if module_has_submodule(app.module, "seeding"):
            found += getattr(import_module(f"{app.name}.seeding"), "SEEDERS", ())
    return found


def tidy(models: Sequence[type[Record]]) -> None:
    """Let PostgreSQL know what its tables hold now: plans need it, and it takes a while
    to notice by itself.
    """
    if connection.vendor == "postgresql":
        # Within a transaction, as in tests, only statistics can be gathered.
        what = "ANALYZE" if connection.in_atomic_block else "VACUUM (ANALYZE)"
        with connection.cursor() as cursor:
            # A large table takes longer than a statement of a request may.
            cursor.execute("SET statement_timeout TO 0")
            for model in models:
                cursor.execute(f"{what} {model._meta.db_table}")
            cursor.execute("RESET statement_timeout")
