"""What `manage.py seed` makes is as the API would have written it."""

from io import StringIO

from django.core.management import CommandError, call_command
from django.test import TestCase, tag

from contact_management.models import Affiliation, Company, Contact
from core.finding import Finder, Wanted
from core.jobs import run
from core.models import Change, ChangeSet, Job
from core.models.values import snapshot, validate
from core.registry import record_types
from core.search import search_text
from core.testing import Cast
from core.undo import start as start_undo
from lead_management.models import (
    Absence,
    Activity,
    AssignmentRule,
    Availability,
    Deal,
    DealContact,
    DealStay,
    Lead,
    LeadStay,
)
from user_management.models import Team, User
from user_management.services import create_organization


def organization(name: str):
    """One with the built-in roles, and one administrator."""
    email = f"admin{User.objects.count()}@example.net"
    return create_organization(name, email, "correct-horse-battery").organization


def seed(organization=None, **options) -> str:
    out = StringIO()
    call_command(
        "seed", organization=organization, stdout=out, stderr=StringIO(), **options
    )
    return out.getvalue()


@tag("once-on-servers")
class SeedTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        cls.here = cls.cast.organization
        seed(cls.here.name, contacts=80, leads=60, deals=40)

    def test_as_many_as_asked_for_are_made(self):
        models = (Company, Contact, Lead, Deal)
        self.assertEqual([m.objects.count() for m in models], [10, 80, 60, 40])
        for model in (Affiliation, Activity, DealContact):
            self.assertTrue(model.objects.exists(), model)

    def test_every_record_holds_to_its_rules_as_it_is(self):
        for name, model in record_types().items():
            for record in model.objects.select_related("organization"):
                before = snapshot(record)
                with self.subTest(name, record=before):
                    validate(record)
                    self.assertEqual(snapshot(record), before)
                    self.assertEqual(record.search_text, search_text(record))

    def test_the_journal_tells_of_each_and_undo_takes_all(self):
        change_set = ChangeSet.objects.get(reason="Demo data")
        created = Change.objects.filter(change_set=change_set, verb="create")
        for model in (Company, Contact, Lead, Deal, Activity):
            count = created.filter(record_type=model.record_type()).count()
            self.assertEqual(count, model.objects.count(), model)
        run(start_undo(change_set, self.cast.manager, partial=False, dry_run=False).pk)
        for model in {*record_types().values()} - {Absence}:
            self.assertFalse(model.objects.live().exists(), model)

    def test_searches_know_their_words(self):
        contact = Contact.objects.exclude(last_name="").first()
        letters = contact.last_name
        misspelt = letters[:2] + letters[3:]
        for text in (letters, misspelt):
            manager = self.cast.manager
            wanted = Wanted(manager.organization_id, f"{text} {contact.first_name}")
            hits = Finder(("contact",), manager).find(wanted, 50)
            self.assertIn(str(contact.pk), [hit.record["id"] for hit in hits], text)

    def test_owners_are_those_who_may_create(self):
        owners = set(Contact.objects.values_list("owner__first_name", flat=True))
        self.assertTrue(owners)
        self.assertLessEqual(owners, {"alice", "bob", "stranger", "manager"})

    def test_they_came_over_years_in_the_order_of_their_ids(self):
        for model in (Contact, Lead, Deal):
            moments = list(model.objects.order_by("pk").values_list("created_at"))
            self.assertEqual(moments, sorted(moments), model)
            self.assertGreater((moments[-1][0] - moments[0][0]).days, 3 * 365, model)

    def test_leads_and_deals_went_through_their_places(self):
        self.assertEqual(Lead.objects.exclude(status="new").count(), 40)
        self.assertEqual(LeadStay.objects.filter(status="new").count(), 40)
        moved = DealStay.objects.count()
        self.assertEqual(moved, Deal.objects.filter(version__gt=1).count())
        self.assertGreater(moved, 20)
        for stay in (*LeadStay.objects.all(), *DealStay.objects.all()):
            self.assertGreater(stay.left_at, stay.entered_at)

    def test_leads_are_scored_once_a_worker_comes(self):
        [job] = Job.objects.all()
        run(job.pk)
        leads = Lead.objects.with_scores(self.here.pk)
        scores = set(leads.values_list("lead_score", flat=True))
        self.assertGreater(len(scores), 5)
        self.assertNotIn(None, scores)

    def test_rules_for_leads_are_made_once(self):
        seed(self.here.name, leads=1)
        rules = AssignmentRule.objects.order_by("position")
        self.assertEqual([r.method for r in rules], ["user", "round_robin"])
        self.assertEqual(rules[0].user, self.cast.alice)
        self.assertEqual(Availability.objects.get().user, self.cast.bob)
        self.assertEqual(Absence.objects.get().owner, self.cast.bob)

    def test_more_can_be_made(self):
        seed(self.here.name, contacts=20, leads=10)
        self.assertEqual(Contact.objects.count(), 100)
        self.assertEqual(Lead.objects.count(), 70)

    def test_the_same_seed_makes_the_same(self):
        names = ("email", "city", "phone", "tags", "company_name", "job_title")

        def made(**options):
            name = f"Engines {ChangeSet.objects.count()}"
            here = organization(name)
            seed(name, users=3, **options)
            seed(name, contacts=30, **options)
            contacts = Contact.objects.filter(organization=here).order_by("pk")
            return list(contacts.values_list(*names))

        self.assertEqual(made(seed=7), made(seed=7))
        self.assertNotEqual(made(seed=7), made(seed=8))


class SeedPeopleTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.here = organization("Analytical Engines")

    def test_people_have_every_role_and_can_sign_in(self):
        out = seed(users=9, password="demo-horse-battery")
        made = User.objects.exclude(role__name="administrator")
        roles = list(made.values_list("role__name", flat=True))
        others = ["manager", "marketing", "customer_support", "read_only"]
        self.assertEqual(
            sorted(roles), sorted([*others, *["sales_rep"] * 4, "manager"])
        )
        self.assertEqual(Team.objects.count(), 3)
        for user in made:
            self.assertTrue(user.check_password("demo-horse-battery"))
            self.assertIn(user.email, out)

    def test_their_password_is_shown_if_it_was_made_up(self):
        password = seed(users=1).splitlines()[0].removeprefix("Everybody's password: ")
        user = User.objects.get(role__name="manager")
        self.assertTrue(user.check_password(password))

    def test_they_are_made_once_in_an_organization(self):
        seed(users=3)
        emails = set(User.objects.values_list("email", flat=True))
        seed(users=3)
        self.assertEqual(set(User.objects.values_list("email", flat=True)), emails)
        other = organization("Difference Engines")
        seed(other.name, users=3)
        self.assertEqual(User.objects.filter(organization=other).count(), 4)

    def test_without_options_there_is_some_of_everything(self):
        seed()
        models = (User, Contact, Lead, Deal)
        self.assertEqual([m.objects.count() for m in models], [8, 2000, 500, 300])

    def test_what_cannot_be_made_is_refused(self):
        organization("Difference Engines")
        refused = (
            {"users": 1},
            {"organization": "none", "users": 1},
            {"organization": self.here.name, "users": -1},
        )
        for options in refused:
            with self.subTest(options), self.assertRaises(CommandError):
                seed(**options)
        self.assertEqual(User.objects.count(), 2)
