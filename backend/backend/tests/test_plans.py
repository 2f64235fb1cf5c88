"""Answers that a plan makes (core.plans), against what the view would have given."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from unittest import mock, skipUnless
from urllib.parse import quote
from uuid import uuid4
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.models import Exists, F, Q, Subquery
from django.db.models.functions import Upper
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_redis import get_redis_connection

from contact_management.models import Company, Contact
from core import cache, pagination, recall, statements
from core.models import CustomField
from core.representation import Columns, summaries_for
from core.statements import Bound, Statement, columns_asked
from core.testing import (
    OWN,
    PASSWORD,
    Cast,
    make_organization,
    make_user,
    system_changes,
)
from lead_management.models import Activity, Deal, Lead, LeadProcess
from user_management.models import Team, User
from user_management.tests.test_remembered import PATH, RememberedTestCase, told

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Written(Exception):
    """Django wrote a statement."""


def at(**after) -> str:
    return quote((NOON + timedelta(**after)).isoformat())


@skipUnless(settings.REDIS_URL, "needs Redis")
class PlanTests(RememberedTestCase):
    def setUp(self):
        super().setUp()
        self.headers = self.sign_in()
        self.contacts = [self.contact]
        for hours, city in ((0, "Bern"), (1, "Genf"), (2, "Bern")):
            contact = Contact(created_at=NOON + timedelta(hours=hours))
            owner = self.dora if hours else self.cast.manager
            self.edit(contact, last_name=f"K{hours}", city=city, owner=owner)
            self.contacts.append(contact)

    def whole(self, path):
        """What the view gives whom nobody remembers."""
        recall.recalls.__init__(100)
        get_redis_connection("default").flushdb()
        answer, asked = self.get(self.headers, path, **{"X-Request-ID": "same"})
        self.assertTrue(asked)
        return answer

    def planned(self, path):
        answer, asked = self.get(self.headers, path, **{"X-Request-ID": "same"})
        self.assertFalse(asked)
        return answer

    def assertPlanned(self, first, *others):
        """Once the first was asked for, a plan answers the others like the view."""
        self.get(self.headers, first)
        # Credentials are remembered from the second request on.
        self.get(self.headers, f"{PATH}?page_size=1")
        self.get(self.headers, first)
        found = [self.planned(path) for path in others]
        for path, answer in zip(others, found, strict=True):
            with self.subTest(path):
                self.assertEqual(told(answer), told(self.whole(path)))
        return found

    def test_records_that_nobody_asked_for_yet(self):
        first, *others = (f"{PATH}{c.pk}/" for c in self.contacts)
        for more in ("", "?expand=owner&fields=id,owner,version"):
            answers = self.assertPlanned(first + more, *(o + more for o in others))
            names = [c.last_name for c in self.contacts[1:]]
            if not more:
                self.assertEqual([a.json()["last_name"] for a in answers], names)

    def test_ranges_that_nobody_asked_for_yet(self):
        asked = f"{PATH}?expand=owner&created_at__gte={at()}&created_at__lt="
        answers = self.assertPlanned(
            asked + at(minutes=1), *(asked + at(hours=n, minutes=1) for n in (1, 2, -9))
        )
        counts = [answer.json()["count"] for answer in answers]
        self.assertEqual(counts, [2, 3, 0])

    def test_pages_have_their_own_links_and_counts(self):
        asked = f"{PATH}?page_size=1&page=2&created_at__lt="
        [answer] = self.assertPlanned(asked + at(hours=3), asked + at(hours=2))
        self.assertEqual(answer.json()["count"], 2)
        self.assertIsNone(answer.json()["next"])
        self.assertIn("created_at__lt=2026-05-01T14", answer.json()["previous"])

    def test_pages_behind_any_row(self):
        """Forwards to the last and back to the first, whatever they are ordered by."""
        for number, size in enumerate((None, 5, 5, None, 7)):
            self.edit(Company(), name=f"C{number}", owner=self.dora, size=size)
        for path in (
            f"{PATH}?expand=owner",
            f"{PATH}?ordering=city,-last_name&created_at__lt={at(days=999)}",
            "/api/companies/?ordering=size",
            "/api/companies/?ordering=-size,name&fields=name",
        ):
            with self.subTest(path):
                expected = self.whole(path).json()["results"]
                self.assertGreater(len(expected), 3)
                self.warm(self.headers, f"{path}&page_size=1&cursor=")
                pages = self.walk(f"{path}&page_size=1&cursor=", "next")
                self.assertEqual(
                    [page["results"] for page in pages], [[r] for r in expected]
                )
                back = self.walk(pages[-1]["previous"], "previous")
                self.assertEqual(
                    [page["results"] for page in back], [[r] for r in expected[-2::-1]]
                )

    def walk(self, path, way) -> list[dict]:
        """The pages from one on, each by a plan or from the cache."""
        pages = []
        while path:
            pages.append(self.planned(path).json())
            self.assertLess(len(pages), 9)
            path = pages[-1][way]
        return pages

    def test_a_cursor_of_others_is_refused_where_there_is_a_plan(self):
        path = f"{PATH}?page_size=1&cursor="
        self.warm(self.headers, path)
        following = self.planned(path).json()["next"]
        for asked, code in (
            (f"{path}made-up", "invalid"),
            (following.replace("size=1", "size=1&city=Bern"), "wrong_query"),
        ):
            for _ in range(2):
                answer, _ = self.get(self.headers, asked)
                self.assertEqual(answer.status_code, 400)
                [error] = answer.json()["errors"]
                self.assertEqual((error["field"], error["code"]), ("cursor", code))

    def test_searches_for_words_that_nobody_looked_for_yet(self):
        asked = "/api/search/?types=contact,lead&q="
        answers = self.assertPlanned(f"{asked}k0", *(f"{asked}k{n}" for n in (1, 2, 9)))
        found = [
            [r["record"]["last_name"] for r in a.json()["results"]] for a in answers
        ]
        self.assertEqual(found, [["K1"], ["K2"], []])

    def test_who_may_write_is_asked_of_what_they_see_now(self):
        path = f"{PATH}{self.contact.pk}/"

        def write(**body):
            answer = self.client.patch(
                path, body, content_type="application/json", headers=self.headers
            )
            return answer.status_code

        company = Company()
        self.edit(company, name="Engines", owner=self.cast.bob)
        self.edit(self.contact, owner=self.cast.bob)
        related = {"company": str(company.pk), "owner": str(self.cast.bob.pk)}
        for name in ("Ada", "Augusta", "Ada"):
            self.assertEqual(write(first_name=name, **related), 200)
        self.edit(self.role, rights={"*": OWN})
        self.contact.refresh_from_db()
        self.assertEqual(write(first_name="Augusta"), 404)
        self.edit(self.contact, owner=self.dora)
        self.assertEqual(write(company=str(company.pk)), 400)
        for name in ("Ada", "Augusta", "Ada"):
            self.assertEqual(write(first_name=name), 200)
        self.contact.refresh_from_db()
        self.edit(self.contact, owner=self.cast.bob)
        self.assertEqual(write(first_name="Augusta"), 404)
        self.contact.refresh_from_db()
        self.assertEqual(self.contact.first_name, "Ada")

    def test_the_same_list_after_a_write(self):
        for path in (
            f"{PATH}?city=Bern&ordering=last_name,-city",
            f"{PATH}?search=k1&expand=owner",
            f"{PATH}?owner=me",
            f"{PATH}?deleted=true",
        ):
            self.warm(self.headers, path)
            self.edit(self.contacts[2], first_name=uuid4().hex)
            answer = self.planned(path)
            self.assertEqual(told(answer), told(self.whole(path)))

    def test_a_count_is_kept_until_a_write_can_change_it(self):
        path = f"{PATH}?page_size=1&city=Bern"
        berne = self.contacts[3]

        def write(**fields):
            self.edit(Contact.objects.get(pk=berne.pk), **fields)

        def delete():
            with system_changes(self.cast.organization) as changes:
                changes.delete(Contact.objects.get(pk=berne.pk))

        def restore():
            with system_changes(self.cast.organization) as changes:
                changes.restore(Contact.objects.get(pk=berne.pk))

        def edit_many():
            contacts = list(Contact.objects.all())
            with system_changes(self.cast.organization) as changes:
                changes.bulk_set(Contact, contacts, city="Bern")

        self.edit(Contact(), last_name="K3", city="Bern", owner=self.dora)
        self.warm(self.headers, path)
        for write_, count, is_counted in (
            (partial(write, first_name="Ada"), 3, False),
            (partial(write, owner=self.cast.manager), 3, True),
            (partial(write, city="Genf"), 2, True),
            (partial(write, job_title="Head"), 2, False),
            (partial(write, city="Bern"), 3, True),
            (delete, 2, True),
            (restore, 3, True),
            (partial(self.edit, Contact(), last_name="K4", city="Bern"), 4, True),
            (partial(self.edit, Lead(), last_name="K5", city="Bern"), 4, False),
            (edit_many, 6, True),
        ):
            with self.subTest(str(write_)):
                write_()
                with CaptureQueriesContext(connection) as queries:
                    answer = self.planned(path)
                counted = [q for q in queries if "COUNT(*)" in q["sql"]]
                self.assertEqual(answer.json()["count"], count)
                self.assertEqual(len(counted), int(is_counted))

    def counted(self, path) -> tuple:
        """The count, whether there are more, and how often rows were counted."""
        with CaptureQueriesContext(connection) as queries:
            answer = self.planned(path).json()
        counts = [q for q in queries if "COUNT(*)" in q["sql"]]
        return answer["count"], answer["capped"], len(counts)

    def make_at(self, **after):
        contact = Contact(created_at=NOON + timedelta(**after))
        self.edit(contact, last_name="K", city="Bern", owner=self.dora)

    def test_up_to_what_lies_beyond_the_last_record_none_is_counted(self):
        self.make_at(hours=3)
        self.make_at(hours=4)
        for lookup, first, inside, beyond, far in (
            ("lt", {"hours": 3.5}, {"hours": 4}, {"hours": 5}, {"days": 9}),
            ("lte", {"hours": 3}, {"hours": 3.9}, {"hours": 4}, {"days": 9}),
            ("gt", {"hours": 1}, {"hours": 0}, {"hours": -1}, {"days": -9}),
            ("gte", {"hours": 1}, {"hours": 0.1}, {"hours": 0}, {"days": -9}),
        ):
            path = f"{PATH}?page_size=1&city=Bern&created_at__{lookup}="
            self.warm(self.headers, path + at(**first))
            for after, found in (
                (inside, (3, False, 1)),
                (beyond, (4, False, 0)),
                (far, (4, False, 0)),
            ):
                with self.subTest(lookup, **after):
                    self.assertEqual(self.counted(path + at(**after)), found)

    def test_only_a_write_brings_records_beyond_the_last(self):
        path = f"{PATH}?page_size=1&city=Bern&created_at__lt="
        self.warm(self.headers, path + at(hours=9))
        self.make_at(hours=9)
        for hours, count in ((9.5, 3), (9.1, 3), (9, 2), (8, 2)):
            found, _, _ = self.counted(path + at(hours=hours))
            self.assertEqual(found, count, hours)
        self.edit(self.contacts[3], city="Genf")
        self.assertEqual(self.counted(path + at(hours=9.6)), (2, False, 1))

    def test_of_more_than_are_counted_the_last_of_these_decides(self):
        path = f"{PATH}?page_size=1&created_at__lt="
        with mock.patch.object(pagination, "MAX_COUNT", 1):
            self.warm(self.headers, path + at(hours=1))
            for hours, found in (
                (0.1, (1, False, 0)),
                (1.1, (1, True, 1)),
                (2.1, (1, True, 0)),
                (99, (1, True, 0)),
            ):
                with self.subTest(hours):
                    self.assertEqual(self.counted(path + at(hours=hours)), found)

    def test_a_count_by_search_is_kept_until_what_it_looks_through_changes(self):
        path = f"{PATH}?page_size=1&search=bern"
        self.edit(Contact(), last_name="K3", city="Bern", owner=self.dora)
        self.warm(self.headers, path)
        for fields, count, is_counted in (
            ({"job_title": "Bernese"}, 3, False),
            ({"city": "Genf"}, 2, True),
            ({"company_name": "Bern AG"}, 3, True),
        ):
            with self.subTest(fields):
                self.edit(Contact.objects.get(pk=self.contacts[3].pk), **fields)
                with CaptureQueriesContext(connection) as queries:
                    answer = self.planned(path)
                counted = [q for q in queries if "COUNT(*)" in q["sql"]]
                self.assertEqual(answer.json()["count"], count)
                self.assertEqual(len(counted), int(is_counted))

    def test_who_is_on_which_team_changes_a_count(self):
        alice, team = self.cast.alice, self.cast.team
        role = self.cast.bob.role
        bob = make_user(
            self.cast.organization, uuid4().hex, role, team, password=PASSWORD
        )
        for place in range(2):
            self.edit(Contact(), last_name=f"A{place}", owner=alice)
        self.edit(Contact(), last_name="B", owner=bob)
        headers, path = self.sign_in(bob), f"{PATH}?page_size=1"
        self.warm(headers, path)
        for of_alice, count in ((None, 1), (team, 3)):
            self.edit(User.objects.get(pk=alice.pk), team=of_alice)
            for _ in range(2):
                answer, _ = self.get(headers, path)
                self.assertEqual(answer.json()["count"], count)

    def test_while_a_change_is_announced_a_plan_asks_the_database(self):
        path = f"{PATH}{self.contact.pk}/"
        self.warm(self.headers, path)
        names = cache.names_of("contact", [self.contact.pk])
        mark = cache.mark(self.cast.organization.pk, names)

        def assertAsks(*counts):
            for count in counts:
                with self.assertNumQueries(count):
                    answer = self.planned(path)
                self.assertEqual(answer.json()["id"], str(self.contact.pk))

        assertAsks(1, 1)
        cache.lift(mark)
        assertAsks(1, 0)

    def test_other_types_of_records(self):
        lead, task = Lead(), Activity()
        self.edit(lead, last_name="Lead", owner=self.dora)
        due = {"kind": Activity.Kind.TASK, "due_at": NOON}
        self.edit(task, subject="Call", lead=lead, owner=self.dora, **due)
        for path, record, name in (
            ("/api/leads/", lead, "first_name"),
            ("/api/activities/", task, "subject"),
        ):
            for asked in (path, f"{path}{record.pk}/", f"{path}?open=true"):
                if "open" in asked and record is lead:
                    continue
                self.get(self.headers, asked)
                self.warm(self.headers, asked)
                self.edit(record, **{name: uuid4().hex})
                answer = self.planned(asked)
                self.assertIn(getattr(record, name), answer.content.decode())
                self.assertEqual(told(answer), told(self.whole(asked)))

    def test_what_depends_on_other_records_or_on_the_hour_is_asked_of_the_view(self):
        for path in (
            "/api/leads/?lead_score__gte=1",
            "/api/activities/?due=today",
        ):
            for _ in range(3):
                self.get(self.headers, path)
            self.edit(Lead(), last_name="Lead", owner=self.dora)
            self.assertTrue(self.get(self.headers, path)[1], path)

    def test_a_report_is_given_again_until_its_day_ends(self):
        self.edit(Lead(), last_name="Lead", owner=self.dora)
        now = timezone.now()
        zone = ZoneInfo(self.cast.organization.timezone)
        midnight = datetime.combine(
            now.astimezone(zone).date() + timedelta(days=1), datetime.min.time(), zone
        ).timestamp()
        for path in ("/api/dashboard/?period=this_week", "/api/reports/funnel/"):
            self.warm(self.headers, path)
            for moment, asked in ((midnight - 1, False), (midnight, True)):
                with mock.patch.object(recall, "time", time=lambda m=moment: m):
                    self.assertEqual(self.get(self.headers, path)[1], asked)
            before = self.planned(path).content
            self.edit(Lead(), last_name="Lead", owner=self.dora)
            answer = self.planned(path)
            self.assertNotEqual(answer.content, before)
            self.assertEqual(told(answer), told(self.whole(path)))

    def test_a_report_knows_who_has_come_and_what_they_are_called_now(self):
        path = "/api/reports/activity/"
        note = {"kind": "note", "subject": "Tea", "contact": self.contact}
        self.edit(Activity(), owner=self.dora, **note)
        self.warm(self.headers, path)
        self.edit(self.dora, first_name="Dora", last_name="Marsden")
        other = make_user(self.cast.organization, "Ada", self.role)
        self.edit(Activity(), owner=other, **note)
        people = self.get(self.headers, path)[0].json()["people"]
        names = {one["person"]["name"]: one["activities"] for one in people}
        self.assertEqual(names, {"Dora Marsden": 1, str(other): 1})

    def test_a_report_follows_the_process_of_leads(self):
        path = "/api/reports/untouched/"
        for days in (5, 6):
            process = LeadProcess.of(self.cast.organization)
            self.edit(process, untouched_after_days=days)
            answer = self.get(self.headers, path)[0].json()
            self.assertEqual(answer["days"], days)
            self.warm(self.headers, path)

    def test_each_has_their_own_report_of_what_is_theirs(self):
        path = "/api/reports/funnel/?owner=me"
        self.edit(Lead(), last_name="Lead", owner=self.dora)
        other = make_user(
            self.cast.organization, uuid4().hex, self.role, password=PASSWORD
        )
        for user, leads in ((self.dora, 1), (other, 0)):
            headers = self.sign_in(user)
            for _ in range(3):
                answer, _ = self.get(headers, path)
                self.assertEqual(answer.json()["leads"], leads)

    def test_ranges_of_custom_fields_are_what_is_asked_for(self):
        definition = {"applies_to": "contact", "key": "size", "label": "Size"}
        self.edit(CustomField(), kind="number", **definition)
        self.edit(self.contact, custom_fields={"size": 7})
        for size, count in ((6, 1), (7, 1), (8, 0), (6, 1)):
            path = f"{PATH}?custom_fields.size__gte={size}"
            for _ in range(3):
                answer, _ = self.get(self.headers, path)
                self.assertEqual(answer.json()["count"], count)

    def test_what_a_plan_cannot_answer_the_view_refuses(self):
        detail, ranged = f"{PATH}{self.contact.pk}/", f"{PATH}?created_at__lt="
        search = "/api/search/?q=King"
        for path in (detail, ranged + at(), f"{PATH}?page=2&page_size=3", search):
            self.warm(self.headers, path)
        for contact in self.contacts[1:]:
            with system_changes(self.cast.organization) as changes:
                changes.delete(contact)
        for path, status, code in (
            (f"{PATH}{uuid4()}/", 404, "not_found"),
            (f"{PATH}{self.contacts[1].pk}/", 404, "not_found"),
            (f"{ranged}yesterday", 400, "invalid"),
            (ranged, 400, "invalid"),
            (f"{ranged}{at()}&created_at__lt={at()}", 400, "invalid"),
            ("/api/search/?q=", 400, "invalid"),
            (f"{PATH}?page=2&page_size=3", 404, "page_not_found"),
        ):
            with self.subTest(path):
                answer, asked = self.get(self.headers, path)
                self.assertTrue(asked)
                self.assertEqual(
                    (answer.status_code, answer.json()["code"]), (status, code)
                )

    def test_a_database_that_fails_is_told_by_the_view(self):
        detail = f"{PATH}{self.contact.pk}/"
        self.warm(self.headers, detail)
        with mock.patch.object(Statement, "rows", side_effect=OperationalError):
            answer, asked = self.get(self.headers, f"{PATH}{self.contacts[1].pk}/")
        self.assertTrue(asked)
        self.assertEqual(answer.status_code, 503)

    def test_a_plan_is_for_whoever_asked(self):
        """Own records, once all were seen by another."""
        detail = f"{PATH}{self.contacts[1].pk}/"
        self.warm(self.headers, detail)
        _, other = self.cast, self.dora
        self.edit(User.objects.get(pk=other.pk), role=self.cast.alice.role)
        answer, _ = self.get(self.headers, detail)
        self.assertEqual(answer.status_code, 404)

    def test_it_is_shared_by_those_who_see_the_same_and_by_no_others(self):
        people = [
            make_user(self.cast.organization, uuid4().hex, some.role, password=PASSWORD)
            for some in (self.dora, self.cast.alice)
        ]
        asked = f"{PATH}?expand=owner&created_at__lt="
        self.warm(self.headers, asked + at(days=2))
        self.warm(self.headers, f"{PATH}{self.contact.pk}/")
        for user, is_alike in zip(people, (True, False), strict=True):
            headers = self.sign_in(user)
            for _ in range(2):
                self.get(headers, "/api/tags/")
            for path in (asked + at(days=1), f"{PATH}{self.contacts[2].pk}/"):
                with (
                    self.subTest(path, is_alike=is_alike),
                    mock.patch.object(Statement, "__init__", side_effect=Written),
                    nullcontext() if is_alike else self.assertRaises(Written),
                ):
                    self.assertEqual(self.get(headers, path)[0].status_code, 200)

    def test_a_record_costs_one_query(self):
        self.warm(self.headers, f"{PATH}{self.contact.pk}/")
        with CaptureQueriesContext(connection) as queries:
            self.planned(f"{PATH}{self.contacts[1].pk}/")
        self.assertEqual(len(queries), 1)


class StatementTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        cls.contacts = [Contact(created_at=NOON + timedelta(hours=n)) for n in range(3)]
        with system_changes(cls.cast.organization) as changes:
            for contact in cls.contacts:
                changes.save(contact, last_name="K")
            cls.deal = Deal()
            changes.save(cls.deal, name="Big", amount=Decimal("10.50"), currency="CHF")

    def test_it_runs_again_with_other_values(self):
        column = Contact._meta.get_field("created_at")
        rows = Contact.objects.filter(created_at__gt=Bound("after", column))
        statement = Statement(rows.order_by("pk").values_list("pk", "created_at"))
        for hours in (-1, 0, 1, 2):
            moment = NOON + timedelta(hours=hours)
            wanted = [(c.pk, c.created_at) for c in self.contacts[hours + 1 :]]
            found = statement.rows({"after": moment})
            self.assertEqual([tuple(row) for row in found], wanted)
            self.assertEqual(statement.count({"after": moment}), len(wanted))

    def test_amounts_compare_as_numbers(self):
        column = Deal._meta.get_field("amount")
        rows = Deal.objects.filter(amount__lt=Bound("limit", column))
        statement = Statement(rows.values_list("pk"))
        for limit, count in (("9", 0), ("10.50", 0), ("10.51", 1), ("100", 1)):
            self.assertEqual(len(statement.rows({"limit": Decimal(limit)})), count)

    def test_what_finds_nothing_asks_nobody(self):
        statement = Statement(Contact.objects.filter(pk__in=[]).values_list("pk"))
        with self.assertNumQueries(0):
            self.assertEqual(statement.rows(), [])
            self.assertEqual(statement.count(), 0)

    def test_it_counts_what_a_page_is_cut_from(self):
        rows = Contact.objects.order_by()[:2].values_list(Columns((Contact._meta.pk,)))
        self.assertEqual(Statement(rows).count(), 2)

    def test_which_columns_decide_what_there_is(self):
        rows = Contact.objects.all()
        teams = Team.objects.filter(name="A").values("pk")
        for queryset, names in (
            (rows, set()),
            (rows.filter(city="Bern", email__icontains="a"), {"city", "email"}),
            (rows.exclude(Q(city="Bern") | Q(state="BE")), {"city", "state"}),
            (rows.filter(owner__team__in=[uuid4()]), {"team"}),
            (rows.filter(tags__has=["vip"]), {"tags"}),
            (rows.filter(first_name=F("last_name")), {"first_name", "last_name"}),
            (rows.filter(owner__team__in=teams), {"id", "name", "team"}),
            (rows.filter(owner__team__in=Team.objects.values("pk")), {"id", "team"}),
            (rows.filter(owner__team__in=teams[:1]), None),
            (rows.filter(owner__team__in=teams.union(teams)), None),
            (rows.filter(Exists(teams)), None),
            (rows.annotate(n=Subquery(teams)).filter(n=uuid4()), None),
        ):
            asked = columns_asked(queryset)
            with self.subTest(str(queryset.query.where)):
                found = None if asked is None else {field.name for field in asked}
                self.assertEqual(found, names)

    def test_which_of_their_values_matter(self):
        rows, pk = Contact.objects.all(), uuid4()
        for queryset, values in (
            (rows.filter(city="Bern"), {"Bern"}),
            (rows.filter(city__in=["Bern", "Genf"]), {"Bern", "Genf"}),
            (rows.filter(city="Bern").exclude(city="Genf"), {"Bern", "Genf"}),
            (rows.filter(tags__has="vip"), {"vip"}),
            (rows.filter(company=pk), {str(pk)}),
            (rows.filter(company__in=[pk]), {str(pk)}),
            (rows.filter(city="Bern", city__icontains="e"), None),
            (rows.filter(Q(city__gt="A") | Q(city="Bern")), None),
            (rows.filter(city=F("state")), None),
            (rows.filter(company=None), None),
            (rows.filter(created_at=NOON), None),
            (rows.filter(other_emails__has="a@example.com"), None),
            (rows.filter(tags=["vip"]), None),
            (rows.annotate(n=Upper("city")).filter(n="BERN"), None),
        ):
            with self.subTest(str(queryset.query.where)):
                asked = columns_asked(queryset)
                self.assertEqual([*asked.values()][:1], [values])

    def test_summaries_of_any_number_of_rows(self):
        summaries = summaries_for(Contact, self.cast.manager)
        ids = [contact.pk for contact in self.contacts]
        texts = [str(pk) for pk in ids]
        for asked in (ids, texts):
            for number in (0, 1, 2, 3):
                with self.assertNumQueries(min(number, 1)):
                    found = summaries.of(asked[:number])
                self.assertEqual(set(found), set(texts[:number]))
            with mock.patch("core.representation.MANY", 2):
                self.assertEqual(set(summaries.of(asked)), set(texts))
        self.assertEqual(summaries_for(Contact, self.cast.carol).of(ids), {})


@skipUnless(connection.vendor == "postgresql", "plans of PostgreSQL")
class PlannedOnceTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        cls.contacts = [Contact() for _ in range(3)]
        with system_changes(cls.cast.organization) as changes:
            for place, contact in enumerate(cls.contacts):
                changes.save(contact, last_name=f"100 % {place}")

    def setUp(self):
        with connection.cursor() as cursor:
            cursor.execute("DEALLOCATE ALL")
        statements._names.pop(connection.connection, None)
        column = Contact._meta.get_field("last_name")
        rows = Contact.objects.filter(last_name__contains=Bound("part", column))
        rows = rows.exclude(city="%").order_by("last_name").values_list("last_name")
        self.statement = Statement(rows, planned_once=True)

    def planned(self) -> list[tuple[int, int]]:
        """Of each statement that is planned, how often its plan has run, and how often
        one for its values alone."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT generic_plans, custom_plans FROM pg_prepared_statements"
            )
            return cursor.fetchall()

    def found(self, part: str) -> list[str]:
        return [name for (name,) in self.statement.rows({"part": part})]

    def test_one_plan_is_made_for_all_values(self):
        self.assertEqual(self.found("% 1"), ["100 % 1"])
        self.assertEqual(self.found("0 %"), ["100 % 0", "100 % 1", "100 % 2"])
        self.assertEqual(self.found("%s"), [])
        self.assertEqual(self.planned(), [(3, 0)])

    def test_equal_statements_share_it(self):
        for organization in (self.cast.organization, make_organization("Other")):
            rows = Contact.objects.filter(organization=organization).values_list("pk")
            Statement(rows, planned_once=True).rows()
        self.assertEqual(self.planned(), [(2, 0)])

    def test_of_many_the_last_used_stay(self):
        sizes = [*range(1, statements.PLANNED + 2)]
        for size in [*sizes, 2, 3]:
            rows = Contact.objects.order_by("pk")[:size].values_list("pk")
            found = Statement(rows, planned_once=True).rows()
            self.assertEqual(len(found), min(size, len(self.contacts)))
        runs = [(1, 0)] * (statements.PLANNED - 2) + [(2, 0)] * 2
        self.assertEqual(sorted(self.planned()), runs)

    def test_each_connection_has_its_own(self):
        self.found("1")

        def elsewhere():
            try:
                return self.found("1"), self.planned()
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as pool:
            self.assertEqual(pool.submit(elsewhere).result(), ([], [(1, 0)]))
        self.assertEqual(self.planned(), [(1, 0)])

    def test_it_outlives_a_transaction_that_is_taken_back(self):
        with transaction.atomic():
            self.found("1")
            transaction.set_rollback(True)
        self.assertEqual(self.found("% 1"), ["100 % 1"])
        self.assertEqual(self.planned(), [(2, 0)])

    def test_a_pool_of_connections_plans_each_time(self):
        pooled = {"DISABLE_SERVER_SIDE_CURSORS": True}
        with mock.patch.dict(connection.settings_dict, pooled):
            self.assertEqual(self.found("% 1"), ["100 % 1"])
        self.assertEqual(self.planned(), [])
