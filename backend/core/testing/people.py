"""The cast: alice owns; bob is on her team; stranger is a colleague on no team; manager
may do everything; reader may only look; carol is in another organization.
"""

import time

from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

from core.access import Scope, Verb
from core.founding import found_organization
from core.models import ChangeSet, Organization

# A text that stands nowhere else.
MARKER = "marker-7f3e9a"
PASSWORD = "correct-horse-battery"

OWN = dict.fromkeys(Verb.values, Scope.OWN)
ALL = dict.fromkeys(Verb.values, Scope.ALL)


def make_organization(name: str = "Analytical Engines", **fields) -> Organization:
    organization = Organization()
    with system_changes(organization) as changes:
        found_organization(changes, organization, name=name, **fields)
    return organization


def make_role(organization, name: str, scopes: dict, /, field_rights=None, **more):
    """A role with these scopes for every record type, and `more` by record type."""
    role_model = get_user_model()._meta.get_field("role").related_model
    rights = {
        "*": scopes,
        "user": {Verb.VIEW: Scope.ALL, Verb.EDIT: Scope.OWN},
        "changeset": {Verb.VIEW: scopes.get(Verb.VIEW, Scope.NONE)},
        "job": {Verb.VIEW: Scope.OWN, Verb.EDIT: Scope.OWN},
        **more,
    }
    role = role_model()
    with system_changes(organization) as changes:
        changes.save(role, name=name, rights=rights, field_rights=field_rights or {})
    return role


def make_team(organization, name: str = "Sales"):
    team = get_user_model()._meta.get_field("team").related_model()
    with system_changes(organization) as changes:
        changes.save(team, name=name)
    return team


def make_user(organization, name: str, role, team=None, password=None, **fields):
    """A user; without a password they can only be signed in by `client_of`."""
    user = get_user_model()()
    if password:
        user.set_password(password)
    else:
        user.set_unusable_password()
    domain = organization.pk.hex[-6:]
    fields = {"email": f"{name}@{domain}.example.com", "first_name": name, **fields}
    with system_changes(organization) as changes:
        changes.save(user, role=role, team=team, **fields)
    return user


def system_changes(organization, **attributes):
    attributes = {"source": ChangeSet.Source.SYSTEM, **attributes}
    return ChangeSet.open(organization=organization, **attributes)


def client_of(user) -> APIClient:
    client = APIClient()
    if user:
        # Forced in, they have no session that could tell.
        user.signed_in_at = lambda request: time.time()
    client.force_authenticate(user)
    return client


class Cast:
    """The people of a test, for TestCase.setUpTestData to keep as `cls.cast`."""

    def __init__(self):
        here = self.organization = make_organization()
        there = self.other_organization = make_organization("Difference Engines")
        self.team = make_team(here)
        own = make_role(here, "own", OWN)
        team = make_role(here, "team", {**OWN, Verb.VIEW: Scope.TEAM})
        self.alice = make_user(here, "alice", own, self.team)
        self.bob = make_user(here, "bob", team, self.team)
        self.stranger = make_user(here, "stranger", own)
        self.manager = make_user(here, "manager", make_role(here, "manager", ALL))
        self.reader = make_user(
            here, "reader", make_role(here, "reader", {Verb.VIEW: Scope.ALL})
        )
        self.carol = make_user(there, "carol", make_role(there, "manager", ALL))
