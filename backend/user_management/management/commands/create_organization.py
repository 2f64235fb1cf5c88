import os
import sys
from getpass import getpass

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from user_management.services import create_organization


class Command(BaseCommand):
    help = "Make an organization with its first administrator."

    def add_arguments(self, parser):
        parser.add_argument("name", help="of the organization")
        parser.add_argument("--admin", required=True, metavar="EMAIL")
        parser.add_argument(
            "--country", default="US", help="ISO 3166-1 code, for phone numbers"
        )

    def handle(self, name, admin, country, **options):
        """The password comes from ADMIN_PASSWORD, or is asked for."""
        password = os.environ.get("ADMIN_PASSWORD")
        if password is None:
            if not sys.stdin.isatty():
                raise CommandError("Set ADMIN_PASSWORD, or use a terminal.")
            password = getpass(f"Password for {admin}: ")
        try:
            with transaction.atomic():
                user = create_organization(name, admin, password, country=country)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        self.stdout.write(f"{name} is ready. {user.email} can sign in.")
