import random
import re
import statistics
import time
import uuid

from django.contrib.auth.hashers import make_password
from django.core.management.base import BaseCommand
from django.db import transaction
from django.test import Client, override_settings
from tqdm import tqdm

from core.models import ChangeSet, Organization
from user_management import limits
from user_management.models import Role, User

ADDRESSES = {
    "API": "/api/auth/app/v1/auth/login",
    "page": "/account/login/",
}
KINDS = ("known", "unknown", "inactive", "passwordless", "invited")
WRONG = "wrong-horse-battery"
CSRF_TOKEN = re.compile(rb'name="csrfmiddlewaretoken" value="\w+"')


class Command(BaseCommand):
    help = (
        "Measure that a failed sign-in takes as long for every kind of account."
        " Nothing that it makes stays in the database."
    )

    def add_arguments(self, parser):
        parser.add_argument("--rounds", type=int, default=200)

    def handle(self, rounds, **options):
        # The counters must not stop it, and are taken back like the accounts.
        limits.PER_ACCOUNT = limits.PER_ADDRESS = 10**9
        with transaction.atomic(), override_settings(REDIS_URL="", ALLOWED_HOSTS="*"):
            accounts = self.accounts()
            for name, address in ADDRESSES.items():
                self.measure(name, address, accounts, rounds)
            transaction.set_rollback(True)

    def accounts(self) -> dict[str, str]:
        """An e-mail address of each kind."""
        organization = Organization()
        password = make_password("correct-horse-battery")
        users = {
            "known": User(password=password),
            "inactive": User(password=password, is_active=False),
            "passwordless": User(password=make_password(None)),
            "invited": User(
                password=make_password(None), is_active=False, is_invited=True
            ),
        }
        emails = {kind: f"{kind}-{uuid.uuid4().hex}@example.com" for kind in KINDS}
        with ChangeSet.open(
            organization=organization, source=ChangeSet.Source.COMMAND
        ) as changes:
            changes.save(organization, name="Measuring")
            role = Role()
            changes.save(role, name="measured", rights={})
            for kind, user in users.items():
                changes.save(user, email=emails[kind], role=role)
        return emails

    def measure(self, name, address, accounts, rounds):
        walls = {kind: [] for kind in KINDS}
        processors = {kind: [] for kind in KINDS}
        answers = set()
        client = Client()
        for number in tqdm(range(-10, rounds), desc=name, unit="round"):
            for kind in random.sample(KINDS, len(KINDS)):
                email = accounts[kind]
                body = {"email": email, "login": email, "password": WRONG}
                content_type = {"content_type": "application/json"}
                if name == "page":
                    content_type = {}
                wall, processor = time.perf_counter(), time.process_time()
                answer = client.post(address, body, **content_type)
                wall = time.perf_counter() - wall
                processor = time.process_time() - processor
                content = CSRF_TOKEN.sub(b"", answer.content)
                content = content.replace(email.encode(), b"")
                answers.add((answer.status_code, content))
                if number >= 0:  # those before warm it up
                    walls[kind].append(wall)
                    processors[kind].append(processor)
        self.stdout.write(f"{name}: {len(answers)} kind(s) of answer")
        self.stdout.write(f"  {'account':14}{'wall ms':>20}{'processor ms':>20}")
        for kind in KINDS:
            cells = (self.spread(times[kind]) for times in (walls, processors))
            self.stdout.write(f"  {kind:14}" + "".join(f"{c:>20}" for c in cells))
        for title, times in (("wall", walls), ("processor", processors)):
            medians = [statistics.median(t) for t in times.values()]
            apart = (max(medians) / min(medians) - 1) * 100
            self.stdout.write(f"  {title} medians differ by {apart:.1f} % at most")

    @staticmethod
    def spread(times) -> str:
        """The median, and half of the range that the middle half takes."""
        first, _, last = statistics.quantiles(times, n=4)
        return f"{statistics.median(times) * 1000:.2f} ± {(last - first) * 500:.2f}"
