from datetime import timedelta

from contact_management.models import Company, Contact
from core.models.values import snapshot
from core.seeding import Seeder
from core.zipf import Zipf
from lead_management.models import Deal, DealContact, Kind, Stage
from lead_management.seeding.leads import value_of

WHAT = ("licence", "renewal", "pilot", "training", "maintenance", "upgrade")
REASONS = {
    Kind.WON: ("Price", "Features", "Trust", "Speed"),
    Kind.LOST: ("Price", "No budget", "Competitor", "No decision"),
}
ROLES = ("decision maker", "champion", "user", "purchasing")
# So many of the newest companies have deals.
COMPANIES = 20_000


class Deals(Seeder):
    """Sales to companies and contacts that are there, in all stages."""

    name = "deals"
    default = 300

    def prepare(self, changes):
        here = {"organization": self.seeding.organization}
        self.owners = self.seeding.owners_of(Deal)
        stages = Stage.objects.filter(is_removed=False, pipeline__is_active=True)
        self.stages = list(stages.filter(**here))
        companies = Company.objects.filter(**here).live().order_by("-pk")
        known = list(companies.values_list("pk", "name")[:COMPANIES])
        self.companies = Zipf(known, 0.5) if known else None

    def make(self, changes, numbers):
        deals = [self.deal(number) for number in numbers]
        changes.bulk_create(Deal, deals)
        changes.bulk_create(DealContact, list(self.parts(deals)))
        moves = [move for move in map(self.moved, deals) if move]
        changes.bulk_update(Deal, moves)

    def deal(self, number: int) -> Deal:
        """Every deal begins in the first stage; `moved` takes it further."""
        chance = self.chance
        country = self.seeding.pools.countries.pick(chance)
        company, company_name = None, country.company(chance)
        if self.companies and self.is_so(0.9):
            company, company_name = self.companies.pick(chance)
        born = self.born(number)
        return Deal(
            **born,
            organization=self.seeding.organization,
            owner=self.owners.pick(chance),
            name=f"{company_name}: {chance.choice(WHAT)}"[:200],
            amount=value_of(chance),
            currency=self.seeding.organization.currency,
            pipeline_id=self.stages[0].pipeline_id,
            stage=self.stages[0],
            company_id=company,
            company_name=company_name,
            stage_since=born["created_at"],
            expected_close_on=(
                self.seeding.now + timedelta(days=chance.randrange(1, 120))
            ).date(),
        )

    def moved(self, deal):
        stage = self.chance.choice(self.stages)
        if stage.pk == deal.stage_id:
            return None
        before = snapshot(deal)
        deal.stage, deal.pipeline_id = stage, stage.pipeline_id
        deal.stage_since = self.after(deal.created_at, 90)
        if stage.is_over:
            deal.reason = self.chance.choice(REASONS[stage.kind])
            deal.closed_at = deal.stage_since
            deal.expected_close_on = deal.closed_at.date()
        return deal, before

    def parts(self, deals):
        """Somebody of the company, where it has contacts, has a part in the deal."""
        ids = {deal.company_id for deal in deals} - {None}
        contacts = Contact.objects.filter(company__in=ids).live().order_by("pk")
        of_company = dict(contacts.values_list("company", "pk"))
        for deal in deals:
            if contact := of_company.get(deal.company_id):
                yield DealContact(
                    organization=self.seeding.organization,
                    owner=deal.owner,
                    deal=deal,
                    contact_id=contact,
                    role=self.chance.choice(ROLES),
                )
