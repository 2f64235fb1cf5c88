from datetime import timedelta
from decimal import Decimal

from contact_management.seeding import Places
from core.models.values import snapshot
from core.zipf import Weighted, Zipf
from lead_management.models import Activity, Lead
from lead_management.seeding import rules

Status, Kind = Lead.Status, Activity.Kind
SOURCES = Zipf((*Lead.Source,), 0.7)
PRIORITIES = Weighted((*Lead.Priority,), (20, 50, 20, 10))
# Where leads go from contacted, which some stay in.
NEXT = Weighted(
    (None, Status.QUALIFIED, Status.UNQUALIFIED, Status.LOST), (40, 25, 15, 20)
)
REASONS = ("Too expensive", "No budget this year", "Chose a competitor")
OUTCOMES = Zipf(("Reached", "Left a message", "Asked for a proposal"))


class Leads(Places):
    """Two of three were spoken to, and some went further; every fourth has a task."""

    name = "leads"
    default = 500

    def prepare(self, changes):
        organization = self.seeding.organization
        rules.share_out(changes, organization)
        self.owners = self.seeding.owners_of(Lead)
        self.there = Lead.objects.filter(organization=organization).count()

    def make(self, changes, numbers):
        leads = [self.lead(number) for number in numbers]
        changes.bulk_create(Lead, leads)
        spoken = [lead for number, lead in enumerate(leads) if number % 3]
        changes.bulk_update(Lead, [self.spoken_to(lead) for lead in spoken])
        # The first contact as the lead keeps it: so the activities tell no news of it.
        activities = [self.contact(lead) for lead in spoken]
        changes.bulk_update(Lead, [*filter(None, map(self.moved, spoken))])
        activities += [self.task(lead) for lead in leads[::4]]
        changes.bulk_create(Activity, activities)

    def finish(self, changes):
        rules.score(changes, self.seeding.organization)

    def lead(self, number: int) -> Lead:
        chance, pools = self.chance, self.seeding.pools
        country = pools.countries.pick(chance)
        first, last, name = self.person(country)
        born = self.born(number)
        return Lead(
            **born,
            **self.address(country),
            organization=self.seeding.organization,
            owner=self.owners.pick(chance),
            first_name=first,
            last_name=last,
            email=f"{name}{self.there + number}@lead.example.net",
            company_name=country.company(chance),
            job_title=pools.jobs.pick(chance),
            lead_source=SOURCES.pick(chance),
            status_since=born["created_at"],
            priority=PRIORITIES.pick(chance),
            estimated_value=value_of(chance),
            currency=self.seeding.organization.currency,
            probability=chance.randrange(10, 100, 10),
            next_follow_up_at=self.seeding.now + timedelta(days=chance.uniform(-5, 20)),
        )

    def spoken_to(self, lead):
        before = snapshot(lead)
        lead.last_contacted_at = self.after(lead.created_at, 14)
        lead.status, lead.status_since = Status.CONTACTED, lead.last_contacted_at
        return lead, before

    def moved(self, lead):
        status = NEXT.pick(self.chance)
        if status is None:
            return None
        before = snapshot(lead)
        lead.status, lead.status_since = status, self.after(lead.status_since, 60)
        if status in (Status.UNQUALIFIED, Status.LOST):
            lead.status_reason = self.chance.choice(REASONS)
        return lead, before

    def contact(self, lead) -> Activity:
        kind = self.chance.choice(Activity.CONTACTS)
        return self.activity(
            lead,
            kind=kind,
            subject=f"{kind.label} with {lead.first_name}",
            body=self.chance.choice(self.seeding.pools.sentences),
            occurred_at=lead.last_contacted_at,
            duration_minutes=self.chance.randrange(5, 65, 5),
            outcome=OUTCOMES.pick(self.chance),
        )

    def task(self, lead) -> Activity:
        due = self.seeding.now + timedelta(days=self.chance.uniform(-3, 10))
        subject = f"Send {lead.first_name} a proposal"
        return self.activity(
            lead,
            kind=Kind.TASK,
            subject=subject,
            occurred_at=self.after(lead.created_at, 30),
            due_at=due,
        )

    def activity(self, lead, **values) -> Activity:
        return Activity(
            organization=self.seeding.organization,
            owner=lead.owner,
            lead=lead,
            **values,
        )


def value_of(chance) -> Decimal:
    """Some are worth 5,000, few half a million."""
    return Decimal(int(5 * 100 ** (1 + chance.random()))) * 10
