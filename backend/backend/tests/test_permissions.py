"""The permission table: every endpoint, by every method, for everybody.

A record type that is a `RecordViewSet` has its rows from RECORD. An endpoint beside
these is a line in SPECIAL for each method that it has, and what it is sent stands in
BODIES. Whatever stands in no line is 405, once somebody may ask at all.
"""

from http import HTTPStatus
from unittest import mock

from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.test import TestCase, tag
from rest_framework.test import APIClient

from core.models import ChangeSet
from core.testing import client_of
from lead_management.models import Pipeline
from lead_management.tests.scoring import make_model, publish_rules

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
    make_notification,
    record_views,
)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# Alice owns what is asked for. Bob is on her team, as `above` and `below` are on teams
# above and below it; what these three see is their team's, what they write their own.
PRINCIPALS = (
    *("foreigner", "stranger", "reader", "below", "bob", "above"),
    *("alice", "manager", "administrator"),
    # An administrator's API key that lets nothing but teams be read.
    "key",
)
# Who asks of the record types: their views are of one class, and contacts are asked for
# by everybody.
SOME = ("foreigner", "reader", "bob", "alice", "key")
# Who asks where nothing depends on rights any more: of a method that no view has, and
# of HEAD, which is the GET without its body.
FEW = ("foreigner", "administrator", "key")
# Whoever does not come in is refused everywhere, before anything else is looked at.
OUTSIDE = {"anonymous": 401, "departed": 401, "unsecured": 403}

# `*` is the path of the record type; {live} and {deleted} are records of alice.
RECORD = """
            foreigner stranger reader below bob above alice manager administrator key
GET    *                    200 200 200 200 200 200 200 200 200 200
POST   *                    201 201 403 201 201 201 201 201 201 403
GET    */{live}             404 404 200 404 200 200 200 200 200 404
PUT    */{live}             404 404 403 404 403 403 200 200 200 404
PATCH  */{live}             404 404 403 404 403 403 200 200 200 404
DELETE */{live}             404 404 403 404 403 403 204 204 204 404
GET    */{live}/access      404 404 200 404 200 200 200 200 200 404
GET    */{live}/history     404 404 200 404 200 200 200 200 200 404
GET    */{deleted}/history  404 404 200 404 200 200 200 200 200 404
GET    */{live}/timeline    404 404 200 404 200 200 200 200 200 404
GET    */{deleted}/timeline 404 404 200 404 200 200 200 200 200 404
GET    */{deleted}          404 404 404 404 404 404 404 404 404 404
PUT    */{deleted}          404 404 404 404 404 404 404 404 404 404
PATCH  */{deleted}          404 404 404 404 404 404 404 404 404 404
DELETE */{deleted}          404 404 404 404 404 404 404 404 404 404
POST   */{deleted}/restore  404 404 403 404 403 403 200 200 200 404
POST   */{live}/restore     404 404 403 404 403 403 409 409 409 404
POST   */batch              200 200 403 200 200 200 200 200 200 403
POST   */bulk               202 202 202 202 202 202 202 202 202 403
"""

# A group of contacts, and a tag, that alice owns.
PARTS = """
            foreigner stranger reader below bob above alice manager administrator key
GET    contact-groups/{group}/members  404 404 200 404 200 200 200 200 200 404
POST   contact-groups/{group}/members  404 404 403 404 403 403 200 200 200 404
GET    contact-groups/{group}/count    404 404 200 404 200 200 200 200 200 404
GET    tags/{tag}/uses                 404 404 200 404 200 200 200 200 200 404
"""

# Of types with external ids; alice owns the one that the other program calls 1.
BY = """
            foreigner stranger reader below bob above alice manager administrator key
GET    */by/crm/1           404 404 200 404 200 200 200 200 200 404
PUT    */by/crm/1           201 409 403 409 403 403 200 200 200 403
"""

SPECIAL = """
            foreigner stranger reader below bob above alice manager administrator key
GET    api-keys                   200 200 200 200 200 200 200 200 200 200
POST   api-keys                   201 403 403 403 403 403 403 403 201 403
GET    api-keys/{key}             404 404 404 404 404 404 404 404 200 404
PATCH  api-keys/{key}             404 404 404 404 404 404 404 404 200 404
GET    api-keys/{key}/access      404 404 404 404 404 404 404 404 200 404
GET    api-keys/{key}/history     404 404 404 404 404 404 404 404 200 404
POST   api-keys/{key}/revoke      404 404 404 404 404 404 404 404 200 404
GET    assignment-rules           200 200 200 200 200 200 200 200 200 200
POST   assignment-rules           400 403 403 403 403 403 403 403 201 403
POST   assignment-rules/dry-run   200 403 403 403 403 403 403 403 200 403
GET    assignment-rules/{rule}    404 404 404 404 404 404 404 404 200 404
PUT    assignment-rules/{rule}    404 404 404 404 404 404 404 404 200 404
PATCH  assignment-rules/{rule}    404 404 404 404 404 404 404 404 200 404
GET    assignment-rules/{rule}/access   404 404 404 404 404 404 404 404 200 404
GET    assignment-rules/{rule}/history  404 404 404 404 404 404 404 404 200 404
GET    assignment-decisions       200 200 200 200 200 200 200 200 200 200
GET    assignment-decisions/{decision}  404 404 404 404 404 404 404 404 200 404
GET    availability               200 200 200 200 200 200 200 200 200 200
POST   availability               201 403 403 403 403 403 403 403 201 403
GET    availability/{hours}       404 404 404 404 404 404 404 404 200 404
PUT    availability/{hours}       404 404 404 404 404 404 404 404 200 404
PATCH  availability/{hours}       404 404 404 404 404 404 404 404 200 404
GET    availability/{hours}/access      404 404 404 404 404 404 404 404 200 404
GET    availability/{hours}/history     404 404 404 404 404 404 404 404 200 404
GET    audit-log                  200 403 403 403 403 403 403 403 200 403
GET    audit-log/export           200 403 403 403 403 403 403 403 200 403
GET    change-sets                200 200 200 200 200 200 200 200 200 200
GET    change-sets/{edit}         404 404 200 404 200 200 200 200 200 404
POST   change-sets/{edit}/undo    404 404 409 404 409 409 200 200 200 404
GET    exports                    200 200 200 200 200 200 200 200 200 200
POST   exports                    202 202 403 202 202 202 202 202 202 403
GET    exports/{export}           404 404 404 404 404 404 200 404 200 404
GET    exports/{export}/download  404 404 404 404 404 404 409 404 409 404
GET    exports/{export}/errors    404 404 404 404 404 404 200 404 200 404
POST   exports/{export}/cancel    404 404 404 404 404 404 200 404 200 404
GET    custom-fields              200 200 200 200 200 200 200 200 200 200
POST   custom-fields              201 403 403 403 403 403 403 403 201 403
GET    custom-fields/{field}      404 200 200 200 200 200 200 200 200 404
PUT    custom-fields/{field}      404 403 403 403 403 403 403 403 200 404
PATCH  custom-fields/{field}      404 403 403 403 403 403 403 403 200 404
DELETE custom-fields/{field}      404 403 403 403 403 403 403 403 204 404
GET    custom-fields/{field}/access   404 200 200 200 200 200 200 200 200 404
GET    custom-fields/{field}/history  404 200 200 200 200 200 200 200 200 404
GET    dashboard                  200 200 200 200 200 200 200 200 200 200
GET    deals/board                200 200 200 200 200 200 200 200 200 403
GET    deals/{deal}/stays         404 404 200 404 200 200 200 200 200 404
GET    imports                    200 200 200 200 200 200 200 200 200 200
POST   imports                    202 202 403 202 202 202 202 202 202 403
GET    imports/{import}           404 404 404 404 404 404 200 404 200 404
GET    imports/{import}/errors    404 404 404 404 404 404 200 404 200 404
GET    imports/{import}/skipped   404 404 404 404 404 404 200 404 200 404
GET    imports/{import}/error-file 404 404 404 404 404 404 200 404 200 404
POST   imports/{import}/cancel    404 404 404 404 404 404 200 404 200 404
POST   imports/preview            200 200 403 200 200 200 200 200 200 403
GET    jobs                       200 200 200 200 200 200 200 200 200 200
GET    jobs/{import}              404 404 404 404 404 404 200 404 200 404
GET    jobs/{import}/errors       404 404 404 404 404 404 200 404 200 404
POST   jobs/{import}/cancel       404 404 404 404 404 404 200 404 200 404
GET    lead-process               200 200 200 200 200 200 200 200 200 200
PUT    lead-process               200 403 403 403 403 403 403 403 200 403
PATCH  lead-process               200 403 403 403 403 403 403 403 200 403
GET    lead-process/history       200 200 200 200 200 200 200 200 200 200
GET    leads/{lead}/stays         404 404 200 404 200 200 200 200 200 404
POST   leads/{lead}/assign        404 404 403 404 403 403 409 409 409 404
POST   leads/{lead}/convert       404 404 403 404 403 403 200 200 200 404
POST   leads/{lead}/transition    404 404 403 404 403 403 200 200 200 404
GET    notifications              200 200 200 200 200 200 200 200 200 200
GET    notifications/{note}       404 404 404 404 404 404 200 404 404 404
POST   notifications/read         200 200 200 200 200 200 200 200 200 403
GET    leads/{lead}/score         404 404 200 404 200 200 200 200 200 404
PUT    leads/{lead}/score/override 404 404 403 404 403 403 200 200 200 404
DELETE leads/{lead}/score/override 404 404 403 404 403 403 409 409 409 404
GET    organization               200 200 200 200 200 200 200 200 200 200
PATCH  organization               200 403 403 403 403 403 403 403 200 403
GET    organization/history       200 200 200 200 200 200 200 200 200 200
GET    pipelines                  200 200 200 200 200 200 200 200 200 200
POST   pipelines                  201 403 403 403 403 403 403 403 201 403
GET    pipelines/{pipeline}       404 200 200 200 200 200 200 200 200 404
PUT    pipelines/{pipeline}       404 403 403 403 403 403 403 403 200 404
PATCH  pipelines/{pipeline}       404 403 403 403 403 403 403 403 200 404
GET    pipelines/{pipeline}/access 404 200 200 200 200 200 200 200 200 404
GET    pipelines/{pipeline}/history 404 200 200 200 200 200 200 200 200 404
GET    reports                    200 200 200 200 200 200 200 200 200 200
GET    reports/activity           200 200 200 200 200 200 200 200 200 403
GET    reports/forecast           200 200 200 200 200 200 200 200 200 403
GET    reports/funnel             200 200 200 200 200 200 200 200 200 403
GET    reports/pipelines          200 200 200 200 200 200 200 200 200 403
GET    reports/sources            200 200 200 200 200 200 200 200 200 403
POST   report-schedules/{schedule}/send 404 404 403 404 403 403 202 202 202 404
GET    reports/untouched          200 200 200 200 200 200 200 200 200 403
GET    roles                      200 200 200 200 200 200 200 200 200 200
POST   roles                      201 403 403 403 403 403 403 403 201 403
GET    roles/{role}               404 200 200 200 200 200 200 200 200 404
PUT    roles/{role}               404 403 403 403 403 403 403 403 200 404
PATCH  roles/{role}               404 403 403 403 403 403 403 403 200 404
GET    roles/{role}/access        404 200 200 200 200 200 200 200 200 404
GET    roles/{role}/history       404 200 200 200 200 200 200 200 200 404
GET    scoring-models             200 200 200 200 200 200 200 200 200 200
POST   scoring-models             201 403 403 403 403 403 403 403 201 403
GET    scoring-models/{draft}     404 200 200 200 200 200 200 200 200 404
PUT    scoring-models/{draft}     404 403 403 403 403 403 403 403 200 404
PATCH  scoring-models/{draft}     404 403 403 403 403 403 403 403 200 404
DELETE scoring-models/{draft}     404 403 403 403 403 403 403 403 204 404
GET    scoring-models/{draft}/access     404 200 200 200 200 200 200 200 200 404
GET    scoring-models/{draft}/history    404 200 200 200 200 200 200 200 200 404
GET    scoring-models/{draft}/simulation 404 404 404 404 404 404 404 404 404 404
POST   scoring-models/{draft}/simulate   404 403 403 403 403 403 403 403 202 404
POST   scoring-models/{draft}/publish    404 403 403 403 403 403 403 403 202 404
GET    search?q=ada               200 200 200 200 200 200 200 200 200 200
GET    teams                      200 200 200 200 200 200 200 200 200 200
POST   teams                      201 403 403 403 403 403 403 403 201 403
GET    teams/{team}               404 200 200 200 200 200 200 200 200 200
PUT    teams/{team}               404 403 403 403 403 403 403 403 200 403
PATCH  teams/{team}               404 403 403 403 403 403 403 403 200 403
GET    teams/{team}/access        404 200 200 200 200 200 200 200 200 200
GET    teams/{team}/history       404 200 200 200 200 200 200 200 200 200
GET    users                      200 200 200 200 200 200 200 200 200 200
POST   users/{guest}/invite       404 403 403 403 403 403 403 403 200 404
DELETE users/{guest}/invite       404 403 403 403 403 403 403 403 204 404
POST   users                      400 403 403 403 403 403 403 403 201 403
GET    users/me                   200 200 200 200 200 200 200 200 200 200
PATCH  users/me                   200 200 200 200 200 200 200 200 200 403
PUT    users/me/avatar            415 415 415 415 415 415 415 415 415 415
DELETE users/me/avatar            200 200 200 200 200 200 200 200 200 403
GET    users/{alice}/avatar       404 404 404 404 404 404 404 404 404 404
GET    users/{alice}              404 200 200 200 200 200 200 200 200 404
PUT    users/{alice}              404 403 403 403 403 403 200 403 200 404
PATCH  users/{alice}              404 403 403 403 403 403 200 403 200 404
GET    users/{alice}/access       404 200 200 200 200 200 200 200 200 404
GET    users/{alice}/history      404 200 200 200 200 200 200 200 200 404
POST   users/{alice}/hand-over    404 403 403 403 403 403 403 202 202 404
"""

# What is sent, where nothing would not do. A PUT sends back what is there.
BODIES = {
    "POST api-keys": {"name": "new", "scopes": ["tags:read"]},
    "PATCH api-keys/{key}": {"name": "new"},
    "POST exports": {"record_type": "tag", "filters": {"name": "new"}},
    "POST custom-fields": {
        **{"applies_to": "contact", "key": "new", "label": "New", "kind": "text"},
    },
    "PATCH custom-fields/{field}": {"label": "new"},
    "POST imports": {"record_type": "tag", "file": b"name\nnew\n"},
    "POST imports/preview": {"record_type": "tag", "file": b"name\nnew\n"},
    "PUT lead-process": {},
    "POST leads/{lead}/transition": {"status": "contacted"},
    "POST assignment-rules": {"name": "new", "method": "user", "user": "{alice}"},
    "PATCH assignment-rules/{rule}": {"name": "new"},
    "POST assignment-rules/dry-run": {"lead": {"last_name": "new"}},
    "PATCH availability/{hours}": {"max_open_leads": 1},
    "PATCH organization": {"country": "DE"},
    "POST pipelines": {"name": "new"},
    "PATCH pipelines/{pipeline}": {"name": "new"},
    "PUT leads/{lead}/score/override": OVERRIDE,
    "POST scoring-models": {"name": "new"},
    "PATCH scoring-models/{draft}": {"name": "new"},
    "POST roles": {"name": "new"},
    "PATCH roles/{role}": {"name": "new"},
    "POST teams": {"name": "new"},
    "PATCH teams/{team}": {"name": "new"},
    "POST users": {"email": "new@example.com", "role": "{role}"},
    "PATCH users/me": {"last_name": "new"},
    "PATCH users/{alice}": {"last_name": "new"},
    "POST users/{alice}/hand-over": {"to": "{bob}"},
}

# What everybody may read, whoever they are.
OPEN = ("docs", "docs/sign-in", "schema", "health", "health/live", "health/ready")

# Whoever has the link, and nobody else: without it there is nothing.
BY_LINK = ("invitations/{}",)

# The sign-in is allauth's, and knows no roles: what it answers who is not signed in,
# or who left. `*` is the kind of client, app or browser.
SIGN_IN = """
                                                GET POST PUT PATCH DELETE
auth/openapi.json                               200 405 405 405 405
auth/openapi.yaml                               200 405 405 405 405
auth/*/v1/config                                200 405 405 405 405
auth/*/v1/auth/login                            405 400 400 400 400
auth/*/v1/auth/session                          401 405 405 405 401
auth/*/v1/auth/sessions                         401 401 401 401 401
auth/*/v1/auth/signup                           405 400 405 405 405
auth/*/v1/auth/reauthenticate                   401 401 401 401 401
auth/*/v1/auth/code/confirm                     409 409 409 409 409
auth/*/v1/auth/email/verify                     400 400 400 400 400
auth/*/v1/auth/email/verify/resend              404 404 404 404 404
auth/*/v1/auth/phone/verify                     409 409 409 409 409
auth/*/v1/auth/phone/verify/resend              405 409 405 405 405
auth/*/v1/auth/password/request                 405 400 400 400 400
auth/*/v1/auth/password/reset                   400 400 400 400 400
auth/*/v1/auth/2fa/authenticate                 401 401 401 401 401
auth/*/v1/auth/2fa/reauthenticate               401 401 401 401 401
auth/*/v1/auth/webauthn/authenticate            401 401 401 401 401
auth/*/v1/auth/webauthn/login                   200 400 405 405 405
auth/*/v1/auth/webauthn/reauthenticate          401 401 401 401 401
auth/*/v1/account/email                         401 401 401 401 401
auth/*/v1/account/phone                         404 404 404 404 404
auth/*/v1/account/password/change               401 401 401 401 401
auth/*/v1/account/authenticators                401 401 401 401 401
auth/*/v1/account/authenticators/totp           401 401 401 401 401
auth/*/v1/account/authenticators/webauthn       401 401 401 401 401
auth/*/v1/account/authenticators/recovery-codes 401 401 401 401 401
auth/app/v1/tokens/refresh                      405 400 400 400 400
"""
SIGN_IN_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CLIENTS = ("app", "browser")


def lines(text: str):
    """(method, address, status of each principal) of a table's lines."""
    for line in text.strip().splitlines()[1:]:
        method, address, *statuses = line.split()
        yield method, address, dict(zip(PRINCIPALS, map(int, statuses), strict=True))


def at(address: str) -> str:
    """Where the address of a line is, whose query stands behind its last slash."""
    path, mark, query = address.partition("?")
    return f"/api/{path}/{mark}{query}"


def sign_in_lines():
    """(address, status of each method) of every address of the sign-in."""
    for line in SIGN_IN.strip().splitlines()[1:]:
        address, *statuses = line.split()
        methods = dict(zip(SIGN_IN_METHODS, map(int, statuses), strict=True))
        for client in CLIENTS if "*" in address else ("",):
            yield address.replace("*", client), methods


class Each(dict):
    """A body for each principal, where not all can send the same."""


@tag("once")
class PermissionTableTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.people = people = People()
        cls.clients = {name: people.outside(name) for name in OUTSIDE}
        for name in PRINCIPALS[:-1]:
            cls.clients[name] = client_of(getattr(people, name))
        cls.clients["key"] = people.program("teams:read")
        cls.administrator = client_of(people.administrator)
        cls.checks = 0
        cls.contracts = {path: contract_for(path, people) for path in contracts()}
        tag = cls.contracts["tags"].make(n=900)
        group = cls.contracts["contact-groups"].make(n=900)
        lead = cls.contracts["leads"].make(n=900)
        publish_rules(people.organization)
        cls.targets = {
            **make_assignment(people, lead["id"]),
            "alice": people.alice.pk,
            "bob": people.bob.pk,
            "guest": people.guest.pk,
            "edit": ChangeSet.objects.get(changes__record_id=tag["id"]).pk,
            "export": make_export(people.alice).pk,
            "field": make_custom_field(people.organization).pk,
            "import": make_import(people.alice).pk,
            "key": people.administrator.api_keys.get().pk,
            "group": group["id"],
            "deal": cls.contracts["deals"].make(n=900)["id"],
            "draft": make_model(people.organization).pk,
            "pipeline": Pipeline.objects.default_of(people.organization).pk,
            "lead": lead["id"],
            "note": make_notification(people.alice, lead["id"]).pk,
            "schedule": cls.contracts["report-schedules"].make(n=900)["id"],
            "role": people.alice.role_id,
            "tag": tag["id"],
            "team": people.team.pk,
        }

    # Completeness

    def test_every_record_type_has_a_contract(self):
        self.assertEqual(set(record_views()), set(contracts()))

    def test_every_endpoint_stands_in_the_table_and_every_line_has_one(self):
        # Those with a parameter for the kind of client are the same addresses again.
        served = {a for a in endpoints() if not a.startswith("auth/{}")}
        table = {address for address, _ in sign_in_lines()}
        table |= {
            f"{general(address.partition('?')[0])}/"
            for _, address, _ in (*lines(SPECIAL), *lines(PARTS))
        }
        table |= {f"{address}/" for address in (*OPEN, *BY_LINK)}
        for path, view in record_views().items():
            table |= {
                f"{general(address.replace('*', path))}/"
                for _, address, _ in lines(RECORD)
            }
            if "external_ids" in view.fields:
                table.add(f"{path}/by/{{}}/{{}}/")
        self.assertEqual(served - table, set(), "Without a line in the table.")
        self.assertEqual(table - served, set(), "Without an endpoint.")

    # The table

    def test_everybody_is_answered_as_the_table_says(self):
        self.before = database()
        self.check_open()
        self.check_by_link()
        self.check_sign_in()
        self.assertUnchanged()
        self.check_table(SPECIAL, self.targets)
        self.check_table(PARTS, self.targets)
        for path, view in record_views().items():
            with self.subTest(path):
                contract = self.contracts[path]
                live, deleted = contract.make(n=901), contract.make(n=902)
                removed = contract.alice.delete(contract.address(deleted))
                self.assertEqual(removed.status_code, 204, removed.content)
                targets = {"live": live["id"], "deleted": deleted["id"]}
                bodies = {
                    "POST *": self.new_of_each(contract),
                    "POST */batch": self.batch_of_each(contract),
                    "POST */bulk": {"ids": [live["id"]], "change": {"delete": True}},
                    "PUT */{live}": contract.body(n=901),
                    "PUT */{deleted}": contract.body(n=902),
                    "PATCH */{live}": contract.change,
                    "PATCH */{deleted}": contract.change,
                }
                names = PRINCIPALS if path == "contacts" else SOME
                self.check_table(RECORD, targets, path, bodies, names)
                if "external_ids" in view.fields:
                    contract.make(n=904, external_ids={"crm": "1"})
                    bodies = {"PUT */by/crm/1": contract.body(n=905)}
                    self.check_table(BY, targets, path, bodies, names)
        self.assertGreaterEqual(self.checks, 2_000)

    def new_of_each(self, contract) -> Each:
        """What makes a record, by who may; whoever may not sends what alice would."""
        bodies = Each.fromkeys(self.clients, contract.body(n=903))
        table = {(method, address): by for method, address, by in lines(RECORD)}
        for name, status in table["POST", "*"].items():
            if status == HTTPStatus.CREATED:
                bodies[name] = contract.body(n=903, client=self.clients[name])
        return bodies

    def batch_of_each(self, contract) -> Each:
        """The same as an operation of a batch."""
        return Each(
            (name, {"operations": [{"method": "create", "body": body}]})
            for name, body in self.new_of_each(contract).items()
        )

    def check_table(self, text, targets, path="", bodies=BODIES, names=PRINCIPALS):
        self.before = database()
        table = {}
        for method, address, statuses in lines(text):
            table.setdefault(address, {})[method] = statuses
        for address, methods in table.items():
            for method in METHODS:
                statuses = methods.get("GET" if method == "HEAD" else method)
                if statuses is None:
                    statuses = dict.fromkeys(FEW, 405)
                elif method == "HEAD":
                    statuses = {name: statuses[name] for name in FEW}
                else:
                    statuses = {name: statuses[name] for name in names}
                where = at(address.replace("*", path).format(**targets))
                body = self.body(
                    method, address, where, bodies, 405 in statuses.values()
                )
                with self.subTest(f"{method} {where}"):
                    self.check(method, where, body, {**OUTSIDE, **statuses})
        with self.subTest(path):
            self.assertUnchanged()

    def body(self, method, address, where, bodies, is_refused):
        body = bodies.get(f"{method} {address}")
        if body is None and method == "PUT" and not is_refused:
            return self.administrator.get(where).json()
        if isinstance(body, Each):
            return body
        targets = {f"{{{name}}}": pk for name, pk in self.targets.items()}
        return {
            name: targets.get(value, value) if isinstance(value, str) else value
            for name, value in (body or {}).items()
        }

    # Who may, not what is shown: no worker runs here.
    @mock.patch.dict("core.views.health.CHECKS", {"all": bool}, clear=True)
    def check_open(self):
        for address in OPEN:
            for method in METHODS:
                status = 200 if method in ("GET", "HEAD") else 405
                with self.subTest(f"{method} {address}"):
                    statuses = dict.fromkeys(self.clients, status)
                    self.check(method, at(address), None, statuses)

    def check_by_link(self):
        for address in BY_LINK:
            for method in METHODS:
                status = 404 if method in ("GET", "HEAD", "POST") else 405
                with self.subTest(f"{method} {address}"):
                    statuses = dict.fromkeys(self.clients, status)
                    self.check(method, at(address.format("a-key")), None, statuses)

    def check_sign_in(self):
        for address, methods in sign_in_lines():
            for method, status in methods.items():
                with self.subTest(f"{method} {address}"):
                    statuses = {"anonymous": status, "departed": status}
                    self.check(method, f"/api/{address}", None, statuses)

    def check(self, method, where, body, statuses):
        """All answers to a request; what is done is taken back."""
        writes = method not in ("GET", "HEAD", "OPTIONS")
        for name, status in statuses.items():
            refused = status >= HTTPStatus.BAD_REQUEST
            with transaction.atomic():
                sent = body[name] if isinstance(body, Each) else body
                answer = self.send(self.clients[name], method, where, sent)
                transaction.set_rollback(writes and not refused)
            self.compare(name, answer, status)

    def assertUnchanged(self):
        """What was refused has left everything as it was."""
        self.assertEqual(database(), self.before)

    def send(self, client: APIClient, method, where, body=None):
        if method in ("GET", "HEAD"):
            return client.generic(method, where)
        data, form = {}, "json"
        for name, value in (body or {}).items():
            if isinstance(value, bytes):
                form = "multipart"
                value = SimpleUploadedFile(f"{name}.csv", value)
            data[name] = value
        return getattr(client, method.lower())(where, data, format=form)

    def compare(self, name, answer, status):
        type(self).checks += 1
        if answer.status_code != status:
            content = b"" if answer.streaming else answer.content[:200]
            self.fail(f"{name}: {answer.status_code}, not {status}: {content}")
