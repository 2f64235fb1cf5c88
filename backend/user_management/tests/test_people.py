import uuid
from unittest import skipUnless
from unittest.mock import patch

from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client, TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from contact_management.models import Contact, ContactGroup, GroupMembership, Tag
from core import jobs
from core.access import Scope, Verb
from core.models import Change, ChangeSet, Job, Notification
from core.testing import ALL, OWN, Cast, client_of, make_role, make_team, make_user
from core.testing import system_changes as system
from core.tests.test_races import second_writer
from user_management.models import Role, Team, User
from user_management.models.role import LastAdministrator

USERS = "/api/users/"
TEAMS = "/api/teams/"
ROLES = "/api/roles/"
MANAGES_PEOPLE = {
    name: {Verb.VIEW: Scope.ALL, Verb.CREATE: Scope.ALL, Verb.EDIT: Scope.ALL}
    for name in ("user", "role", "team")
}


class PeopleTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        here = cls.cast.organization
        cls.role = make_role(here, "administrator", ALL, **MANAGES_PEOPLE)
        cls.admin = make_user(here, "admin", cls.role)

    def setUp(self):
        self.client = client_of(self.admin)
        self.alice = client_of(self.cast.alice)

    def assertRefused(self, response, status, code):
        self.assertEqual(response.status_code, status, response.content)
        self.assertEqual(response.json()["code"], code)


class UserTests(PeopleTestCase):
    def address(self, user):
        return f"{USERS}{user.pk}/"

    def test_everybody_sees_their_colleagues_and_nobody_else(self):
        listed = self.alice.get(USERS, {"fields": "email"}).json()
        here = User.objects.filter(organization=self.cast.organization)
        self.assertEqual(
            [user["email"] for user in listed["results"]],
            sorted(here.values_list("email", flat=True)),
        )
        carol = self.alice.get(self.address(self.cast.carol))
        nobody = self.alice.get(f"{USERS}{uuid.uuid4()}/")
        self.assertEqual((carol.status_code, nobody.status_code), (404, 404))
        self.assertEqual(carol.content, nobody.content)

    def test_no_answer_holds_a_password(self):
        shown = self.client.get(self.address(self.cast.alice)).json()
        self.assertNotIn("password", shown)
        refused = self.client.patch(self.address(self.cast.alice), {"password": "x"})
        self.assertEqual(refused.json()["errors"][0]["code"], "unknown_field")

    def test_an_administrator_changes_role_team_and_state_in_the_journal(self):
        team = make_team(self.cast.organization, "Support")
        change = {"role": str(self.role.pk), "team": str(team.pk), "is_active": False}
        response = self.client.patch(self.address(self.cast.alice), change)
        self.assertEqual(response.status_code, 200, response.content)
        alice = User.objects.get(pk=self.cast.alice.pk)
        self.assertEqual(
            (alice.role, alice.team, alice.is_active), (self.role, team, False)
        )
        entry = Change.objects.filter(record_id=alice.pk).latest("id")
        self.assertEqual(entry.after, change)
        history = self.client.get(f"{self.address(alice)}history/").json()["results"]
        self.assertEqual(history[0]["change_set"]["actor"]["email"], self.admin.email)

    def test_nobody_else_changes_what_people_may_do_not_even_of_themselves(self):
        for user, change in (
            (self.cast.alice, {"role": str(self.role.pk)}),
            (self.cast.alice, {"team": None}),
            (self.cast.alice, {"is_staff": True}),
            (self.cast.alice, {"email": "other@example.com"}),
            (self.cast.bob, {"first_name": "Rob"}),
        ):
            with self.subTest(change):
                response = self.alice.patch(self.address(user), change)
                self.assertRefused(response, 403, "permission_denied")
                self.assertEqual(User.objects.get(pk=user.pk).version, 1)
        own = self.alice.patch(self.address(self.cast.alice), {"first_name": "Al"})
        self.assertEqual(own.json()["first_name"], "Al")

    def test_nobody_gives_a_role_that_may_do_more_than_their_own(self):
        rights = {**MANAGES_PEOPLE, "*": OWN}
        clerk_role = make_role(self.cast.organization, "clerk", OWN, **MANAGES_PEOPLE)
        clerk = client_of(make_user(self.cast.organization, "clerk", clerk_role))
        response = clerk.patch(
            self.address(self.cast.bob), {"role": str(self.cast.manager.role.pk)}
        )
        self.assertRefused(response, 403, "permission_denied")
        larger = clerk.post(ROLES, {"name": "larger", "rights": {"*": ALL}})
        self.assertRefused(larger, 403, "permission_denied")
        own = clerk.patch(f"{ROLES}{clerk_role.pk}/", {"rights": {"*": ALL}})
        self.assertRefused(own, 403, "permission_denied")
        smaller = clerk.post(ROLES, {"name": "smaller", "rights": {"*": rights["*"]}})
        self.assertEqual(smaller.status_code, 201, smaller.content)

    def test_undo_gives_nobody_more_than_an_edit_could(self):
        address = self.address(self.cast.bob)
        self.client.patch(address, {"role": str(self.role.pk), "is_staff": True})
        own = str(self.cast.bob.role.pk)
        back = self.client.patch(address, {"role": own, "is_staff": False})
        self.assertEqual(back.status_code, 200, back.content)
        role = make_role(
            self.cast.organization, "sees sets", OWN, changeset={"view": "all"}
        )
        with system(self.cast.organization) as changes:
            changes.save(User.objects.get(pk=self.cast.bob.pk), role=role)
        demotion = Change.objects.filter(record_id=self.cast.bob.pk, version=3).get()
        bob = User.objects.get(pk=self.cast.bob.pk)
        response = client_of(bob).post(
            f"/api/change-sets/{demotion.change_set_id}/undo/", {"partial": True}
        )
        self.assertEqual(response.json()["undone"], 0, response.content)
        codes = {c["code"] for c in response.json()["conflicts"]}
        self.assertEqual(codes, {"permission_denied", "edited_since"})
        self.assertFalse(User.objects.get(pk=bob.pk).is_staff)

    def test_nobody_gets_hold_of_an_account_that_may_do_more(self):
        """Whoever has its e-mail resets its password, and is in."""
        role = make_role(
            self.cast.organization, "people", OWN, user={"view": "all", "edit": "all"}
        )
        keeper = make_user(self.cast.organization, "keeper", role)
        response = client_of(keeper).patch(
            self.address(self.admin), {"email": keeper.email.replace("keeper", "mine")}
        )
        self.assertRefused(response, 403, "permission_denied")

    def test_a_role_stays_one_of_administrators_if_no_other_is(self):
        role = make_role(self.cast.organization, "boss", ALL, **self.admin.role.rights)
        with system(self.cast.organization) as changes:
            changes.save(User.objects.get(pk=self.admin.pk), role=role)
        boss = client_of(User.objects.get(pk=self.admin.pk))
        address = f"/api/roles/{role.pk}/"
        for rights in ({}, {**role.rights, "user": {"view": "all", "edit": "own"}}):
            with self.subTest(rights):
                response = boss.patch(address, {"rights": rights})
                self.assertEqual(response.status_code, 409, response.content)
                self.assertEqual(response.json()["code"], "last_administrator")
        self.assertEqual(Role.objects.get(pk=role.pk).version, 1)
        less = {**role.rights, "auditlog": {}}
        self.assertEqual(boss.patch(address, {"rights": less}).status_code, 200)
        other = make_role(
            self.cast.organization, "other boss", ALL, **self.admin.role.rights
        )
        make_user(self.cast.organization, "second", other)
        self.assertEqual(boss.patch(address, {"rights": {}}).status_code, 200)

    def test_the_last_administrator_stays_one(self):
        address = self.address(self.admin)
        for change in ({"is_active": False}, {"role": str(self.cast.alice.role.pk)}):
            with self.subTest(change):
                response = self.client.patch(address, change)
                self.assertRefused(response, 409, "last_administrator")
                self.assertEqual(User.objects.get(pk=self.admin.pk).version, 1)
        make_user(self.cast.organization, "second", self.role)
        self.assertEqual(
            self.client.patch(address, {"is_active": False}).status_code, 200
        )

    def test_an_e_mail_is_one_persons_everywhere(self):
        for taken in (self.cast.bob.email, self.cast.carol.email.upper()):
            with self.subTest(taken):
                response = self.client.patch(
                    self.address(self.cast.alice), {"email": taken}
                )
                self.assertRefused(response, 409, "unique")

    def test_people_are_never_deleted(self):
        for method in ("delete", "post"):
            response = getattr(self.client, method)(self.address(self.cast.alice))
            self.assertEqual(response.status_code, 405)

    def test_whoever_may_do_less_takes_no_larger_account_over_by_its_e_mail(self):
        role = make_role(self.cast.organization, "clerk", OWN, **MANAGES_PEOPLE)
        clerk = client_of(make_user(self.cast.organization, "clerk", role))
        refused = clerk.patch(
            self.address(self.cast.manager), {"email": "clerk@example.com"}
        )
        self.assertRefused(refused, 403, "permission_denied")
        self.assertEqual(User.objects.get(pk=self.cast.manager.pk).version, 1)

    def test_a_manager_is_set_found_and_expanded(self):
        manager = str(self.cast.manager.pk)
        for user in (self.cast.alice, self.cast.bob):
            answer = self.client.patch(self.address(user), {"manager": manager})
            self.assertEqual(answer.json()["manager"], manager)
        found = self.alice.get(
            USERS, {"manager": manager, "expand": "manager", "fields": "email,manager"}
        ).json()["results"]
        self.assertEqual(
            [(user["email"], user["manager"]["first_name"]) for user in found],
            [(u.email, "manager") for u in (self.cast.alice, self.cast.bob)],
        )
        mine = client_of(self.cast.manager).get(USERS, {"manager": "me"}).json()
        self.assertEqual(mine["count"], 2)

    def test_nobody_is_above_themselves_or_under_somebody_from_elsewhere(self):
        def refused(user, manager, code):
            answer = self.client.patch(self.address(user), {"manager": manager.pk})
            error = answer.json()["errors"][0]
            self.assertEqual(
                (answer.status_code, error["field"], error["code"]),
                (400, "manager", code),
            )

        alice, bob, stranger = self.cast.alice, self.cast.bob, self.cast.stranger
        refused(alice, alice, "circular")
        refused(alice, self.cast.carol, "does_not_exist")
        self.client.patch(self.address(alice), {"manager": bob.pk})
        self.client.patch(self.address(bob), {"manager": stranger.pk})
        refused(bob, alice, "circular")
        refused(stranger, alice, "circular")
        self.assertIsNone(User.objects.get(pk=stranger.pk).manager)

    def test_colleagues_are_listed_with_a_steady_number_of_queries(self):
        def queries():
            with CaptureQueriesContext(connection) as captured:
                self.alice.get(USERS, {"expand": "role,team,manager"})
            return len(captured)

        few = queries()
        for number in range(5):
            make_user(
                self.cast.organization, f"n{number}", self.role, manager=self.admin
            )
        # One more, for now somebody has a manager to show.
        self.assertLessEqual(queries(), few + 1)


class HandOverTests(PeopleTestCase):
    @classmethod
    def setUpTestData(cls):
        super().setUpTestData()
        with system(cls.cast.organization) as changes:
            for number in range(5):
                changes.save(Contact(), last_name=f"L{number}", owner=cls.cast.alice)
            changes.delete(Contact.objects.get(last_name="L4"))
            changes.save(Tag(), name="vip", owner=cls.cast.alice)
            changes.save(Contact(), last_name="Other", owner=cls.cast.bob)

    def hand_over(self, client=None, **body):
        return (client or self.client).post(
            f"{USERS}{self.cast.alice.pk}/hand-over/", body
        )

    def owned(self, user):
        return Contact.objects.filter(owner=user).count()

    def test_everything_goes_to_the_heir_and_comes_back_by_undo(self):
        with patch("user_management.services.CHUNK_RECORDS", 2):
            response = self.hand_over(to=self.cast.bob.pk, deactivate=True)
            self.assertEqual(response.status_code, 202, response.content)
            jobs.run(response.json()["id"])
        job = self.client.get(f"/api/jobs/{response.json()['id']}/").json()
        self.assertEqual((job["status"], job["done"], job["total"]), ("done", 6, 6))
        counts = {name: count for name, count in job["counts"].items() if count}
        self.assertEqual(counts, {"contact": 5, "tag": 1})
        self.assertEqual(
            (self.owned(self.cast.alice), self.owned(self.cast.bob)), (0, 6)
        )
        self.assertFalse(User.objects.get(pk=self.cast.alice.pk).is_active)

        undo = self.client.post(f"/api/change-sets/{job['change_set']}/undo/")
        self.assertEqual(undo.json()["undone"], 7, undo.content)
        self.assertEqual(
            (self.owned(self.cast.alice), self.owned(self.cast.bob)), (5, 1)
        )
        self.assertTrue(User.objects.get(pk=self.cast.alice.pk).is_active)

    def test_a_dry_run_hands_nothing_over(self):
        address = f"{USERS}{self.cast.alice.pk}/hand-over/?dry_run=true"
        response = self.client.post(address, {"to": self.cast.bob.pk})
        self.assertEqual(response.status_code, 202, response.content)
        self.assertEqual(response["Dry-Run"], "true")
        self.assertFalse(Job.objects.exists())
        self.assertEqual(self.owned(self.cast.alice), 5)

    def test_that_a_contact_is_in_a_group_is_no_news_to_the_heir(self):
        """They are told of the group; a membership is nothing that one would open."""
        with system(self.cast.organization) as changes:
            group = ContactGroup(name="vip", owner=self.cast.alice)
            changes.save(group)
            member = Contact.objects.get(last_name="L0")
            link = GroupMembership(group=group, contact=member, owner=self.cast.alice)
            changes.save(link)
        jobs.run(self.hand_over(to=self.cast.bob.pk).json()["id"])
        self.assertEqual(GroupMembership.objects.get().owner, self.cast.bob)
        told = Notification.objects.get(user=self.cast.bob)
        # Five contacts, the group and the tag.
        self.assertEqual((told.subject_type, told.count), ("changeset", 7))

    def test_the_admin_shows_news_of_what_has_no_page(self):
        """Those of hand-overs of before are still there."""
        with system(self.cast.organization) as changes:
            changes.save(User.objects.get(pk=self.cast.bob.pk), is_staff=True)
        Notification.objects.create(
            organization=self.cast.organization,
            user=self.cast.bob,
            event=Notification.Event.ASSIGNMENT,
            code="assigned",
            subject_type="groupmembership",
            subject_id=uuid.uuid4(),
            at=timezone.now(),
        )
        client = Client()
        client.force_login(User.objects.get(pk=self.cast.bob.pk))
        page = client.get("/admin/core/notification/")
        self.assertContains(page, "group membership")

    def test_five_hundred_contacts_move_in_one_call_and_come_back_in_one(self):
        with system(self.cast.organization) as changes:
            changes.bulk_create(
                Contact,
                [Contact(last_name=f"C{n}", owner=self.cast.alice) for n in range(495)],
            )
        job = self.hand_over(to=self.cast.bob.pk).json()["id"]
        jobs.run(job)
        self.assertEqual(self.owned(self.cast.alice), 0)
        self.assertEqual(self.owned(self.cast.bob), 501)
        job = Job.objects.get(pk=job)
        self.assertEqual((job.status, job.counts["contact"]), ("done", 500))
        self.assertEqual(job.change_set.actor, self.admin)

        undo = self.client.post(f"/api/change-sets/{job.change_set_id}/undo/")
        self.assertEqual(undo.status_code, 202, undo.content)
        jobs.run(undo.json()["id"])
        self.assertEqual(Job.objects.get(pk=undo.json()["id"]).status, "done")
        self.assertEqual(self.owned(self.cast.alice), 500)
        self.assertEqual(self.owned(self.cast.bob), 1)

    def test_it_needs_an_active_colleague(self):
        with system(self.cast.organization) as changes:
            changes.save(self.cast.stranger, is_active=False)
        for heir, code in (
            (self.cast.carol.pk, "does_not_exist"),
            (uuid.uuid4(), "does_not_exist"),
            (self.cast.alice.pk, "invalid"),
            (self.cast.stranger.pk, "invalid"),
        ):
            with self.subTest(heir):
                (error,) = self.hand_over(to=heir).json()["errors"]
                self.assertEqual((error["field"], error["code"]), ("to", code))
        self.assertFalse(Job.objects.exists())

    def test_it_needs_the_right_to_everybodys_records(self):
        for user in (self.cast.alice, self.cast.bob, self.cast.reader):
            response = self.hand_over(client_of(user), to=self.cast.bob.pk)
            self.assertRefused(response, 403, "permission_denied")
        # The manager may move records, but not send people away.
        manager = client_of(self.cast.manager)
        refused = self.hand_over(manager, to=self.cast.bob.pk, deactivate=True)
        self.assertRefused(refused, 403, "permission_denied")
        self.assertFalse(Job.objects.exists())
        self.assertEqual(self.hand_over(manager, to=self.cast.bob.pk).status_code, 202)

    def test_who_leaves_can_hand_over_themselves(self):
        """Their rights count for each part of the job, to the end."""
        make_user(self.cast.organization, "successor", self.role)
        with system(self.cast.organization) as changes:
            changes.save(Contact(), last_name="Mine", owner=self.admin)
            changes.save(Tag(), name="mine", owner=self.admin)
        body = {"to": self.cast.bob.pk, "deactivate": True}
        job = self.client.post(f"{USERS}{self.admin.pk}/hand-over/", body).json()["id"]
        jobs.run(job)
        self.assertEqual(Job.objects.get(pk=job).status, "done")
        self.assertEqual(self.owned(self.admin), 0)
        self.assertFalse(Tag.objects.filter(owner=self.admin).exists())
        self.assertFalse(User.objects.get(pk=self.admin.pk).is_active)

    def test_the_last_administrator_does_not_leave_by_it(self):
        body = {"to": self.cast.bob.pk, "deactivate": True}
        response = self.client.post(f"{USERS}{self.admin.pk}/hand-over/", body)
        self.assertRefused(response, 409, "last_administrator")
        self.assertFalse(Job.objects.exists())

    def test_who_became_the_last_administrator_meanwhile_stays(self):
        successor = make_user(self.cast.organization, "successor", self.role)
        with system(self.cast.organization) as changes:
            changes.save(Contact(), last_name="Mine", owner=self.admin)
        body = {"to": self.cast.bob.pk, "deactivate": True}
        job = self.client.post(f"{USERS}{self.admin.pk}/hand-over/", body).json()["id"]
        with system(self.cast.organization) as changes:
            changes.save(User.objects.get(pk=successor.pk), is_active=False)
        jobs.run(job)
        self.assertEqual(Job.objects.get(pk=job).error["code"], "last_administrator")
        self.assertEqual(self.owned(self.admin), 1)
        self.assertTrue(User.objects.get(pk=self.admin.pk).is_active)

    def test_rights_that_were_lost_meanwhile_count(self):
        job = self.hand_over(to=self.cast.bob.pk).json()["id"]
        with system(self.cast.organization) as changes:
            changes.save(User.objects.get(pk=self.admin.pk), is_active=False)
        jobs.run(job)
        self.assertEqual(Job.objects.get(pk=job).error["code"], "permission_denied")
        self.assertEqual(self.owned(self.cast.alice), 5)


class RoleTests(PeopleTestCase):
    def test_a_role_is_made_and_changed(self):
        made = self.client.post(ROLES, {"name": "intern", "rights": {}}).json()
        rights = {"contact": {"view": "own"}}
        changed = self.client.patch(f"{ROLES}{made['id']}/", {"rights": rights})
        self.assertEqual(changed.json()["rights"], rights)
        self.assertEqual(
            Role.objects.get(pk=made["id"]).scope("contact", "view"), "own"
        )

    def test_rights_that_mean_nothing_name_the_field(self):
        for rights in ([], {"contcat": {}}, {"contact": {"look": "own"}}):
            with self.subTest(rights):
                response = self.client.post(ROLES, {"name": "x", "rights": rights})
                errors = response.json()["errors"]
                self.assertEqual([e["field"] for e in errors], ["rights"])
        self.assertFalse(Role.objects.filter(name="x").exists())

    def test_built_in_roles_stay_as_they_are(self):
        role = Role(built_in=True)
        with system(self.cast.organization) as changes:
            changes.save(role, name="reader-built-in", rights={})
        response = self.client.patch(f"{ROLES}{role.pk}/", {"name": "mine"})
        self.assertRefused(response, 409, "built_in")
        self.assertEqual(Role.objects.get(pk=role.pk).name, "reader-built-in")

    def test_others_look_only(self):
        self.assertEqual(self.alice.get(ROLES).status_code, 200)
        refused = self.alice.post(ROLES, {"name": "x", "rights": {}})
        self.assertRefused(refused, 403, "permission_denied")
        self.assertFalse(Role.objects.filter(name="x").exists())


class TeamTests(PeopleTestCase):
    def test_the_scope_team_covers_the_teams_below(self):
        here = self.cast.organization
        head = make_team(here, "Europe")
        below = self.client.post(TEAMS, {"name": "Berlin", "parent": str(head.pk)})
        below = Team.objects.get(pk=below.json()["id"])
        reads_team = {**OWN, Verb.VIEW: Scope.TEAM}
        role = make_role(here, "team lead", reads_team)
        lead = make_user(here, "lead", role, head)
        member = make_user(here, "member", role, below)
        for owner in (lead, member):
            with system(here) as changes:
                changes.save(Contact(), last_name=owner.first_name, owner=owner)

        def seen(user):
            listed = client_of(user).get("/api/contacts/", {"ordering": "last_name"})
            return [contact["last_name"] for contact in listed.json()["results"]]

        self.assertEqual(seen(lead), ["lead", "member"])
        self.assertEqual(seen(member), ["member"])
        self.client.patch(f"{TEAMS}{below.pk}/", {"parent": None})
        self.assertEqual(seen(User.objects.get(pk=lead.pk)), ["lead"])

    def test_a_team_cannot_be_below_itself(self):
        head = make_team(self.cast.organization, "Europe")
        below = self.client.post(TEAMS, {"name": "Berlin", "parent": str(head.pk)})
        for parent in (str(head.pk), below.json()["id"]):
            with self.subTest(parent):
                response = self.client.patch(f"{TEAMS}{head.pk}/", {"parent": parent})
                error = response.json()["errors"][0]
                self.assertEqual(
                    (error["field"], error["code"]), ("parent", "circular")
                )
        self.assertEqual(Team.objects.get(pk=head.pk).parent, None)

    def test_a_team_of_another_organization_is_no_parent(self):
        foreign = make_team(self.cast.other_organization, "Elsewhere")
        response = self.client.post(TEAMS, {"name": "x", "parent": str(foreign.pk)})
        self.assertEqual(response.json()["errors"][0]["code"], "does_not_exist")
        self.assertFalse(Team.objects.filter(name="x").exists())


class AccessTests(PeopleTestCase):
    def setUp(self):
        super().setUp()
        with system(self.cast.organization) as changes:
            self.contact = Contact()
            changes.save(self.contact, last_name="King", owner=self.cast.alice)
        self.address = f"/api/contacts/{self.contact.pk}/access/"

    def allowed(self, client, **query):
        answer = client.get(self.address, query).json()
        return {verb for verb, one in answer["verbs"].items() if one["allowed"]}

    def test_it_says_per_verb_what_one_may_do_and_why(self):
        self.assertEqual(self.allowed(self.alice), set(Verb.values))
        bob = client_of(self.cast.bob)
        self.assertEqual(self.allowed(bob), {"view"})
        answer = bob.get(self.address).json()
        self.assertEqual(answer["user"], str(self.cast.bob.pk))
        self.assertEqual(
            answer["verbs"]["edit"],
            {
                "allowed": False,
                "scope": "own",
                "rule": "The role 'team' gives 'edit' on 'contact' the scope 'own'.",
            },
        )

    def test_it_can_be_asked_about_a_colleague(self):
        self.assertEqual(self.allowed(self.alice, user=self.cast.reader.pk), {"view"})
        self.assertEqual(self.allowed(self.alice, user=self.cast.stranger.pk), set())
        for user in (self.cast.carol.pk, uuid.uuid4(), "nonsense"):
            with self.subTest(user):
                response = self.alice.get(self.address, {"user": user})
                self.assertEqual(response.status_code, 400)
                self.assertEqual(response.json()["errors"][0]["field"], "user")

    def test_who_does_not_see_the_record_is_told_nothing(self):
        for user in (self.cast.stranger, self.cast.carol):
            response = client_of(user).get(self.address)
            self.assertRefused(response, 404, "not_found")


@skipUnless(connection.vendor == "postgresql", "needs connections that wait for locks")
class RaceTests(TransactionTestCase):
    def setUp(self):
        self.cast = Cast()

    def test_two_roles_do_not_stop_being_that_of_an_administrator_at_once(self):
        administrators = []
        for name in ("ada", "grace"):
            role = make_role(self.cast.organization, name, ALL, **MANAGES_PEOPLE)
            administrators.append(make_user(self.cast.organization, name, role))

        def give_up(user, changes):
            changes.save(Role.objects.get(pk=user.role.pk), rights={})

        def give_up_too():
            grace = administrators[1]
            with ChangeSet.open(actor=grace, source="api") as changes:
                give_up(grace, changes)

        with ChangeSet.open(actor=administrators[0], source="api") as changes:
            give_up(administrators[0], changes)
            second = second_writer(give_up_too)
        second.join()
        self.assertIsInstance(second.error, LastAdministrator)
        rights = [Role.objects.get(pk=user.role.pk).rights for user in administrators]
        self.assertEqual([bool(given) for given in rights], [False, True])

    def assertNoCircle(self, model, records, name):
        """Of a under b and c under a at once, where b is below c, the second is not."""
        a, b, c = records
        organization = self.cast.organization
        with system(organization) as changes:
            changes.save(b, **{name: c})
        # As they stand before any of it.
        last, first = model.objects.get(pk=c.pk), model.objects.get(pk=a.pk)

        def close():
            with system(organization) as changes:
                changes.save(last, **{name: first})

        with system(organization) as changes:
            changes.save(a, **{name: b})
            second = second_writer(close)
        second.join()
        self.assertIsInstance(second.error, ValidationError)
        self.assertEqual(second.error.error_dict[name][0].code, "circular")
        self.assertIsNone(getattr(model.objects.get(pk=c.pk), name))

    def test_two_at_once_close_no_circle_of_teams(self):
        teams = [make_team(self.cast.organization, name) for name in "abc"]
        self.assertNoCircle(Team, teams, "parent")

    def test_two_at_once_close_no_circle_of_managers(self):
        role = self.cast.alice.role
        users = [make_user(self.cast.organization, name, role) for name in "xyz"]
        self.assertNoCircle(User, users, "manager")
