from datetime import timedelta

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from core.access import Scope, Verb, scope_of
from core.models import ChangeSet, Organization
from lead_management.models import Absence, AssignmentRule, Availability, Lead

OFFICE_HOURS = {
    day: [["08:00", "12:00"], ["13:00", "18:00"]]
    for day in ("mon", "tue", "wed", "thu", "fri")
}


class Command(BaseCommand):
    help = "Make rules that share new leads out in the Sales team, and who is away."

    def add_arguments(self, parser):
        parser.add_argument("organization")

    @transaction.atomic
    def handle(self, organization, **options):
        try:
            organization = Organization.objects.get(name=organization)
        except (Organization.DoesNotExist, Organization.MultipleObjectsReturned):
            raise CommandError(
                f"There is no one organization {organization}."
            ) from None
        people = get_user_model().objects.select_related("role", "team")
        people = people.filter(organization=organization, is_active=True)
        sellers = [
            user
            for user in people.filter(team__name="Sales").order_by("pk")
            if scope_of(user, Lead.record_type(), Verb.EDIT) != Scope.NONE
        ]
        if not sellers or AssignmentRule.objects.filter(organization=organization):
            return
        first, *others = sellers
        with ChangeSet.open(
            organization=organization,
            source=ChangeSet.Source.COMMAND,
            reason="Demo data",
        ) as changes:
            changes.save(
                AssignmentRule(),
                name="Big ones",
                position=1,
                filter={"estimated_value__gte": "40000"},
                method="user",
                user=first,
            )
            changes.save(
                AssignmentRule(),
                name="All others",
                position=2,
                method="round_robin",
                team=first.team,
                fallback="user",
                fallback_user=first,
            )
            for seller in others[:1]:
                limits = {"max_open_leads": 250, "working_hours": OFFICE_HOURS}
                changes.save(Availability(user=seller), **limits)
            for seller in others[-1:]:
                start = timezone.now() + timedelta(days=7)
                changes.save(
                    Absence(owner=seller),
                    starts_at=start,
                    ends_at=start + timedelta(days=7),
                    note="Holiday",
                )
