from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.test import SimpleTestCase, TestCase

from contact_management.models import Contact, Tag
from core import access
from core.access import Scope, Verb
from core.testing import (
    PASSWORD,
    client_of,
    make_organization,
    make_role,
    make_team,
    make_user,
    system_changes,
)
from user_management.models import Role
from user_management.roles import BUILT_IN
from user_management.services import create_organization, create_user

User = get_user_model()

# Whose contacts each role may view, create, edit, delete, export, import and assign.
OF_CONTACTS = {
    "administrator": "all all all all all all all",
    "manager": "all all all all all all all",
    "sales_rep": "team own own own own own team",
    "marketing": "all own own own all own own",
    "customer_support": "all own all none none none own",
    "read_only": "all none none none none none none",
}
OF_PEOPLE = {
    "administrator": {
        "user": "all all all none none none none",
        "role": "all all all none none none none",
        "team": "all all all none none none none",
        "organization": "all none all none none none none",
        "changeset": "all none none none none none none",
        "job": "all none all none none none none",
    },
    "manager": {
        "user": "all none own none none none none",
        "role": "all none none none none none none",
        "team": "all none none none none none none",
        "organization": "none none none none none none none",
        "changeset": "all none none none none none none",
        "job": "own none own none none none none",
    },
}
for role in ("sales_rep", "marketing", "customer_support", "read_only"):
    OF_PEOPLE[role] = {
        **OF_PEOPLE["manager"],
        "changeset": "own none none none none none none",
    }


class BuiltInRoleTests(SimpleTestCase):
    def scopes(self, name, record_type) -> str:
        role = Role(name=name, rights=BUILT_IN[name])
        return " ".join(role.scope(record_type, verb) for verb in Verb)

    def test_the_table_names_every_role(self):
        self.assertEqual(set(BUILT_IN), set(OF_CONTACTS))

    def test_what_each_may_do_with_records(self):
        for name, scopes in OF_CONTACTS.items():
            for record_type in ("contact", "tag"):
                with self.subTest(f"{name}: {record_type}"):
                    self.assertEqual(self.scopes(name, record_type), scopes)

    def test_what_each_may_do_with_people_and_the_journal(self):
        for name, table in OF_PEOPLE.items():
            for record_type, scopes in table.items():
                with self.subTest(f"{name}: {record_type}"):
                    self.assertEqual(self.scopes(name, record_type), scopes)

    def test_the_wildcard_covers_record_types_and_nothing_else(self):
        everything = Role(rights={"*": dict.fromkeys(Verb.values, "all")})
        for record_type, scope in (
            ("contact", "all"),
            ("tag", "all"),
            ("user", "none"),
            ("role", "none"),
            ("team", "none"),
            ("organization", "none"),
            ("changeset", "none"),
            ("job", "none"),
            ("session", "none"),
            ("emailaddress", "none"),
            ("*", "all"),
            ("", "none"),
            ("Contact", "none"),
        ):
            for verb in Verb:
                with self.subTest(f"{record_type}: {verb}"):
                    self.assertEqual(everything.scope(record_type, verb), scope)

    def test_a_record_type_that_is_named_is_not_covered_by_the_wildcard(self):
        role = Role(
            rights={"*": dict.fromkeys(Verb.values, "all"), "tag": {"view": "own"}}
        )
        self.assertEqual(role.scope("tag", "view"), "own")
        self.assertEqual(role.scope("tag", "edit"), "none")
        self.assertEqual(role.scope("contact", "edit"), "all")

    def test_no_rights_are_no_rights(self):
        for rights in ({}, {"contact": {}}, {"*": {}}):
            with self.subTest(rights):
                self.assertEqual(Role(rights=rights).scope("contact", "view"), "none")


class RoleRuleTests(TestCase):
    def test_rights_that_mean_nothing_are_refused(self):
        organization = make_organization()
        for rights in (
            [],
            "all",
            7,
            {"contact": "all"},
            {"contact": ["view"]},
            {"contact": {"view": "everybody"}},
            {"contact": {"view": None}},
            {"contact": {"view": ["all"]}},
            {"contact": {"view": {}}},
            {"contact": {"look": "all"}},
            {"contcat": {"view": "all"}},
        ):
            with (
                self.subTest(rights),
                self.assertRaises(ValidationError),
                system_changes(organization) as changes,
            ):
                changes.save(Role(), name="odd", rights=rights)
        self.assertFalse(Role.objects.exists())

    def test_an_organization_starts_with_the_built_in_roles(self):
        user = create_organization("Royal Society", "sir@example.com", PASSWORD)
        roles = Role.objects.filter(organization=user.organization)
        self.assertEqual(
            {r.name: (r.rights, r.built_in) for r in roles},
            {name: (rights, True) for name, rights in BUILT_IN.items()},
        )
        self.assertEqual(user.role.name, "administrator")

    def test_two_roles_of_a_name_are_refused_in_one_organization_only(self):
        first = create_organization("One", "one@example.com", PASSWORD)
        second = create_organization("Two", "two@example.com", PASSWORD)
        self.assertNotEqual(first.role, second.role)
        self.assertEqual(Role.objects.filter(name="administrator").count(), 2)

    def test_an_e_mail_is_of_one_user_everywhere(self):
        first = create_organization("One", "one@example.com", PASSWORD)
        second = create_organization("Two", "two@example.com", PASSWORD)
        for email in ("one@example.com", "ONE@example.com"):
            with self.subTest(email), self.assertRaises(ValidationError) as caught:
                create_user(second.organization, email, PASSWORD, role=second.role)
            self.assertEqual(set(caught.exception.error_dict), {"email"})
        self.assertEqual(User.objects.count(), 2)
        self.assertNotEqual(first.organization, second.organization)

    def test_a_user_gets_no_role_and_no_team_of_another_organization(self):
        here, there = make_organization(), make_organization("There")
        role, foreign = make_role(here, "x", {}), make_role(there, "x", {})
        team = make_team(there)
        for fields in ({"role": foreign}, {"role": role, "team": team}):
            with self.subTest(fields), self.assertRaises(ValidationError) as caught:
                make_user(here, "dora", **{"team": None, **fields})
            self.assertEqual(len(caught.exception.error_dict), 1)
        self.assertFalse(User.objects.exists())


class ScopeTests(TestCase):
    """Whose records each scope reaches: alice and bob are a team, eve is on another."""

    @classmethod
    def setUpTestData(cls):
        here = cls.organization = make_organization()
        cls.roles = {
            scope: make_role(here, scope, dict.fromkeys(Verb.values, scope))
            for scope in Scope
        }
        team, other = make_team(here, "Sales"), make_team(here, "Support")
        cls.people = {
            name: make_user(here, name, cls.roles[Scope.OWN], group)
            for name, group in (
                ("alice", team),
                ("bob", team),
                ("eve", other),
                ("solo", None),
                ("single", None),
            )
        }
        there = make_organization("There")
        role = make_role(there, "all", dict.fromkeys(Verb.values, Scope.ALL))
        cls.people["carol"] = make_user(there, "carol", role)
        cls.contacts = {"nobody": cls.contact(here, None)}
        for name, user in cls.people.items():
            cls.contacts[name] = cls.contact(user.organization, user)

    @staticmethod
    def contact(organization, owner) -> Contact:
        contact = Contact()
        with system_changes(organization) as changes:
            changes.save(contact, last_name="King", owner=owner)
        return contact

    def with_scope(self, name, scope) -> User:
        user = User.objects.get(pk=self.people[name].pk)
        with system_changes(self.organization) as changes:
            changes.save(user, role=self.roles[scope])
        return user

    def test_each_scope_reaches_whom_it_names(self):
        ours = {"alice", "bob", "eve", "solo", "single", "nobody"}
        for name, scope, reached in (
            ("alice", Scope.NONE, set()),
            ("alice", Scope.OWN, {"alice"}),
            ("alice", Scope.TEAM, {"alice", "bob"}),
            ("alice", Scope.ALL, ours),
            # Without a team one is alone, not on the team of all who have none.
            ("solo", Scope.TEAM, {"solo"}),
            ("solo", Scope.OWN, {"solo"}),
            ("solo", Scope.NONE, set()),
            ("solo", Scope.ALL, ours),
        ):
            user = self.with_scope(name, scope)
            with self.subTest(f"{name}: {scope}"):
                for queryset in (
                    Contact.objects.visible_to(user),
                    Contact.objects.editable_by(user),
                    Contact.objects.within(user, Verb.DELETE),
                ):
                    seen = set(queryset.values_list("pk", flat=True))
                    self.assertEqual(
                        {n for n, c in self.contacts.items() if c.pk in seen}, reached
                    )
                for verb in Verb:
                    found = {
                        n
                        for n, c in self.contacts.items()
                        if n != "carol" and access.reaches(user, c, verb)
                    }
                    self.assertEqual(found, reached)
                shown = client_of(user).get("/api/contacts/").json()
                self.assertEqual(shown["count"], len(reached))

    def test_each_verb_has_its_own_scope(self):
        role = make_role(
            self.organization, "mixed", {Verb.VIEW: Scope.ALL, Verb.EDIT: Scope.OWN}
        )
        dora = make_user(self.organization, "dora", role)
        self.assertEqual(Contact.objects.visible_to(dora).count(), 6)
        self.assertEqual(Contact.objects.editable_by(dora).count(), 0)
        self.assertEqual(Contact.objects.within(dora, Verb.DELETE).count(), 0)

    def test_a_deleted_record_is_neither_visible_nor_editable(self):
        user = self.with_scope("alice", Scope.ALL)
        with system_changes(self.organization) as changes:
            changes.delete(self.contacts["alice"])
        self.assertEqual(Contact.objects.visible_to(user).count(), 5)
        self.assertEqual(Contact.objects.editable_by(user).count(), 5)
        self.assertEqual(Contact.objects.within(user, Verb.VIEW).count(), 6)

    def test_anonymous_and_inactive_people_reach_nothing(self):
        user = self.with_scope("alice", Scope.ALL)
        user.is_active = False
        for somebody in (AnonymousUser(), user):
            with self.subTest(somebody):
                self.assertEqual(Contact.objects.visible_to(somebody).count(), 0)
                self.assertEqual(
                    access.scope_of(somebody, "contact", Verb.VIEW), Scope.NONE
                )
                self.assertFalse(
                    access.reaches(somebody, self.contacts["alice"], Verb.VIEW)
                )

    def test_colleagues_teams_and_roles_are_seen_by_all_and_by_nobody_else(self):
        alice, carol = self.people["alice"], self.people["carol"]
        self.assertEqual(User.objects.visible_to(alice).count(), 5)
        self.assertEqual(set(User.objects.visible_to(carol)), {carol})
        self.assertEqual(Role.objects.visible_to(carol).count(), 1)
        self.assertEqual(User.objects.visible_to(AnonymousUser()).count(), 0)

    def test_readers_of_the_same_share_a_key(self):
        keys = {
            name: access.visibility_key(user, "contact")
            for name, user in self.people.items()
        }
        self.assertEqual(len(set(keys.values())), len(keys))
        alice = self.with_scope("alice", Scope.TEAM)
        bob = self.with_scope("bob", Scope.TEAM)
        eve = self.with_scope("eve", Scope.TEAM)
        solo = self.with_scope("solo", Scope.TEAM)
        single = self.with_scope("single", Scope.TEAM)
        found = [
            access.visibility_key(user, "contact")
            for user in (alice, bob, eve, solo, single)
        ]
        self.assertEqual(found[0], found[1])
        self.assertEqual(len(set(found)), 4)

    def test_the_admin_asks_the_same_role(self):
        user = self.with_scope("alice", Scope.OWN)
        mine, theirs = self.contacts["alice"], self.contacts["bob"]
        for permission, obj, allowed in (
            ("contact_management.view_contact", None, True),
            ("contact_management.change_contact", mine, True),
            ("contact_management.change_contact", theirs, False),
            ("contact_management.delete_contact", theirs, False),
            ("contact_management.add_contact", None, True),
            ("user_management.add_user", None, False),
            ("user_management.change_role", None, False),
            ("core.view_organization", None, False),
            ("account.view_emailaddress", None, False),
            ("contact_management.publish_contact", None, False),
            ("", None, False),
            ("contact", None, False),
        ):
            with self.subTest(permission):
                self.assertIs(bool(user.has_perm(permission, obj)), allowed)
        self.assertTrue(user.has_module_perms("contact_management"))

    def test_tags_follow_the_same_rule(self):
        with system_changes(self.organization) as changes:
            changes.save(Tag(), name="vip", owner=self.people["bob"])
        self.assertEqual(
            Tag.objects.visible_to(self.with_scope("alice", Scope.OWN)).count(), 0
        )
        self.assertEqual(
            Tag.objects.visible_to(self.with_scope("alice", Scope.TEAM)).count(), 1
        )
