"""Headers, and bodies of sign-in, that are read before our views: never a failure."""

import errno
import json
from io import BytesIO
from unittest import mock
from wsgiref.util import setup_testing_defaults

from django.conf import settings
from django.test import Client, SimpleTestCase, TestCase

from backend.wsgi import application
from core.testing import Cast, client_of

# Django fails at each of these, or takes it for the encoding of the query.
ODD_PARAMETERS = (
    "x*=no-such-charset''y",
    "x*=undefined''y",
    "x*=utf-8''a; x*0=b",
    "charset=rot13",
    "charset=utf-7",
    "charset=unicode_escape",
)


def asked(path: str, query: str = "", content_type: str = "") -> tuple[str, bytes]:
    """The status line and the body that the server's application answers."""
    environ = {
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": content_type,
        "wsgi.input": BytesIO(),
        "HTTP_HOST": "localhost",
        "REMOTE_ADDR": "127.0.0.1",
    }
    setup_testing_defaults(environ)
    statuses = []
    body = application(environ, lambda status, headers: statuses.append(status))
    return statuses[0], b"".join(body)


class ServedTests(SimpleTestCase):
    """Through the application that is served: Django's client begins behind it."""

    def test_odd_parameters_of_a_content_type_do_no_harm(self):
        for parameter in ODD_PARAMETERS:
            content_type = f"application/json; {parameter}"
            with self.subTest(parameter):
                status, _ = asked("/api/health/live/", "", content_type)
                self.assertEqual(status, "200 OK")

    def test_a_query_is_utf_8_whatever_charset_the_content_type_names(self):
        for query in ("next=%C3%A9", "next=+2AA-", "next=%5Cud800"):
            for parameter in ODD_PARAMETERS:
                with self.subTest(query, parameter=parameter):
                    found = asked("/", query, f"text/html; {parameter}")
                    self.assertEqual(found[0], "302 Found", found[1][:200])


# Django's parser fails at these.
MALFORMED = (
    "name=\"file\"; filename*=utf-8''a; filename*0=b",
    "name*=utf-8''file; name*1=x; filename=a",
)


def upload(client, path: str, disposition: str):
    """A form whose first part, a file of contacts, has this disposition."""
    lines = [
        *("--b", f"Content-Disposition: form-data; {disposition}", "", "Name", "x"),
        *("--b", 'Content-Disposition: form-data; name="record_type"', ""),
        *("contact", "--b--", ""),
    ]
    client.raise_request_exception = False
    body = "\r\n".join(lines).encode()
    return client.generic("POST", path, body, "multipart/form-data; boundary=b")


class UploadTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def send(self, disposition: str):
        client = client_of(self.cast.alice)
        return upload(client, "/api/imports/preview/", disposition)

    def test_a_file_with_a_sensible_name_is_read(self):
        for disposition in (
            'name="file"; filename="names.csv"',
            "name=\"file\"; filename*=utf-8''names.csv",
        ):
            with self.subTest(disposition):
                response = self.send(disposition)
                self.assertEqual(response.status_code, 200, response.content)
                self.assertEqual(response.json()["file_name"], "names.csv")

    def test_a_malformed_header_of_a_part_is_refused(self):
        for disposition in MALFORMED:
            with self.subTest(disposition):
                response = self.send(disposition)
                self.assertEqual(response.status_code, 400, response.content[:200])
                self.assertEqual(response.json()["code"], "parse_error")


class PageUploadTests(TestCase):
    """Forms in which Django looks for the token against forgery before all else."""

    paths = ("/admin/login/", "/api/imports/preview/")

    def browser(self) -> Client:
        client = Client(enforce_csrf_checks=True)
        client.force_login(Cast().manager)
        client.cookies[settings.CSRF_COOKIE_NAME] = "a" * 32
        return client

    def test_a_malformed_header_of_a_part_is_refused(self):
        browser = self.browser()
        for path in self.paths:
            for disposition in MALFORMED:
                with self.subTest(path, disposition=disposition):
                    response = upload(browser, path, disposition)
                    self.assertEqual(response.status_code, 400, response.content[:200])

    def test_a_full_disk_is_told(self):
        browser = self.browser()
        full = OSError(errno.ENOSPC, "No space left on device")
        parser = "django.http.request.MultiPartParser.parse"
        for path in self.paths:
            with (
                self.subTest(path),
                mock.patch(parser, side_effect=full),
                self.assertLogs("core.problems", "ERROR"),
            ):
                response = upload(browser, path, 'name="file"; filename="a.csv"')
                self.assertEqual(response.status_code, 507, response.content[:200])

    def test_without_the_token_a_sensible_form_is_refused(self):
        browser = self.browser()
        for path in self.paths:
            with self.subTest(path):
                response = upload(browser, path, 'name="file"; filename="a.csv"')
                self.assertEqual(response.status_code, 403, response.content[:200])


class CookieTests(TestCase):
    def test_a_session_by_a_name_that_no_database_takes_is_none(self):
        self.client.raise_request_exception = False
        cookie = 'sessionid="\\000aaaaaaaaaaaaaaaaaaaaaaaa"'
        for path, status in (("/api/contacts/", 401), ("/admin/", 302)):
            with self.subTest(path):
                response = self.client.get(path, HTTP_COOKIE=cookie)
                self.assertEqual(response.status_code, status)


class SignInBodyTests(TestCase):
    """The views of sign-in are a library's, which takes any JSON that Python reads."""

    def post(self, path: str, body):
        self.client.raise_request_exception = False
        address = f"/api/auth/app/v1/{path}"
        return self.client.post(address, body, "application/json")

    def test_what_no_text_can_hold_is_refused(self):
        email = '"email": "a@example.com"'
        for path, name in (
            ("auth/login", "password"),
            ("auth/login", "email"),
            ("auth/password/reset", "key"),
            ("tokens/refresh", "refresh_token"),
        ):
            for text in ("\\ud800", "\\u0000"):
                prefix = "" if name == "email" else f"{email}, "
                body = f'{{{prefix}"{name}": "{text}"}}'
                with self.subTest(path, body=body):
                    response = self.post(path, body)
                    self.assertEqual(response.status_code, 400)
                    self.assertEqual(response.json()["code"], "parse_error")

    def test_what_is_no_object_is_refused(self):
        deep = "[" * 5000
        bodies = {"{": "parse_error", deep: "parse_error", "[]": "invalid"}
        bodies |= {'{"email": NaN}': "parse_error", '"x"': "invalid"}
        for path in ("auth/login", "auth/password/request"):
            for body, code in bodies.items():
                with self.subTest(path, body=body[:20]):
                    response = self.post(path, body)
                    self.assertEqual(response.status_code, 400)
                    self.assertEqual(response.json()["code"], code)

    def test_no_body_is_an_object_without_fields(self):
        response = self.post("auth/login", b"")
        self.assertEqual(response.status_code, 400)
        wrong = {error["param"] for error in response.json()["errors"]}
        self.assertEqual(wrong, {"email", "password"})

    def test_a_sensible_sign_in_works(self):
        cast = Cast()
        cast.alice.set_password("correct-horse-battery")
        cast.alice.save(update_fields=["password"])
        who = {"email": cast.alice.email, "password": "correct-horse-battery"}
        response = self.post("auth/login", json.dumps(who))
        self.assertEqual(response.status_code, 200, response.content)
