import os
import secrets

from django.core.management import call_command
from django.core.management.base import BaseCommand

from core.models import Organization


class Command(BaseCommand):
    help = (
        "On an empty database: make the first organization, its administrator"
        " (ADMIN_EMAIL, ADMIN_PASSWORD) and, unless DEMO=0, demo data."
    )

    def handle(self, **options):
        if Organization.objects.exists():
            return
        email = os.environ.get("ADMIN_EMAIL") or "admin@example.com"
        given = os.environ.get("ADMIN_PASSWORD")
        password = given or secrets.token_urlsafe(12)
        os.environ["ADMIN_PASSWORD"] = password
        name = os.environ.get("ORGANIZATION") or "My organization"
        call_command("create_organization", name, admin=email, stdout=self.stdout)
        if os.environ.get("DEMO", "1") != "0":
            self.stdout.write("People to try it with, with the same password:")
            call_command(
                "seed", organization=name, password=password, stdout=self.stdout
            )
        shown = "the ADMIN_PASSWORD you gave" if given else password
        self.stdout.write("")
        self.stdout.write(f"  Sign in as {email}, password: {shown}")
        if not given:
            self.stdout.write(
                "  It is shown this once; it is not stored in clear text."
            )
