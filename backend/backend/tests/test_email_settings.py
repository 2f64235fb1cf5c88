"""By which way e-mails leave: files, a mail server, or the API of a provider."""

import os
import re
import runpy
import tempfile
import traceback
from pathlib import Path
from unittest import mock

from django.conf import settings
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase, override_settings, tag
from django.utils.module_loading import import_string

SETTINGS = settings.BACKEND_DIR / "backend" / "settings.py"
SMTP = "django.core.mail.backends.smtp.EmailBackend"
UNSET = {"EMAIL_URL": "", "EMAIL_PROVIDER": "", "EMAIL_PROVIDER_SETTINGS": ""}
NO_SERVER = (
    "EMAIL_URL is no mail server, such as smtp+tls://user:password@mail.example.com:587."
    " In a password #, / and ? are written %23, %2F and %3F."
)
NO_VALUES = (
    "EMAIL_PROVIDER_SETTINGS is no list of names and values, such as"
    " API_KEY=secret,SENDER_DOMAIN=example.com."
)


@tag("once")
class EmailSettingsTests(SimpleTestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def read(self, **environment) -> dict:
        """What the settings say of e-mail in this environment."""
        environment = {**UNSET, "MYCRM_DATA": str(self.folder), **environment}
        with mock.patch.dict(os.environ, environment):
            found = runpy.run_path(str(SETTINGS))
        return {
            name: value
            for name, value in found.items()
            if name == "ANYMAIL" or (name.isupper() and name.startswith("EMAIL_"))
        }

    def connection(self, **environment):
        with override_settings(**self.read(**environment)):
            return mail.get_connection()

    def assertRefused(self, message, **environment):
        with self.assertRaises(ImproperlyConfigured) as raised:
            self.read(**environment)
        self.assertEqual(str(raised.exception), message)
        told = "".join(traceback.format_exception(raised.exception))
        self.assertNotIn("hu", told.replace(message, ""))

    def test_without_a_setting_an_e_mail_is_a_file(self):
        message = mail.EmailMessage("Hello", "Ada", "a@example.com", ["b@example.com"])
        message.connection = self.connection()
        self.assertEqual(message.send(), 1)
        [file] = (self.folder / "mail").iterdir()
        self.assertIn("Subject: Hello\n", file.read_text())

    def test_a_url_is_a_mail_server(self):
        for url, expected in (
            (
                "smtp://mail.example.com",
                ("mail.example.com", None, "", "", False, False),
            ),
            (
                "smtp+tls://ada%40example.com:p%23%2Fs@mail.example.com:587",
                ("mail.example.com", 587, "ada@example.com", "p#/s", True, False),
            ),
            (
                "smtp+ssl://ada:secret@10.0.0.1:465",
                ("10.0.0.1", 465, "ada", "secret", False, True),
            ),
        ):
            with self.subTest(url):
                found = self.read(EMAIL_URL=url)
                self.assertEqual(found["EMAIL_BACKEND"], SMTP)
                server = self.connection(EMAIL_URL=url)
                self.assertEqual(
                    (
                        *(server.host, server.port),
                        *(server.username or "", server.password or ""),
                        *(server.use_tls, server.use_ssl),
                    ),
                    expected,
                )
                self.assertEqual(server.timeout, 10)

    def test_a_provider_is_asked_by_its_api_and_goes_before_a_url(self):
        server = self.connection(
            EMAIL_URL="smtp://mail.example.com",
            EMAIL_PROVIDER="mailgun",
            # As keys that are written in base 64 end.
            EMAIL_PROVIDER_SETTINGS="API_KEY=c2VjcmV0==,SENDER_DOMAIN=example.com",
        )
        self.assertEqual(type(server).__module__, "anymail.backends.mailgun")
        self.assertEqual(
            (server.api_key, server.sender_domain, server.timeout),
            ("c2VjcmV0==", "example.com", 10),
        )

    def test_every_provider_that_is_documented_is_there(self):
        known = self.read()["EMAIL_PROVIDERS"]
        for name in known:
            import_string(f"anymail.backends.{name}.EmailBackend")
        example = (settings.PROJECT_DIR / ".env.example").read_text()
        listed = re.search(r"a provider's API: ([^;]*);", example)[1]
        words = re.findall(r"[a-z_]+", listed)
        self.assertEqual([w for w in words if w != "or"], list(known))

    def test_a_url_that_is_no_mail_server_is_refused_without_its_password(self):
        for url in (
            "mail.example.com",
            "mail.example.com:587",
            "https://mail.example.com",
            "smtp://",
            "smtp+tls://ada:hush@:587",
            "smtp+tls://ada:hush@mail.example.com:x",
            "smtp+tls://ada:hush@mail.example.com:65536",
            "smtp+tls://ada:hu#sh@mail.example.com:587",
            "smtp+tls://ada:hu/sh@mail.example.com:587",
            "smtp+tls://ada:hu?sh@mail.example.com:587",
        ):
            with self.subTest(url):
                self.assertRefused(NO_SERVER, EMAIL_URL=url)

    def test_a_provider_that_is_unknown_or_badly_set_is_refused(self):
        for name in ("Mailgun", "base", "smtp", "amazon_ses"):
            with self.subTest(name), self.assertRaises(ImproperlyConfigured) as raised:
                self.read(EMAIL_PROVIDER=name)
            told = str(raised.exception)
            self.assertTrue(told.startswith("EMAIL_PROVIDER is none of brevo, "), told)
        for values in ("hush", "API_KEY=hush,example.com"):
            with self.subTest(values):
                self.assertRefused(
                    NO_VALUES,
                    EMAIL_PROVIDER="mailgun",
                    EMAIL_PROVIDER_SETTINGS=values,
                )
