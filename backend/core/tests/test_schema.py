import json
import re
import time
import uuid
from datetime import timedelta
from unittest import mock

from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.test import TestCase, override_settings, tag
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator

from core.models import Heartbeat
from core.tasks import WORKER
from core.testing import Cast, client_of
from core.views import health

NOT_OURS = ("api/auth/", "api/schema/", "api/docs/")
PROBLEM = {"$ref": "#/components/schemas/Problem"}


def routes(resolver=None, prefix="") -> set[str]:
    """Every address under /api/ that the program answers, as the schema writes it."""
    found = set()
    for pattern in (resolver or get_resolver()).url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found |= routes(pattern, path)
        elif isinstance(pattern, URLPattern) and path.startswith("api/"):
            path = path.replace("<uuid:pk>", "{id}")
            found.add("/" + re.sub(r"<\w+:(\w+)>", r"{\1}", path))
    return {p for p in found if not p.lstrip("/").startswith(NOT_OURS)}


@tag("once")
class SchemaTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        response = cls.client_class().get("/api/schema/")
        cls.status = response.status_code
        cls.schema = json.loads(response.content)

    def operations(self):
        for path, operations in self.schema["paths"].items():
            for method, operation in operations.items():
                yield path, method, operation

    def names(self, operation, place) -> set[str]:
        parameters = operation.get("parameters", ())
        return {p["name"] for p in parameters if p["in"] == place}

    def test_it_is_open_api_3_1(self):
        """That it is valid, and made without a warning, `./run_tests.sh lint` says."""
        self.assertEqual(self.status, 200)
        self.assertRegex(self.schema["openapi"], r"^3\.1\.")

    def test_it_is_made_once_for_each_process(self):
        with mock.patch.object(SchemaGenerator, "get_schema") as get_schema:
            again = self.client.get("/api/schema/?another=question")
        self.assertEqual(json.loads(again.content), self.schema)
        get_schema.assert_not_called()

    def test_it_has_every_address_and_no_other(self):
        documented = {p for p in self.schema["paths"] if not p.startswith("/api/auth/")}
        self.assertEqual(documented, routes())

    def test_operations_have_names_of_their_own(self):
        names = [o["operationId"] for _, _, o in self.operations()]
        self.assertEqual(len(names), len(set(names)))

    def test_operations_tell_their_errors(self):
        for path, method, operation in self.operations():
            if path.startswith(("/api/auth/", "/api/health/")):
                continue
            with self.subTest(f"{method} {path}"):
                wanted = {"400", "401", "403", "404", "503"}
                wanted |= {"409"} if method != "get" else set()
                wanted |= {"422"} if method == "post" else set()
                wanted |= {"412"} if method in ("put", "patch", "delete") else set()
                wanted |= {"413", "415"} if "requestBody" in operation else set()
                self.assertLessEqual(wanted, operation["responses"].keys())
                for code in wanted:
                    content = operation["responses"][code]["content"]
                    self.assertEqual(
                        content["application/problem+json"]["schema"], PROBLEM
                    )
                good = [c for c in operation["responses"] if c.startswith("2")]
                self.assertTrue(good)

    def test_operations_tell_their_headers_and_parameters(self):
        for path, method, operation in self.operations():
            if path.startswith(("/api/auth/", "/api/health/", "/api/invitations/")):
                continue
            with self.subTest(f"{method} {path}"):
                headers = self.names(operation, "header")
                if method == "post":
                    self.assertIn("Idempotency-Key", headers)
                if method in ("put", "patch", "delete"):
                    self.assertIn("If-Match", headers)
                if method == "get":
                    self.assertIn("If-None-Match", headers)
                else:
                    self.assertIn("X-Change-Reason", headers)

    def test_a_dry_run_is_offered_where_it_is_taken_and_nowhere_else(self):
        """Parameters are looked at before anything else, so any id does."""
        client = client_of(Cast().manager)
        for path, method, operation in self.operations():
            if method == "get" or path.startswith(("/api/auth/", "/api/invitations/")):
                continue
            with self.subTest(f"{method} {path}"):
                address = re.sub(r"{\w+}", str(uuid.uuid4()), path)
                answer = client.generic(
                    method.upper(), f"{address}?dry_run=true", "{}", "application/json"
                )
                told = json.loads(answer.content or "{}").get("errors", ())
                is_taken = not any(error["field"] == "dry_run" for error in told)
                offered = self.names(operation, "query")
                self.assertEqual("dry_run" in offered, is_taken)

    def test_what_answers_with_a_body_says_so(self):
        for path in ("/api/users/me/avatar/", "/api/leads/{id}/score/override/"):
            with self.subTest(path):
                answers = self.schema["paths"][path]["delete"]["responses"]
                good = {code for code in answers if code.startswith("2")}
                self.assertEqual(good, {"200"})
                self.assertIn("application/json", answers["200"]["content"])

    def test_lists_tell_their_pages_filters_and_order(self):
        operation = self.schema["paths"]["/api/contacts/"]["get"]
        query = self.names(operation, "query")
        for name in (
            *("page", "page_size", "cursor", "search", "ordering", "fields", "expand"),
            *("deleted", "status", "status__in", "owner", "owner__isnull"),
            *("created_at__gte", "email", "tags", "first_name__icontains"),
        ):
            with self.subTest(name):
                self.assertIn(name, query)

    def test_the_export_of_the_audit_log_tells_the_filters_of_the_list(self):
        names = [
            self.names(self.schema["paths"][path]["get"], "query")
            for path in ("/api/audit-log/", "/api/audit-log/export/")
        ]
        self.assertEqual(names[0] - names[1], {"page", "page_size", "cursor"})
        self.assertEqual(names[1] - names[0], set())
        self.assertIn("actor", names[1])

    def test_what_a_list_is_told_to_understand_it_understands(self):
        from core.testing import ALL, Cast, client_of, make_role, make_user

        cast = Cast()
        role = make_role(cast.organization, "auditor", ALL, auditlog=ALL)
        client = client_of(make_user(cast.organization, "auditor", role))
        for path in (
            *("/api/contacts/", "/api/tags/", "/api/jobs/", "/api/change-sets/"),
            "/api/audit-log/",
        ):
            for name in self.names(self.schema["paths"][path]["get"], "query"):
                with self.subTest(f"{path}?{name}"):
                    answer = client.get(path, {name: "\x01"})
                    codes = {e["code"] for e in answer.json().get("errors", ())}
                    self.assertNotIn("unknown_parameter", codes)

    def test_a_bearer_token_is_the_way_in(self):
        schemes = self.schema["components"]["securitySchemes"]
        self.assertEqual(
            schemes["bearer"],
            {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        )
        for _, method, operation in self.operations():
            if "Idempotency-Key" in self.names(operation, "header"):
                self.assertIn({"bearer": []}, operation["security"], method)

    def test_the_page_of_it_loads_nothing_from_elsewhere(self):
        page = self.client.get("/api/docs/")
        self.assertEqual(page.status_code, 200)
        # Its script has an address of its own: the page allows none in itself.
        self.assertIn('<script src="/api/docs/?script=">', page.content.decode())
        script = self.client.get("/api/docs/?script=")
        self.assertEqual(script["Content-Type"], "application/javascript")
        self.assertIn("/api/schema/", script.content.decode())
        text = page.content.decode() + script.content.decode()
        self.assertNotRegex(text, r"""(?:src|href|url\()\s*=?\s*["']?(?:https?:)?//""")
        self.assertNotRegex(
            text, r"https?://(?!testserver)[\w.-]+/[^\s\"']*\.(?:js|css)"
        )

    def test_the_front_door_leads_there(self):
        self.assertRedirects(self.client.get("/"), "/api/docs/")


@override_settings(STARTED_AT=0)
class HealthTests(TestCase):
    PATH = "/api/health/"

    def beat(self, seconds=0):
        Heartbeat.objects.update_or_create(
            name=WORKER, defaults={"at": timezone.now() - timedelta(seconds=seconds)}
        )

    def test_all_well(self):
        self.beat()
        answer = self.client.get(self.PATH)
        self.assertEqual(
            (answer.status_code, answer.json()),
            (
                200,
                {
                    "status": "ok",
                    "database": "ok",
                    "cache": "ok",
                    "broker": "ok",
                    "worker": "ok",
                },
            ),
        )
        self.assertEqual(answer["Cache-Control"], "no-store")

    def test_a_worker_that_never_came_or_went_is_told(self):
        for seconds in (None, health.WORKER_SECONDS + 1):
            with self.subTest(seconds), self.assertLogs(health.logger, "WARNING"):
                if seconds:
                    self.beat(seconds)
                answer = self.client.get(self.PATH)
                self.assertEqual(answer.status_code, 503)
                shown = answer.json()
                self.assertEqual(
                    (shown["status"], shown["worker"], shown["database"]),
                    ("unavailable", "unavailable", "ok"),
                )

    def test_a_worker_may_still_be_on_its_way_when_all_was_started_just_now(self):
        with override_settings(STARTED_AT=time.time() - health.START_SECONDS + 5):
            self.assertEqual(self.client.get(self.PATH).status_code, 200)

    def test_alive_is_whoever_answers_with_nothing_else_there(self):
        def away():
            raise OperationalError("no database")

        with mock.patch.object(connection, "cursor", away):
            answer = self.client.get(f"{self.PATH}live/")
        self.assertEqual((answer.status_code, answer.json()), (200, {"status": "ok"}))
        self.assertEqual(answer["Cache-Control"], "no-store")

    def test_ready_is_who_has_the_database_and_its_tables(self):
        answer = self.client.get(f"{self.PATH}ready/")
        well = {"status": "ok", "database": "ok", "migrations": "ok"}
        self.assertEqual((answer.status_code, answer.json()), (200, well))

    @override_settings(REDIS_URL="redis://127.0.0.1:1/0")
    def test_ready_needs_neither_cache_nor_worker(self):
        self.assertEqual(self.client.get(f"{self.PATH}ready/").status_code, 200)

    def test_without_the_database_or_a_table_it_is_not_ready(self):
        def away():
            raise OperationalError("secret-host:5432 refused")

        for name, cause in (
            ("database", mock.patch.object(connection, "cursor", away)),
            (
                "migrations",
                mock.patch.object(
                    MigrationExecutor, "migration_plan", return_value=[1]
                ),
            ),
        ):
            with (
                self.subTest(name),
                mock.patch.object(health, "_is_migrated", False),
                cause,
                self.assertLogs(health.logger, "WARNING"),
            ):
                answer = self.client.get(f"{self.PATH}ready/")
                self.assertEqual(answer.status_code, 503)
                self.assertEqual(answer.json()[name], "unavailable")
                self.assertNotIn("secret", answer.content.decode())

    def test_each_part_that_is_away_is_told_without_details(self):
        self.beat()
        for name in health.CHECKS:

            def away():
                raise OSError("secret-host:5432 refused")

            with (
                self.subTest(name),
                mock.patch.dict(health.CHECKS, {name: away}),
                self.assertLogs(health.logger, "WARNING"),
            ):
                answer = self.client.get(self.PATH)
                self.assertEqual(answer.status_code, 503)
                shown = answer.json()
                others = {n for n, state in shown.items() if state != "ok"}
                self.assertEqual(others, {"status", name})
                self.assertNotIn("secret", answer.content.decode())

    def test_a_cache_that_is_away_is_noticed(self):
        self.beat()
        caches = {
            "default": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": "redis://127.0.0.1:1/0",
            }
        }
        with (
            override_settings(REDIS_URL="redis://127.0.0.1:1/0", CACHES=caches),
            self.assertLogs(health.logger, "WARNING"),
        ):
            shown = self.client.get(self.PATH).json()
        self.assertEqual(
            (shown["status"], shown["cache"]), ("unavailable", "unavailable")
        )

    def test_what_a_client_sends_with_it_does_not_matter(self):
        self.beat()
        answer = self.client.get(self.PATH, HTTP_AUTHORIZATION="Bearer nonsense")
        self.assertEqual(answer.status_code, 200)
