from datetime import timedelta

from django.utils import timezone

from core.demo import DemoCommand
from core.models.values import validate
from lead_management.models import Activity, Lead, ScoringModel
from lead_management.scoring import publication
from lead_management.services import move

OLDEST_DAYS = 90
TAGS = ("hot", "newsletter", "event-2026", "follow-up")
# Where leads go after their first activity, each as likely as the others.
NEXT = (None, None, Lead.Status.QUALIFIED, Lead.Status.UNQUALIFIED, Lead.Status.LOST)
REASONS = ("Too expensive", "No budget this year", "Chose a competitor")
OUTCOMES = ("Reached", "Left a message", "Asked for a proposal")
Kind = Activity.Kind


def fit(name: str, points: int, **filter) -> dict:
    return {"name": name, "group": "fit", "points": points, "filter": filter}


def engagement(name: str, points: int, at_most: int, **filter) -> dict:
    rule = {"name": name, "group": "engagement", "points": points, "filter": filter}
    return {**rule, "at_most": at_most}


RULES = [
    fit("Was recommended", 20, lead_source="referral"),
    fit("Met at a trade show", 15, lead_source="trade_show"),
    fit("Cold call", -5, lead_source="cold_call"),
    fit("Decides", 15, job_title__icontains="manager"),
    fit("Worth 10,000 or more", 15, estimated_value__gte=10_000),
    fit("Worth 30,000 or more", 10, estimated_value__gte=30_000),
    fit("Urgent", 10, priority__in=["high", "urgent"]),
    fit("Not qualified", -30, status__in=["unqualified", "lost"]),
    engagement("Met", 20, 2, kind="meeting"),
    engagement("Called", 10, 3, kind="call"),
    engagement("Wrote", 5, 3, kind="email"),
    engagement("Wants a proposal", 15, 1, outcome="Asked for a proposal"),
    engagement("Not reached", -5, 3, outcome="Left a message"),
]


class Command(DemoCommand):
    help = "Make leads with activities, owned by those who may create leads."
    model = Lead
    default = 500

    def prepare(self, changes, count):
        self.now = timezone.now()
        self.score(changes)

    def make(self, changes, numbers):
        chunk = [self.lead(number) for number in numbers]
        changes.bulk_create(Lead, chunk)
        self.work_on(changes, chunk)

    def lead(self, number) -> Lead:
        fake = self.fake
        first, last = fake.first_name(), fake.last_name()
        age = timedelta(minutes=fake.random_int(1, OLDEST_DAYS * 24 * 60))
        lead = Lead(
            organization=self.organization,
            owner=fake.random_element(self.owners),
            first_name=first,
            last_name=last,
            email=f"{first}.{last}.{number}@example.net",
            phone=fake.numerify("+1 (4##) 555-01##"),
            company_name=fake.company(),
            job_title=fake.job(),
            city=fake.city(),
            state=fake.state_abbr(),
            country="US",
            lead_source=fake.random_element(Lead.Source.values),
            priority=fake.random_element(Lead.Priority.values),
            estimated_value=fake.random_int(5, 500) * 100,
            probability=fake.random_int(1, 9) * 10,
            next_follow_up_at=self.now + timedelta(days=fake.random_int(-5, 20)),
            status_since=self.now - age,
            tags=list(fake.random_elements(TAGS, length=number % 3, unique=True)),
        )
        validate(lead)
        return lead

    def work_on(self, changes, leads):
        """Two of three were spoken to, every fourth has a task, some went further."""
        spoken = [lead for n, lead in enumerate(leads) if n % 3]
        activities = [self.contact(lead) for lead in spoken]
        activities += [self.task(lead) for lead in leads[::4]]
        changes.bulk_create(Activity, activities)
        for lead in Lead.objects.filter(pk__in=[lead.pk for lead in spoken]):
            status = self.fake.random_element(NEXT)
            if status:
                ended = status in (Lead.Status.UNQUALIFIED, Lead.Status.LOST)
                reason = self.fake.random_element(REASONS) if ended else ""
                move(changes, lead, status, reason)

    def score(self, changes):
        """Those who have no scoring model get one, which a worker publishes."""
        if ScoringModel.objects.filter(organization=self.organization).exists():
            return
        model = ScoringModel()
        changes.save(model, name="First rules", rules=RULES)
        publication.start(changes, model)

    def contact(self, lead) -> Activity:
        kind = self.fake.random_element(Activity.CONTACTS)
        return self.activity(
            lead,
            kind=kind,
            subject=f"{kind.label} with {lead.first_name}",
            duration_minutes=self.fake.random_int(1, 12) * 5,
            outcome=self.fake.random_element(OUTCOMES),
        )

    def task(self, lead) -> Activity:
        due = self.now + timedelta(days=self.fake.random_int(-3, 10))
        subject = f"Send {lead.first_name} a proposal"
        return self.activity(lead, kind=Kind.TASK, subject=subject, due_at=due)

    def activity(self, lead, **values) -> Activity:
        ago = timedelta(hours=self.fake.random_int(1, 72))
        activity = Activity(
            organization=lead.organization,
            owner=lead.owner,
            lead=lead,
            occurred_at=self.now - ago,
            **values,
        )
        validate(activity)
        return activity
