"""What the tests over all apps share: more people, and every record type's endpoints.

Beside the cast of `core.testing`: teams above and below that of alice and bob, the
administrators of both organizations, one who left, and one who has yet to set up 2FA.
"""

import pkgutil
import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from functools import cache
from importlib import import_module
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.urls import get_resolver
from django.urls.resolvers import URLPattern
from django.utils import timezone
from rest_framework.test import APIClient

from core.exporting.wish import Wish
from core.models import CustomField, Job, Notification
from core.testing import (
    ALL,
    Cast,
    RecordContract,
    make_role,
    make_team,
    make_user,
    system_changes,
)
from core.views import RecordViewSet
from lead_management.models import AssignmentDecision, AssignmentRule, Availability
from user_management.models import ApiKey
from user_management.roles import BUILT_IN
from user_management.services import make_api_key

PARAMETER = re.compile(r"<[^>]+>|\{[^}]+\}")


# Of a lead's score.
OVERRIDE = {
    "score": 90,
    "reason": "They called us",
    "until": (timezone.now() + timedelta(days=1)).isoformat(),
}


class People(Cast):
    """The principals of the permission table, by name."""

    def __init__(self):
        super().__init__()
        here = self.organization
        head, field = make_team(here, "Head office"), make_team(here, "Field")
        with system_changes(here) as changes:
            changes.save(self.team, parent=head)
            changes.save(field, parent=self.team)
        self.above = make_user(here, "above", self.bob.role, head)
        self.below = make_user(here, "below", self.bob.role, field)
        role = make_role(here, "administrator", ALL, **BUILT_IN["administrator"])
        self.administrator = make_user(here, "administrator", role)
        self.departed = make_user(here, "departed", role)
        with system_changes(here) as changes:
            changes.save(self.departed, is_active=False)
        self.guest = make_user(
            here, "guest", self.bob.role, is_active=False, is_invited=True
        )
        strict = make_role(here, "strict", ALL, **BUILT_IN["administrator"])
        with system_changes(here) as changes:
            changes.save(strict, requires_two_factor=True)
        self.unsecured = make_user(here, "unsecured", strict)
        there = self.other_organization
        role = make_role(there, "administrator", ALL, **BUILT_IN["administrator"])
        self.foreigner = make_user(there, "foreigner", role)

    def outside(self, name: str) -> APIClient:
        """Comes by a cookie, if at all, and meets all that guards the API."""
        client = APIClient()
        if name != "anonymous":
            client.force_login(getattr(self, name))
        return client

    def program(self, *scopes: str) -> APIClient:
        """A program with an API key of the administrator."""
        key = ApiKey(owner=self.administrator)
        with system_changes(self.organization) as changes:
            text = make_api_key(changes, key, name="Website", scopes=list(scopes))
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
        return client


def make_import(owner) -> Job:
    """An import of tags that waits for its worker."""
    outcomes = ("created", "updated", "skipped", "failed")
    return Job.objects.create(
        organization=owner.organization,
        owner=owner,
        kind="import",
        params={
            "file_name": "tags.csv",
            "record_type": "tag",
            "mode": "create",
            "dry_run": False,
            "columns": {"columns": ["name"], "targets": ["name"]},
        },
        counts=dict.fromkeys(outcomes, 0),
    )


def make_export(owner) -> Job:
    """An export of tags that waits for its worker."""
    return Job.objects.create(
        organization=owner.organization,
        owner=owner,
        kind="export",
        params=asdict(Wish("tag", "csv", {})),
        counts={"exported": 0},
    )


def make_notification(user, record_id) -> Notification:
    """A notification that a lead's follow-up is due."""
    return Notification.objects.create(
        organization=user.organization,
        user=user,
        event=Notification.Event.REMINDER,
        code="follow_up_due",
        subject_type="lead",
        subject_id=record_id,
        at=timezone.now(),
    )


def make_custom_field(organization) -> CustomField:
    """A custom field of contacts, that none of them has."""
    field = CustomField()
    with system_changes(organization) as changes:
        changes.save(field, applies_to="contact", key="size", label="Size", kind="text")
    return field


def make_assignment(people, lead_id) -> dict:
    """A rule, switched off, its decision on a lead, and hours of alice; their ids."""
    rule, availability = AssignmentRule(), Availability()
    with system_changes(people.organization) as changes:
        values = {"method": "user", "user": people.bob, "is_active": False}
        changes.save(rule, name="Rule", **values)
        changes.save(availability, user=people.alice)
    decision = AssignmentDecision.objects.create(
        organization=people.organization,
        lead_id=lead_id,
        rule=rule,
        outcome="queued",
        change_set=changes.change_set.pk,
    )
    return {"rule": rule.pk, "decision": decision.pk, "hours": availability.pk}


def our_apps() -> list:
    return [
        app
        for app in apps.get_app_configs()
        if Path(app.path).parent == settings.BACKEND_DIR
    ]


def our_models() -> list:
    return [model for app in our_apps() for model in app.get_models()]


@cache
def contracts() -> dict[str, type[RecordContract]]:
    """The contract of each record type, which knows how one is made, by its path."""
    for app in our_apps():
        folder = import_module(f"{app.name}.tests").__path__
        for module in pkgutil.iter_modules(folder, f"{app.name}.tests."):
            import_module(module.name)
    found, waiting = {}, [RecordContract]
    while waiting:
        contract = waiting.pop()
        waiting += contract.__subclasses__()
        if getattr(contract, "path", None):
            found[contract.path.removeprefix("/api/").rstrip("/")] = contract
    return found


def contract_for(path: str, people: Cast) -> RecordContract:
    """A contract outside of its own test, to make records of its type with."""
    contract = contracts()[path]()
    contract.cast = people
    contract.setUp()
    return contract


def endpoints() -> dict[str, object]:
    """Every address under /api/ with its view; `{}` stands for what it varies by."""

    def walk(resolver, path="") -> Iterator:
        for pattern in resolver.url_patterns:
            address = f"{path}{pattern.pattern}"
            if isinstance(pattern, URLPattern):
                yield address, pattern.callback
            else:
                yield from walk(pattern, address)

    return {
        general(address.removeprefix("api/")): callback
        for address, callback in walk(get_resolver())
        if address.startswith("api/")
    }


def general(address: str) -> str:
    return PARAMETER.sub("{}", address)


@cache
def record_views() -> dict[str, type[RecordViewSet]]:
    """The view of each record type that is a declaration, by its path."""
    return {
        address.rstrip("/"): callback.cls
        for address, callback in endpoints().items()
        if issubclass(getattr(callback, "cls", object), RecordViewSet)
        and address.count("/") == 1
    }


def database() -> dict:
    """Every row of ours, but for what a refusal itself leaves behind.

    A key notes its use once a minute, whatever it is used for.
    """
    left_out = ("securityevent", "attempts", "idempotencykey", "heartbeat")
    return {
        model._meta.label: list(
            model._base_manager.order_by("pk").values_list(
                *(
                    f.attname
                    for f in model._meta.concrete_fields
                    if f.name != "last_used_at"
                )
            )
        )
        for model in our_models()
        if model._meta.model_name not in left_out
    }
