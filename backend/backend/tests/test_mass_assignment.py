"""A field that a client may not set, wherever it is sent, sets nothing and is named.

Every field of every model, and some made up, is sent to every endpoint that takes a
body, by an administrator, for not even they set these.
"""

from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models
from django.test import TestCase, tag

from core.models import ChangeSet
from core.testing import client_of
from lead_management.models import Pipeline
from lead_management.tests.scoring import make_model
from user_management.models import User

from .people import (
    OVERRIDE,
    People,
    contract_for,
    contracts,
    database,
    endpoints,
    general,
    make_assignment,
    make_custom_field,
    make_export,
    make_import,
    our_models,
    record_views,
)

MADE_UP = {
    "pk": 1,
    "is_superuser": True,
    "is_admin": True,
    "permissions": ["*"],
    "groups": [1],
    "user_permissions": [1],
    "_state": {"adding": True},
    "__class__": "x",
    "__all__": "x",
    "non_field_errors": "x",
    "owner__role": "x",
    "owner.role": "x",
}
GIVING_RIGHTS = (
    *("is_superuser", "is_staff", "permissions", "groups", "password", "role_id"),
    *("organization", "organization_id", "__class__", "owner__role"),
)
# Which no error can name, for they are how errors are named.
NAMELESS = {"__all__", "non_field_errors"}
PERSON = {
    *("first_name", "last_name", "phone", "department", "job_title", "bio"),
    *("timezone", "language"),
}
CUSTOM_FIELD = {
    *("applies_to", "key", "label", "kind", "choices", "position"),
    *("is_required", "is_indexed", "is_archived"),
}
RULE = {
    *("name", "position", "is_active", "filter", "method", "user", "team"),
    *("fallback", "fallback_user", "fallback_team"),
}
SCORING_MODEL = {
    *("name", "description", "rules", "fit_cap", "engagement_cap"),
    *("half_life_days", "grades"),
}
GRANTED = {"email", "role", "team", "manager", "is_active", "is_staff"}

# What the endpoints beside the record types let an administrator set.
WRITABLE = {
    "api-keys": {"name", "scopes", "expiry"},
    "api-keys/{key}": {"name"},
    "api-keys/{key}/revoke": set(),
    "assignment-rules": RULE,
    "assignment-rules/{rule}": RULE,
    "assignment-rules/dry-run": {"lead", "leads", "auto_assign"},
    "availability": {"user", "max_open_leads", "working_hours"},
    "availability/{hours}": {"max_open_leads", "working_hours"},
    "leads/{lead}/assign": {"auto_assign"},
    "change-sets/{edit}/undo": {"partial"},
    "exports": {
        *("record_type", "format", "filters", "fields", "ordering", "version"),
    },
    "exports/{export}/cancel": set(),
    "custom-fields": CUSTOM_FIELD,
    "custom-fields/{field}": CUSTOM_FIELD,
    "imports": {
        *("file", "upload", "record_type", "mapping", "encoding", "sheet", "match"),
        *("mode", "blank", "owner", "tags", "auto_assign", "save_mapping_as"),
        "dry_run",
    },
    "imports/preview": {
        *("file", "upload", "record_type", "mapping", "encoding", "sheet", "match"),
    },
    "imports/{import}/cancel": set(),
    "jobs/{import}/cancel": set(),
    "lead-process": {"statuses", "untouched_after_days"},
    "leads/{lead}/convert": {"contact", "company", "deal", "owner", "reason"},
    "leads/{lead}/transition": {"status", "reason"},
    "notifications/read": {"ids"},
    "leads/{lead}/score/override": {"score", "reason", "until"},
    "scoring-models": SCORING_MODEL,
    "scoring-models/{draft}": SCORING_MODEL,
    "scoring-models/{draft}/simulate": set(),
    "scoring-models/{draft}/publish": set(),
    "organization": {
        *("name", "country", "currency", "timezone"),
        *("audit_retention_days", "purge_after_days"),
    },
    "pipelines": {"name", "position", "is_active", "stages"},
    "pipelines/{pipeline}": {"name", "position", "is_active", "stages"},
    "roles": {"name", "rights", "field_rights", "requires_two_factor"},
    "roles/{role}": {"name", "rights", "field_rights", "requires_two_factor"},
    "teams": {"name", "parent"},
    "teams/{team}": {"name", "parent"},
    "users": PERSON | GRANTED,
    "users/me": PERSON | {"notifications", "dashboard"},
    "users/{alice}": PERSON | GRANTED,
    "users/{alice}/hand-over": {"to", "deactivate"},
    "users/{guest}/invite": set(),
}
# What is done with records, and not with one, takes.
ACTIONS = {
    "batch": {"operations", "atomic"},
    "bulk": {"filter", "ids", "change", "dry_run"},
    "members": {"add", "remove"},
}
# What these need besides, for the field in question to be all that is wrong.
BODIES = {
    "leads/{lead}/score/override": OVERRIDE,
    "scoring-models": {"name": "new"},
    "leads/{lead}/transition": {"status": "contacted"},
    "api-keys": {"name": "new", "scopes": ["tags:read"]},
    "assignment-rules": {"name": "new", "method": "round_robin"},
    "assignment-rules/dry-run": {"lead": {"last_name": "new"}},
    "exports": {"record_type": "tag"},
    "custom-fields": {
        **{"applies_to": "contact", "key": "new", "label": "New", "kind": "text"},
    },
    "imports": {"record_type": "tag"},
    "users": {"email": "new@example.com"},
    "pipelines": {"name": "new"},
    "roles": {"name": "new"},
    "teams": {"name": "new"},
}
# A file and nothing else.
FILES = {"users/me/avatar"}


def plausible(field: models.Field, people: People):
    """A value that the field could take, and that would do harm."""
    if field.name == "organization":
        return str(people.other_organization.pk)
    if field.related_model is User:
        return str(people.bob.pk)
    if isinstance(field, models.ForeignKey):
        user = people.administrator
        return str(getattr(user, f"{field.name}_id", None) or user.pk)
    if isinstance(field, models.BooleanField):
        return True
    if isinstance(field, models.IntegerField):
        return 7
    if isinstance(field, models.DateTimeField):
        return "2020-01-01T00:00:00Z"
    if isinstance(field, models.JSONField):
        return {"*": {"view": "all"}}
    return "x"


@tag("once")
class MassAssignmentTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.people = people = People()
        cls.administrator = client_of(people.administrator)
        cls.contracts = {path: contract_for(path, people) for path in contracts()}
        cls.records = {path: c.make(n=900) for path, c in cls.contracts.items()}
        for contract in cls.contracts.values():
            # What a body refers to is made now: nothing may change later.
            contract.body(n=901)
        people.program("tags:read")
        edit = ChangeSet.objects.filter(actor=people.alice).first()
        cls.targets = {
            **make_assignment(people, cls.records["leads"]["id"]),
            "alice": people.alice.pk,
            "edit": edit.pk,
            "export": make_export(people.alice).pk,
            "field": make_custom_field(people.organization).pk,
            "import": make_import(people.alice).pk,
            "guest": people.guest.pk,
            "key": people.administrator.api_keys.get().pk,
            "draft": make_model(people.organization).pk,
            "pipeline": Pipeline.objects.default_of(people.organization).pk,
            "lead": cls.records["leads"]["id"],
            "role": people.alice.role_id,
            "team": people.team.pk,
        }
        cls.values = dict(MADE_UP)
        for model in our_models():
            for field in model._meta.concrete_fields:
                value = plausible(field, people)
                cls.values |= {field.name: value, field.attname: value}

    def requests(self):
        """(method, address, body, fields that may be set) of all that takes a body."""
        special = {general(address): address for address in WRITABLE}
        for address, callback in endpoints().items():
            address = address.rstrip("/")
            path, _, rest = address.partition("/")
            for method in tuple(getattr(callback, "actions", None) or ()):
                if method not in ("post", "put", "patch") or address in FILES:
                    continue
                if method not in callback.cls.http_method_names:
                    continue
                if path in record_views() and address not in special:
                    yield self.of_record(method, path, rest)
                    continue
                self.assertIn(address, special, "Without a line in WRITABLE.")
                line = special[address]
                where = f"/api/{line.format(**self.targets)}/"
                yield method, where, BODIES.get(line, {}), WRITABLE[line]

    def of_record(self, method, path, rest):
        """The same for a record type; what else is done with it takes few fields."""
        contract, view = self.contracts[path], record_views()[path]
        if rest == "by/{}/{}":
            method, rest, where = "put", "{}", f"{contract.path}by/crm/1"
        else:
            where = f"{contract.path}{rest.format(self.records[path]['id'])}"
        if rest not in ("", "{}"):
            return method, f"{where}/", {}, ACTIONS.get(rest.split("/")[-1], set())
        body = {"post": contract.body(n=901), "put": contract.body(n=900), "patch": {}}
        fields = [view.representation.fields[name] for name in view.fields]
        writable = {field.name for field in fields if field.editable}
        where = f"{where}/" if rest else where
        return method, where, body[method], writable | {"owner", "custom_fields"}

    def test_all_that_may_not_be_set_is_named_and_nothing_is_set(self):
        """Every field of every model at once."""
        before = database()
        for method, where, body, writable in self.requests():
            with self.subTest(f"{method} {where}"):
                wrong = {n: v for n, v in self.values.items() if n not in writable}
                answer = self.send(method, where, {**body, **wrong})
                self.assertEqual(answer.status_code, 400, answer.content[:300])
                named = {error["field"] for error in answer.json()["errors"]}
                self.assertLessEqual(wrong.keys() - NAMELESS, named)
        self.assertEqual(database(), before)

    def test_one_that_may_not_be_set_is_named_and_nothing_is_set(self):
        """Alone, with a body that is right: what would give somebody more rights."""
        tried = 0
        before = database()
        for method, where, body, writable in self.requests():
            for name in GIVING_RIGHTS:
                if name not in writable:
                    with self.subTest(f"{method} {where} {name}"):
                        sent = {**body, name: self.values[name]}
                        self.assertNamed(self.send(method, where, sent), name)
                        tried += 1
        self.assertEqual(database(), before)
        self.assertGreater(tried, 300)

    def test_nobody_gives_themselves_what_is_granted(self):
        people = self.people
        alice = client_of(people.alice)
        values = {
            "email": "alice@example.org",
            "role": str(people.administrator.role_id),
            "team": str(people.above.team_id),
            "manager": str(people.bob.pk),
            "is_active": False,
            "is_staff": True,
        }
        before = database()
        for name in GRANTED:
            with self.subTest(name):
                where = f"/api/users/{people.alice.pk}/"
                answer = alice.patch(where, {name: values[name]})
                self.assertEqual(answer.status_code, 403, answer.content)
                answer = alice.patch("/api/users/me/", {name: values[name]})
                self.assertNamed(answer, name)
        self.assertEqual(database(), before)

    def send(self, method, where, body):
        if where == "/api/imports/":
            file = SimpleUploadedFile("tags.csv", b"name\nnew\n")
            body = {**body, "file": file}
            body = {n: v if n == "file" else str(v) for n, v in body.items()}
            return self.administrator.post(where, body, format="multipart")
        return getattr(self.administrator, method)(where, body)

    def assertNamed(self, answer, name):
        self.assertEqual(answer.status_code, 400, answer.content[:300])
        [error] = answer.json()["errors"]
        self.assertIn(error["code"], ("unknown_field", "read_only"))
        if name not in NAMELESS:
            self.assertEqual(error["field"], name)
