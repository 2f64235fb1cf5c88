"""The settings of production: what they refuse, and what they leave in force."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from django.conf import settings
from django.http import HttpResponse
from django.test import RequestFactory, SimpleTestCase, TestCase, tag

from core.middleware import PolicyMiddleware

KEY = "k" * 20 + "0123456789abcdefghijklmnopqrstuvwxyz"
COMPLETE = {
    "SECRET_KEY": KEY,
    "ALLOWED_HOSTS": "crm.example.com",
    "DATABASE_URL": "postgres://mycrm:secret@db/mycrm",
    "REDIS_URL": "redis://cache/0",
    "BROKER_URL": "redis://broker/0",
}
COMPOSE = settings.PROJECT_DIR / "docker-compose.production.yml"
# What has no effect on containers: secrets are files, and the rest follows from how the
# containers are put together.
NOT_OF_CONTAINERS = {
    *("SECRET_KEY", "DATABASE_URL", "EMAIL_URL", "STATEMENT_SECONDS"),
    *("REDIS_URL", "BROKER_URL", "PGBOUNCER", "USE_SQLITE", "DEBUG"),
    *("HOST", "PORT", "BIND", "MYCRM_DATA", "METRICS_PORT"),
    *("TLS_CERTIFICATE", "TLS_KEY", "TLS_PORT"),
}


@tag("once")
class StartTests(SimpleTestCase):
    """In a process of its own, as settings are read once in a process."""

    def run_with(self, environment, code="import django; django.setup()"):
        with tempfile.TemporaryDirectory() as data:
            return subprocess.run(  # noqa: S603
                [sys.executable, "-W", "error", "-c", code],
                cwd=settings.BACKEND_DIR,
                env={
                    "PATH": os.environ["PATH"],
                    "DJANGO_SETTINGS_MODULE": "backend.settings_production",
                    "MYCRM_DATA": data,
                    **environment,
                },
                capture_output=True,
                text=True,
                check=False,
            )

    def values(self, names: list[str], **environment):
        code = (
            "import json; from django.conf import settings;"
            f"print(json.dumps([getattr(settings, n) for n in {names}], default=str))"
        )
        done = self.run_with({**COMPLETE, **environment}, code)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_names_what_is_missing(self):
        for name in COMPLETE:
            rest = {k: v for k, v in COMPLETE.items() if k != name}
            done = self.run_with(rest)
            with self.subTest(name):
                self.assertEqual(done.returncode, 1)
                self.assertIn(
                    f"ImproperlyConfigured: MyCRM in production needs {name}:",
                    done.stderr,
                )

    def test_refuses_a_short_key(self):
        done = self.run_with({**COMPLETE, "SECRET_KEY": "short"})
        self.assertIn("SECRET_KEY needs 50 characters or more.", done.stderr)

    def test_takes_secrets_from_files(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "key"
            file.write_text(KEY + "\n")
            environment = {"SECRET_KEY": "", "SECRET_KEY_FILE": str(file)}
            self.assertEqual(self.values(["SECRET_KEY"], **environment), [KEY])
            file.unlink()
            done = self.run_with({**COMPLETE, **environment})
        self.assertIn("ImproperlyConfigured: SECRET_KEY_FILE: ", done.stderr)

    def test_connections_stay_open_and_statements_end(self):
        [databases] = self.values(["DATABASES"])
        database = databases["default"]
        self.assertEqual(database["CONN_MAX_AGE"], 600)
        self.assertTrue(database["CONN_HEALTH_CHECKS"])
        self.assertIn("statement_timeout=10s", database["OPTIONS"]["options"])

    def test_a_pool_gets_no_options_at_the_start_of_a_connection(self):
        [databases] = self.values(["DATABASES"], PGBOUNCER="true")
        self.assertNotIn("options", databases["default"]["OPTIONS"])
        self.assertTrue(databases["default"]["DISABLE_SERVER_SIDE_CURSORS"])

    def test_cookies_are_for_https(self):
        names = ["SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "SESSION_COOKIE_SECURE"]
        self.assertEqual(
            self.values([*names, "SECURE_HSTS_SECONDS", "NUM_PROXIES"]),
            ["__Host-sessionid", "__Host-csrftoken", True, 31_536_000, 1],
        )
        self.assertEqual(
            self.values([*names, "SECURE_SSL_REDIRECT"], HTTPS="false"),
            ["sessionid", "csrftoken", False, False],
        )

    def test_lists_may_have_spaces_after_their_commas(self):
        names = {
            "ALLOWED_HOSTS": ["crm.example.com", "localhost"],
            "CORS_ALLOWED_ORIGINS": ["https://a.example.com", "https://b.example.com"],
            "METRICS_NETWORKS": ["10.0.0.0/8", "127.0.0.0/8"],
        }
        written = {name: ", ".join(values) for name, values in names.items()}
        self.assertEqual(self.values(list(names), **written), list(names.values()))

    def test_a_container_answers_to_its_site_and_to_its_own_health_check(self):
        asked = re.search(
            r"'http://(\w+):'", (COMPOSE.parent / "Dockerfile").read_text()
        )
        hosts = yaml.safe_load(COMPOSE.read_text())["x-environment"]["ALLOWED_HOSTS"]
        hosts = re.sub(r"\$\{ALLOWED_HOSTS:\?[^}]*\}", "crm.example.com", hosts)
        self.assertEqual(
            self.values(["ALLOWED_HOSTS"], ALLOWED_HOSTS=hosts),
            [["crm.example.com", asked[1]]],
        )


class ContainerTests(SimpleTestCase):
    def test_what_env_example_lists_is_what_reaches_the_containers(self):
        example = (COMPOSE.parent / ".env.example").read_text()
        listed = set(re.findall(r"^# ([A-Z_]+)=", example, re.M))
        text = COMPOSE.read_text()
        passed_on = set(re.findall(r"\$\{([A-Z_]+)", text))
        # In the place of a value there is none.
        passed_on |= set(re.findall(r"^ +([A-Z_]+):$", text, re.M))
        self.assertEqual(listed - NOT_OF_CONTAINERS, passed_on)


class PolicyTests(TestCase):
    def test_pages_run_only_their_own_scripts(self):
        for path in ("/api/docs/", "/account/login/"):
            policy = self.client.get(path)["Content-Security-Policy"]
            with self.subTest(path):
                self.assertIn("script-src 'self'", policy.split("; "))
                self.assertIn("frame-ancestors 'none'", policy)

    def test_only_the_admin_may_compute_scripts(self):
        answer = PolicyMiddleware(lambda request: HttpResponse())
        for path, allowed in [("/admin/", True), ("/administration/", False)]:
            policy = answer(RequestFactory().get(path))["Content-Security-Policy"]
            self.assertEqual("'unsafe-eval'" in policy, allowed, path)

    def test_answers_of_the_api_have_none(self):
        self.assertNotIn("Content-Security-Policy", self.client.get("/api/health/"))
