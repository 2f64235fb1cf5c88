from datetime import timedelta

from django.utils import timezone

from contact_management.models import Company, Contact
from core.demo import DemoCommand
from core.models.values import snapshot, validate
from lead_management.models import Deal, DealContact, Kind, Stage

WHAT = ("licence", "renewal", "pilot", "training", "maintenance", "upgrade")
REASONS = {
    Kind.WON: ("Price", "Features", "Trust", "Speed"),
    Kind.LOST: ("Price", "No budget", "Competitor", "No decision"),
}
ROLES = ("decision maker", "champion", "user", "purchasing")
COMPANIES = 1000


class Command(DemoCommand):
    help = "Make deals to try MyCRM with, for companies and contacts that are there."
    model = Deal
    default = 300

    def prepare(self, changes, count):
        here = {"organization": self.organization}
        self.stages = list(Stage.objects.filter(is_removed=False, **here))
        self.companies = list(Company.objects.filter(**here).live()[:COMPANIES])
        contacts = Contact.objects.filter(company__in=self.companies, **here).live()
        self.contacts = {contact.company_id: contact for contact in contacts}

    def make(self, changes, numbers):
        chunk = [self.deal() for _ in numbers]
        changes.bulk_create(Deal, chunk)
        changes.bulk_create(DealContact, list(self.parts(chunk)))
        changes.bulk_update(Deal, list(self.moves(chunk)))

    def deal(self):
        """Every deal begins in the first stage; `moves` takes it further."""
        fake = self.fake
        company = fake.random_element(self.companies) if self.companies else None
        deal = Deal(
            organization=self.organization,
            owner=fake.random_element(self.owners),
            name=f"{company or fake.company()}: {fake.random_element(WHAT)}"[:200],
            amount=fake.random_int(5, 900) * 100,
            company=company,
            expected_close_on=timezone.now().date()
            + timedelta(days=fake.random_int(1, 120)),
        )
        validate(deal)
        return deal

    def moves(self, deals):
        for deal in deals:
            before = snapshot(deal)
            deal.stage = self.fake.random_element(self.stages)
            if deal.stage.is_over:
                deal.reason = self.fake.random_element(REASONS[deal.stage.kind])
            validate(deal)
            if deal.stage.pk != before["stage"]:
                yield deal, before

    def parts(self, deals):
        for deal in deals:
            if contact := self.contacts.get(deal.company_id):
                part = DealContact(
                    organization=self.organization,
                    owner=deal.owner,
                    deal=deal,
                    contact=contact,
                    role=self.fake.random_element(ROLES),
                )
                validate(part)
                yield part
