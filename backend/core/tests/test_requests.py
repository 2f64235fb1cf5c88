"""Whatever a client sends, however bad, it is told what is wrong with it."""

import json
import time
import uuid
from unittest import mock
from urllib.parse import quote, unquote

from django.conf import settings
from django.test import TestCase, override_settings

from contact_management.models import Contact
from core.models import Change, ChangeSet, IdempotencyKey
from core.testing import Cast, client_of

PATH = "/api/contacts/"


class RequestTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        self.alice = client_of(self.cast.alice)
        # A 500 is an answer to be looked at here, not an exception.
        self.alice.raise_request_exception = False

    def make(self, **fields) -> dict:
        response = self.alice.post(PATH, {"last_name": "King", **fields})
        self.assertEqual(response.status_code, 201, response.content)
        return response.json()

    def everything(self):
        return (
            list(Contact.objects.order_by("pk").values()),
            Change.objects.count(),
            ChangeSet.objects.count(),
            IdempotencyKey.objects.count(),
        )

    def assertProblem(self, response, status, code="invalid", errors=None):
        """This problem; `errors`: (field, code) pairs."""
        self.assertEqual(response.status_code, status, response.content[:500])
        self.assertEqual(response["Content-Type"], "application/problem+json")
        problem = response.json()
        self.assertEqual((problem["status"], problem["code"]), (status, code))
        self.assertEqual(problem["type"], "about:blank")
        self.assertTrue(problem["title"] and problem["detail"])
        if errors is not None:
            found = [(e["field"], e["code"]) for e in problem["errors"]]
            self.assertEqual(found, errors)
        return problem


class BodyTests(RequestTestCase):
    def post(self, body, content_type="application/json", path=PATH, **headers):
        if isinstance(body, str):
            body = body.encode()
        return self.alice.generic("POST", path, body, content_type, **headers)

    def assertRefused(self, body, status=400, code="parse_error", errors=None, **how):
        before = self.everything()
        problem = self.assertProblem(self.post(body, **how), status, code, errors)
        self.assertEqual(self.everything(), before)
        return problem

    def test_what_is_no_json_is_refused(self):
        for body in (
            "{",
            "}",
            "{'last_name': 'King'}",
            '{"last_name": "King",}',
            '{"last_name": King}',
            '{"last_name": "King"} {}',
            "last_name=King",
            "undefined",
            " ",
            '{"last_name": "a\nb"}',
            '{"last_name": 01}',
            b'{"last_name": "\xff"}',
            b'{"last_name": "\xed\xa0\x80"}',
            '{"last_name": "King"}'.encode("utf-16"),
            b"\x00",
            b'{"last_name": "a\x00b"}',
        ):
            with self.subTest(body):
                self.assertRefused(body)

    def test_what_json_leaves_open_is_refused(self):
        deep = '{"last_name": "King", "custom_fields": {"x": %s}}'
        for value in (
            "NaN",
            "Infinity",
            "-Infinity",
            "1e400",
            "-1e400",
            "1e19",
            "-1e300",
            "1.7976931348623157e308",
            str(2**63),
            str(-(2**63) - 1),
            "1" * 400,
            "1" * 100_000,
            '"\\u0000"',
            '"a\\u0000b"',
            '"\\ud800"',
            '"\\udc00\\ud800"',
            '{"\\u0000": 1}',
            '{"\\ud800": 1}',
            '{"a": 1, "a": 1}',
            '{"a": {"b": 1, "b": 2}}',
            "[" * 40 + "]" * 40,
            '{"a":' * 40 + "1" + "}" * 40,
            "[" * 100_000 + "]" * 100_000,
            "[" * 100_000,
        ):
            with self.subTest(value[:40]):
                self.assertRefused(deep % value)
        self.assertRefused('{"last_name": "King", "last_name": "Boole"}')

    def test_the_depth_that_is_allowed_is_stored_and_shown(self):
        value = "x"
        for _ in range(30):
            value = [value]
        record = self.make(custom_fields={"x": value})
        shown = self.alice.get(f"{PATH}{record['id']}/").json()
        self.assertEqual(shown["custom_fields"], {"x": value})

    def test_a_body_that_is_no_object_is_refused(self):
        for body in ("null", "[]", "1", '"x"', "true", "[{}]", '[{"last_name": "K"}]'):
            with self.subTest(body):
                problem = self.assertRefused(body, code="invalid")
                self.assertEqual([e["field"] for e in problem["errors"]], [None])

    def test_no_body_is_an_object_without_fields(self):
        for body in ("", "{}"):
            with self.subTest(body):
                self.assertRefused(
                    body, code="invalid", errors=[(None, "name_required")]
                )

    def test_a_byte_order_mark_does_no_harm(self):
        response = self.post(b"\xef\xbb\xbf" + b'{"last_name": "King"}')
        self.assertEqual(response.status_code, 201)

    def test_surrogate_pairs_are_one_character(self):
        response = self.post('{"last_name": "\\ud83d\\ude00"}')
        self.assertEqual(response.status_code, 201)
        self.assertEqual(response.json()["last_name"], "\N{GRINNING FACE}")

    def test_other_content_types_are_refused(self):
        for content_type in (
            "text/plain",
            "text/xml",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/json-patch+json",
            "nonsense",
            "",
        ):
            with self.subTest(content_type):
                self.assertRefused(
                    '{"last_name": "King"}',
                    415,
                    "unsupported_media_type",
                    content_type=content_type,
                )

    def test_a_charset_in_the_content_type_is_fine(self):
        response = self.post('{"last_name": "King"}', "Application/JSON; charset=utf-8")
        self.assertEqual(response.status_code, 201)

    def test_a_body_that_is_too_large_is_refused(self):
        for body in (
            json.dumps({"last_name": "x" * 3 * 2**20}),
            '{"last_name": "King"}' + " " * 3 * 2**20,
        ):
            with self.subTest(body[:20]):
                self.assertRefused(body, 413, "too_large")

    def test_wrong_values_are_named_each(self):
        record = self.make()
        table = {
            "last_name": [
                (None, "null"),
                (7 * [1], "invalid"),
                ({}, "invalid"),
                (True, "invalid"),
                ("x" * 101, "max_length"),
            ],
            "email": [
                ("x", "invalid"),
                (None, "null"),
                ("a@b", "invalid"),
                ("a" * 250 + "@example.com", "max_length"),
                (["a@example.com"], "invalid"),
            ],
            "status": [
                ("asleep", "invalid_choice"),
                (None, "null"),
                ([], "invalid_choice"),
                ({}, "invalid_choice"),
                (1, "invalid_choice"),
            ],
            "contact_type": [("", "invalid_choice")],
            "website": [
                ("no link", "invalid"),
                ("javascript:alert(1)", "invalid"),
                ("javascript://example.com/%0aalert(1)", "invalid"),
                ("https://" + "x" * 600, "max_length"),
            ],
            "owner": [
                ("me", "invalid"),
                (7, "does_not_exist"),
                ([], "invalid"),
                ({}, "invalid"),
                (True, "does_not_exist"),
                (str(uuid.uuid4()), "does_not_exist"),
            ],
            "tags": [
                ("vip", "not_a_list"),
                ({}, "not_a_list"),
                (None, "null"),
            ],
            "external_ids": [
                ("x", "not_a_dict"),
                ([], "not_a_dict"),
                (None, "null"),
            ],
            "custom_fields": [
                ("x", "not_an_object"),
                ([], "not_an_object"),
                (7, "not_an_object"),
                ({"x": "y" * 20_001}, "max_length"),
            ],
            "notes": [("x" * 50_001, "max_length")],
        }
        for name, values in table.items():
            for value, code in values:
                before = self.everything()
                with self.subTest(f"{name}: {str(value)[:40]}"):
                    for answer in (
                        self.alice.post(PATH, {"last_name": "King", name: value}),
                        self.alice.patch(f"{PATH}{record['id']}/", {name: value}),
                    ):
                        self.assertProblem(answer, 400, errors=[(name, code)])
                        self.assertEqual(self.everything(), before)

    def test_an_empty_text_is_no_owner(self):
        record = self.make()
        before = self.everything()
        for answer in (
            self.alice.post(PATH, {"last_name": "King", "owner": ""}),
            self.alice.patch(f"{PATH}{record['id']}/", {"owner": ""}),
        ):
            self.assertProblem(answer, 400, errors=[("owner", "invalid")])
            self.assertEqual(self.everything(), before)

    def test_wrong_members_of_collections_are_refused(self):
        before = self.everything()
        for fields in (
            {"tags": [7 * [1]]},
            {"tags": [None]},
            {"tags": [""]},
            {"tags": [" "]},
            {"tags": [{}]},
            {"tags": ["x" * 101]},
            {"tags": [str(n) for n in range(51)]},
            {"external_ids": {"x": None}},
            {"external_ids": {"x": ""}},
            {"external_ids": {"": "x"}},
            {"external_ids": {"x": []}},
            {"external_ids": {"x" * 101: "1"}},
            {"external_ids": {str(n): "x" for n in range(51)}},
        ):
            with self.subTest(str(fields)[:60]):
                answer = self.alice.post(PATH, {"last_name": "King", **fields})
                problem = self.assertProblem(answer, 400)
                [name] = fields
                for error in problem["errors"]:
                    self.assertEqual(error["field"].split(".")[0], name)
                self.assertEqual(self.everything(), before)

    def test_several_wrong_fields_are_named_together(self):
        answer = self.alice.post(PATH, {"email": "x", "status": "y", "last_name": None})
        problem = self.assertProblem(answer, 400)
        self.assertEqual(
            {(e["field"], e["code"]) for e in problem["errors"]},
            {("email", "invalid"), ("status", "invalid_choice"), ("last_name", "null")},
        )

    def test_a_taken_unique_value_is_a_conflict(self):
        self.make(email="ada@example.com")
        other = self.make(last_name="Boole")
        before = self.everything()
        for answer in (
            self.alice.post(PATH, {"email": "ADA@example.com"}),
            self.alice.patch(f"{PATH}{other['id']}/", {"email": "ada@example.com"}),
        ):
            self.assertProblem(answer, 409, "unique", [("email", "unique")])
            self.assertEqual(self.everything(), before)

    def test_a_taken_unique_value_stands_in_the_way_of_restoring(self):
        first = self.make(email="ada@example.com")
        self.alice.delete(f"{PATH}{first['id']}/")
        self.make(email="ada@example.com")
        before = self.everything()
        answer = self.alice.post(f"{PATH}{first['id']}/restore/")
        self.assertProblem(answer, 409, "unique", [("email", "unique")])
        self.assertEqual(self.everything(), before)


class ValueTests(RequestTestCase):
    """Values that are allowed come back as they were sent."""

    def test_custom_fields_come_back_as_they_were_sent(self):
        for value in (
            2**63 - 1,
            -(2**63) + 1,
            2**53 + 1,
            0,
            0.1,
            -1.5,
            1e15,
            9e18,
            -9e18,
            5e-324,
            1234567890.125,
            True,
            False,
            "",
            "é\u2028\N{GRINNING FACE}",
            [],
            {},
            [1, [2, {"a": None}]],
            "x" * 19_000,
            {"é": {"": 1}},
        ):
            with self.subTest(str(value)[:40]):
                made = self.make(custom_fields={"x": value})
                self.assertEqual(made["custom_fields"], {"x": value})
                address = f"{PATH}{made['id']}/"
                for answer in (
                    self.alice.get(address),
                    self.alice.get(f"{address}history/"),
                    self.alice.get(PATH, {"ordering": "-created_at", "page_size": 1}),
                    self.alice.patch(address, {"job_title": "Countess"}),
                    self.alice.patch(address, {"custom_fields": {"x": None}}),
                    self.alice.get(f"{address}history/"),
                ):
                    self.assertEqual(answer.status_code, 200, answer.content[:200])
                self.assertEqual(
                    self.alice.get(f"{address}history/").json()["results"][0]["before"],
                    {"custom_fields": {"x": value}},
                )

    def test_a_record_is_shown_as_its_creation_said(self):
        made = self.make(custom_fields={"x": 1e15, "longer": 1, "a": [1.5]})
        shown = self.alice.get(f"{PATH}{made['id']}/").json()
        self.assertEqual(shown, made)

    def test_texts_come_back_as_they_were_sent(self):
        texts = {
            "first_name": "<script>alert(1)</script>",
            "last_name": "O'Neil; DROP TABLE",
            "company_name": "%_\\ \u202e\N{GRINNING FACE}",
            "notes": "line 1\nline 2\ttab",
            "city": "{{ 7 * 7 }}",
        }
        made = self.make(**texts)
        shown = self.alice.get(f"{PATH}{made['id']}/").json()
        self.assertEqual({name: shown[name] for name in texts}, texts)


class QueryTests(RequestTestCase):
    def setUp(self):
        super().setUp()
        self.record = self.make(email="ada@example.com")

    def assertBad(self, query: str, field: str, code: str | None = None, path=PATH):
        """The list refuses the query, naming this parameter alone."""
        problem = self.assertProblem(self.alice.get(f"{path}?{query}"), 400)
        self.assertEqual({e["field"] for e in problem["errors"]}, {field})
        if code:
            self.assertEqual({e["code"] for e in problem["errors"]}, {code})

    def test_bad_moments_are_refused(self):
        for value in (
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "0000-01-01",
            "0000-01-01T00:00:00Z",
            "99999-01-01",
            "99999-01-01T00:00:00Z",
            "2026-13-01",
            "2026-02-30T00:00:00Z",
            "2026-01-01T25:00:00Z",
            "2026-01-01T00:00:00+99:00",
            "yesterday",
            "1",
            "-1",
            "1e9",
            "\0",
            "2026-01-01\0",
        ):
            for lookup in ("gt", "gte", "lt", "lte"):
                name = f"created_at__{lookup}"
                with self.subTest(f"{name}={value}"):
                    self.assertBad(f"{name}={quote(value)}", name, "invalid")

    def test_moments_at_the_edges_are_understood(self):
        for value, count in (
            ("0001-01-01T00:00:00Z", 1),
            ("0001-01-01T14:00:00+14:00", 1),
            ("9999-12-31T23:59:59Z", 0),
        ):
            with self.subTest(value):
                listed = self.alice.get(PATH, {"created_at__gte": value})
                self.assertEqual(listed.status_code, 200, listed.content)
                self.assertEqual(listed.json()["count"], count)

    def test_bad_ids_are_refused(self):
        for value in ("x", "1", "\0", "me,me", "00000000-0000", "{}", "null", "é"):
            for name in ("owner", "owner__in", "id__in"):
                with self.subTest(f"{name}={value}"):
                    self.assertBad(f"{name}={quote(value)}", name)

    def test_bad_choices_are_refused(self):
        for name in ("status", "status__in", "contact_type", "contact_type__in"):
            for value in ("asleep", "active,asleep", "ACTIVE", "\0", "null"):
                with self.subTest(f"{name}={value}"):
                    self.assertBad(f"{name}={quote(value)}", name, "invalid_choice")

    def test_bad_numbers_are_refused(self):
        for name in ("size", "size__gte", "size__in"):
            for value in (
                "x",
                "NaN",
                "Infinity",
                "1e400",
                "1e999999999",
                str(2**31),
                str(-(2**31) - 1),
                "9" * 1000,
                "1.5",
                "1e-999999999",
                "0x1",
                "\0",
            ):
                with self.subTest(f"{name}={value[:30]}"):
                    query = f"{name}={quote(value)}"
                    self.assertBad(query, name, path="/api/companies/")

    def test_bad_yes_or_no_is_refused(self):
        for name in ("owner__isnull", "deleted"):
            for value in ("maybe", "2", "\0", "yes and no"):
                with self.subTest(f"{name}={value}"):
                    self.assertBad(f"{name}={quote(value)}", name)

    def test_texts_with_nul_are_refused(self):
        for name in (
            "first_name",
            "first_name__icontains",
            "first_name__in",
            "email",
            "email__icontains",
            "notes__icontains",
            "tags",
            "search",
        ):
            with self.subTest(name):
                self.assertBad(f"{name}=a%00b", name)

    def test_texts_that_are_not_utf_8_find_nothing(self):
        for name in ("first_name", "first_name__icontains", "tags", "search"):
            with self.subTest(name):
                listed = self.alice.get(f"{PATH}?{name}=%ff%fe%ed%a0%80")
                self.assertEqual(listed.status_code, 200, listed.content)
                self.assertEqual(listed.json()["count"], 0)

    def test_empty_filters_are_refused(self):
        for name in (
            "first_name",
            "first_name__in",
            "email",
            "owner",
            "owner__in",
            "owner__isnull",
            "status",
            "status__in",
            "created_at__gte",
            "tags",
        ):
            for value in ("", "%20"):
                with self.subTest(f"{name}={value}"):
                    self.assertBad(f"{name}={value}", name, "blank")
        for value in ("", "%20"):
            with self.subTest(f"size={value}"):
                self.assertBad(f"size={value}", "size", "blank", "/api/companies/")

    def test_commas_around_nothing_are_refused(self):
        for name in ("owner__in", "status__in", "id__in"):
            for value in (",", ",,", "1,,2"):
                with self.subTest(f"{name}={value}"):
                    self.assertBad(f"{name}={value}", name)
        for value in (",", ",,", "1,,2"):
            with self.subTest(f"size__in={value}"):
                query = f"size__in={value}"
                self.assertBad(query, "size__in", "blank", "/api/companies/")

    def test_repeated_parameters_are_refused(self):
        for name, value in (
            ("first_name", "Ada"),
            ("owner", "me"),
            ("page", "1"),
            ("page_size", "1"),
            ("ordering", "id"),
            ("search", "x"),
            ("fields", "id"),
            ("expand", "owner"),
            ("deleted", "true"),
            ("cursor", ""),
        ):
            with self.subTest(name):
                self.assertBad(f"{name}={value}&{name}={value}", name, "repeated")

    def test_too_many_values_are_refused(self):
        ids = ",".join(str(uuid.uuid4()) for _ in range(201))
        for name, value in (
            ("id__in", ids),
            ("owner__in", ids),
            ("first_name__in", "a," * 200 + "a"),
            ("status__in", "active," * 200 + "active"),
        ):
            with self.subTest(name):
                self.assertBad(f"{name}={value}", name, "max_length")
        numbers = f"size__in={'1,' * 200}1"
        self.assertBad(numbers, "size__in", "max_length", "/api/companies/")

    def test_as_many_values_as_are_allowed_work(self):
        ids = ",".join([self.record["id"]] + [str(uuid.uuid4()) for _ in range(199)])
        listed = self.alice.get(PATH, {"id__in": ids})
        self.assertEqual(listed.json()["count"], 1)

    def test_unknown_parameters_are_refused(self):
        for name in (
            "Status",
            "status__exact",
            "status__regex",
            "owner__email",
            "owner__password",
            "organization",
            "organization__in",
            "custom_fields",
            "custom_fields__x",
            "external_ids",
            "version",
            "first_name__startswith",
            "first_name__",
            "__in",
            "format",
            "id",
            "pk",
            "dry_run",
            "\0",
            "é",
        ):
            with self.subTest(name):
                self.assertBad(f"{quote(name)}=1", name, "unknown_parameter")

    def test_a_very_long_query_is_refused_or_answered(self):
        for query in ("search=" + "a" * 20_000, "search=" + "a%20" * 3000):
            with self.subTest(query[:12]):
                status = self.alice.get(f"{PATH}?{query}").status_code
                self.assertIn(status, (200, 400, 414))

    def test_many_parameters_are_refused(self):
        query = "&".join(f"x{n}=1" for n in range(1100))
        self.assertProblem(
            self.alice.get(f"{PATH}?{query}"),
            400,
            self.alice.get(f"{PATH}?{query}").json()["code"],
        )

    def test_bad_orderings_are_refused(self):
        for value in (
            "x",
            "-x",
            "--created_at",
            "created_at,x",
            "created_at,",
            ",",
            "-",
            " ",
            "owner",
            "owner__email",
            "custom_fields",
            "tags",
            "?",
            "password",
            "organization",
            "pk",
            "\0",
            "created_at desc",
        ):
            with self.subTest(value):
                self.assertBad(
                    f"ordering={quote(value)}", "ordering", "unknown_ordering"
                )
        for value in ("created_at,created_at", "created_at,-created_at", "id,-id"):
            with self.subTest(value):
                self.assertBad(f"ordering={value}", "ordering", "repeated")

    def test_bad_fields_and_expansions_are_refused(self):
        detail = f"{PATH}{self.record['id']}/"
        for path in (PATH, detail):
            for value in ("x", "", "id,", ",", "*", "password", "organization", "\0"):
                with self.subTest(f"{path} fields={value}"):
                    self.assertBad(
                        f"fields={quote(value)}", "fields", "unknown_field", path
                    )
            for value in ("x", "", "owner,", "organization", "id", "owner.role", "\0"):
                with self.subTest(f"{path} expand={value}"):
                    self.assertBad(
                        f"expand={quote(value)}", "expand", "unknown_field", path
                    )
            with self.subTest(f"{path} expand outside of fields"):
                self.assertBad("fields=id&expand=owner", "expand", None, path)

    def test_bad_pages_are_refused(self):
        for name in ("page", "page_size"):
            for value in (
                *(
                    "0",
                    "-1",
                    "1.5",
                    "x",
                    "",
                    " ",
                    "1e3",
                    "+1",
                    "\u0661",
                    "\u00b2",
                    "\0",
                ),
                *("9" * 30, "0x1", "1 1", "last"),
            ):
                with self.subTest(f"{name}={value}"):
                    self.assertBad(f"{name}={quote(value)}", name)
        self.assertBad("page_size=201", "page_size", "max_value")
        self.assertBad("page=1&cursor=", "page")

    def test_a_page_behind_the_last_is_not_found(self):
        for number in (2, 999_999_999):
            with self.subTest(number):
                answer = self.alice.get(PATH, {"page": number})
                self.assertProblem(answer, 404, "page_not_found")

    def test_the_first_page_of_nothing_is_empty(self):
        answer = self.alice.get(PATH, {"search": "nobody", "page": 1})
        self.assertEqual(
            answer.json(),
            {
                **{"count": 0, "capped": False, "next": None, "previous": None},
                "results": [],
            },
        )

    def test_parameters_of_writes_are_checked_too(self):
        detail = f"{PATH}{self.record['id']}/"
        before = self.everything()
        for method, path in (
            ("post", PATH),
            ("patch", detail),
            ("put", detail),
            ("delete", detail),
            ("post", f"{detail}restore/"),
        ):
            for query, field, code in (
                ("surprise=1", "surprise", "unknown_parameter"),
                ("dry_run=perhaps", "dry_run", "invalid"),
                ("dry_run=", "dry_run", "invalid"),
                ("dry_run=true&dry_run=false", "dry_run", "repeated"),
                ("page=1", "page", "unknown_parameter"),
            ):
                with self.subTest(f"{method} {path}?{query}"):
                    call = getattr(self.alice, method)
                    answer = call(f"{path}?{query}", {"last_name": "Boole"})
                    self.assertProblem(answer, 400, errors=[(field, code)])
                    self.assertEqual(self.everything(), before)

    def test_parameters_of_other_lists_are_checked_too(self):
        for path in (
            "/api/jobs/",
            "/api/imports/",
            "/api/change-sets/",
            f"{PATH}{self.record['id']}/history/",
        ):
            for query, field in (
                ("surprise=1", "surprise"),
                ("page=0", "page"),
                ("page_size=1000", "page_size"),
                ("cursor=x", "cursor"),
                ("search=x", "search"),
            ):
                with self.subTest(f"{path}?{query}"):
                    self.assertBad(query, field, None, path)


class CursorTests(RequestTestCase):
    def setUp(self):
        super().setUp()
        for n in range(4):
            self.make(last_name=f"King {n}")
        self.page = self.alice.get(PATH, {"cursor": "", "page_size": 2}).json()
        self.cursor = unquote(self.page["next"].split("cursor=")[1].split("&")[0])

    def get(self, cursor, path=PATH, **query):
        return self.alice.get(path, {"cursor": cursor, "page_size": 2, **query})

    def assertBad(self, response, code="invalid"):
        self.assertProblem(response, 400, errors=[("cursor", code)])

    def test_the_cursor_works_untouched(self):
        response = self.get(self.cursor)
        self.assertEqual(response.status_code, 200)
        self.assertEqual(len(response.json()["results"]), 2)

    def test_the_same_page_is_the_same_at_any_time(self):
        query = {"cursor": self.cursor, "page_size": 1}
        answer = self.alice.get(PATH, query)
        self.assertIsNotNone(answer.json()["next"])
        with mock.patch("time.time", return_value=time.time() + 1000):
            later = self.alice.get(PATH, query)
        self.assertEqual(later.content, answer.content)
        self.assertEqual(later["ETag"], answer["ETag"])

    def test_a_cursor_with_any_character_changed_is_refused(self):
        cursor = self.cursor
        for place, character in enumerate(cursor):
            for other in ("A", "b", ":", "%", "\0"):
                if other != character:
                    changed = cursor[:place] + other + cursor[place + 1 :]
                    self.assertBad(self.get(changed))

    def test_a_cursor_cut_short_or_made_up_is_refused(self):
        cursor = self.cursor
        for text in (
            *("x", " ", "0", "é", "\0", ":", "::", ":::", "..", "null", "[]"),
            *(cursor[:-1], cursor[1:], cursor + "x", cursor * 2, cursor.upper()),
            *(cursor.rsplit(":", 1)[0], "A" * 10_000),
        ):
            with self.subTest(text[:30]):
                self.assertBad(self.get(text))

    def test_a_cursor_belongs_to_its_query(self):
        cursor = self.cursor
        for query in (
            {"status": "active"},
            {"ordering": "created_at"},
            {"search": "King"},
            {"deleted": "true"},
            {"fields": "id"},
        ):
            with self.subTest(query):
                self.assertBad(self.get(cursor, **query), "wrong_query")
        for path in ("/api/tags/", "/api/change-sets/"):
            with self.subTest(path):
                self.assertBad(self.get(cursor, path), "wrong_query")

    def test_another_reader_gets_nothing_of_others_by_a_cursor(self):
        client = client_of(self.cast.stranger)
        answer = client.get(PATH, {"cursor": self.cursor, "page_size": 2})
        self.assertEqual(answer.json()["results"], [])


class HeaderTests(RequestTestCase):
    def test_bad_idempotency_keys_are_refused(self):
        before = self.everything()
        for key in ("", " ", "a b", "x" * 256, "é", "a\tb", "\x7f"):
            with self.subTest(key):
                answer = self.alice.post(
                    PATH, {"last_name": "King"}, HTTP_IDEMPOTENCY_KEY=key
                )
                self.assertProblem(answer, 400, errors=[("Idempotency-Key", "invalid")])
                self.assertEqual(self.everything(), before)

    def test_bad_if_match_is_refused(self):
        record = self.make()
        before = self.everything()
        for header in ("", "1", "abc", "'1'", '"1', "W/1", ",", "é"):
            for method in ("patch", "put", "delete"):
                with self.subTest(f"{method} {header}"):
                    answer = getattr(self.alice, method)(
                        f"{PATH}{record['id']}/",
                        {"last_name": "Boole"},
                        HTTP_IF_MATCH=header,
                    )
                    self.assertProblem(answer, 400, errors=[("If-Match", "invalid")])
                    self.assertEqual(self.everything(), before)

    def test_if_match_of_another_version_is_refused(self):
        record = self.make()
        before = self.everything()
        for header in ('""', '"0"', '"2"', '"-1"', '"1.0"', '"x"', '"11-x", "12"'):
            with self.subTest(header):
                answer = self.alice.patch(
                    f"{PATH}{record['id']}/",
                    {"last_name": "Boole"},
                    HTTP_IF_MATCH=header,
                )
                self.assertProblem(answer, 412, "stale")
                self.assertEqual(self.everything(), before)

    def test_if_match_of_this_version_is_accepted_however_it_is_written(self):
        record = self.make()
        for n, form in enumerate(
            ('"{}"', 'W/"{}"', '"{}-anything"', '"x", "{}"', "*"), start=1
        ):
            with self.subTest(form):
                answer = self.alice.patch(
                    f"{PATH}{record['id']}/",
                    {"last_name": f"King {n}"},
                    HTTP_IF_MATCH=form.format(n),
                )
                self.assertEqual(answer.status_code, 200, answer.content)
                self.assertEqual(answer.json()["version"], n + 1)

    def test_odd_if_none_match_is_not_a_match(self):
        record = self.make()
        for header in ("", "x", '"', "é", '"x"', "W/"):
            with self.subTest(header):
                answer = self.alice.get(
                    f"{PATH}{record['id']}/", HTTP_IF_NONE_MATCH=header
                )
                self.assertEqual((answer.status_code, answer.json()), (200, record))

    def test_if_none_match_of_anything_is_a_match(self):
        self.make()
        answer = self.alice.get(PATH, HTTP_IF_NONE_MATCH="*")
        self.assertEqual((answer.status_code, answer.content), (304, b""))

    def test_a_sensible_request_id_is_kept_and_another_replaced(self):
        for given, kept in (
            ("abc-1.2:3", True),
            ("x" * 64, True),
            ("x" * 65, False),
            ("a b", False),
            ("é", False),
            ("", False),
            ("a\nb", False),
        ):
            with self.subTest(given):
                answer = self.alice.get(PATH, HTTP_X_REQUEST_ID=given)
                self.assertEqual(answer["X-Request-ID"] == given, kept)
                self.assertRegex(answer["X-Request-ID"], r"\A[\w.:-]{1,64}\Z")

    def test_long_and_odd_reasons_are_kept_as_far_as_they_fit(self):
        for reason in ("x" * 1000, "é", ""):
            with self.subTest(reason[:9]):
                answer = self.alice.post(
                    PATH, {"last_name": "King"}, HTTP_X_CHANGE_REASON=reason
                )
                self.assertEqual(answer.status_code, 201, answer.content)
                change = Change.objects.get(record_id=answer.json()["id"])
                self.assertEqual(change.change_set.reason, reason[:500])

    def test_any_accept_header_gets_json(self):
        for accept in ("text/html", "application/xml", "nonsense", "image/*;q=x", ""):
            with self.subTest(accept):
                answer = self.alice.get(PATH, HTTP_ACCEPT=accept)
                self.assertEqual(
                    (answer.status_code, answer["Content-Type"]),
                    (200, "application/json"),
                )


def headers_of(document) -> set[str]:
    """The headers of requests that an OpenAPI document names."""
    if isinstance(document, dict):
        found = set().union(*map(headers_of, document.values()))
        return found | {document["name"]} if document.get("in") == "header" else found
    if isinstance(document, list):
        return set().union(*map(headers_of, document))
    return set()


class CorsTests(RequestTestCase):
    """Pages of other origins: those that are named may ask, with our headers."""

    ORIGIN = "https://app.example.com"

    def preflight(self, origin, path=PATH):
        return self.alice.options(
            path,
            HTTP_ORIGIN=origin,
            HTTP_ACCESS_CONTROL_REQUEST_METHOD="PATCH",
            HTTP_ACCESS_CONTROL_REQUEST_HEADERS="if-match,idempotency-key",
        )

    def test_a_page_of_an_origin_that_is_named_may_ask(self):
        with override_settings(CORS_ALLOWED_ORIGINS=[self.ORIGIN]):
            answer = self.preflight(self.ORIGIN)
            self.assertEqual(answer.status_code, 200)
            self.assertEqual(answer["Access-Control-Allow-Origin"], self.ORIGIN)
            self.assertIn("PATCH", answer["Access-Control-Allow-Methods"])
            allowed = answer["Access-Control-Allow-Headers"]
            for name in ("authorization", "if-match", "idempotency-key"):
                self.assertIn(name, allowed)
            read = self.alice.get(PATH, HTTP_ORIGIN=self.ORIGIN)
            self.assertEqual(read["Access-Control-Allow-Origin"], self.ORIGIN)
            self.assertIn("etag", read["Access-Control-Expose-Headers"].lower())

    def test_each_header_that_the_documents_name_may_come_from_there(self):
        named = set()
        for path in ("/api/schema/?format=json", "/api/auth/openapi.json"):
            answer = self.alice.get(path)
            self.assertEqual(answer.status_code, 200)
            named |= {name.lower() for name in headers_of(json.loads(answer.content))}
        self.assertLessEqual(
            {"if-match", "idempotency-key", "x-session-token"}, named, "found nothing"
        )
        self.assertLessEqual(named, set(settings.CORS_ALLOW_HEADERS))

    def test_pages_of_other_origins_may_not(self):
        with override_settings(CORS_ALLOWED_ORIGINS=[self.ORIGIN]):
            for origin in ("https://evil.example.com", "null", f"{self.ORIGIN}.evil"):
                with self.subTest(origin):
                    answer = self.preflight(origin)
                    self.assertNotIn("Access-Control-Allow-Origin", answer)
            outside = self.preflight(self.ORIGIN, "/admin/")
            self.assertNotIn("Access-Control-Allow-Origin", outside)


class AddressTests(RequestTestCase):
    def test_addresses_of_nothing_have_one_body(self):
        nothing = self.alice.get(f"{PATH}{uuid.uuid4()}/")
        self.assertProblem(nothing, 404, "not_found")
        for path in (
            f"{PATH}not-a-uuid/",
            f"{PATH}1/",
            f"{PATH}%00/",
            f"{PATH}{uuid.uuid4()}x/",
            f"{PATH}{uuid.uuid4()}/nothing/",
            f"{PATH}{uuid.uuid4()}/history/",
            f"/api/jobs/{uuid.uuid4()}/",
            f"/api/imports/{uuid.uuid4()}/",
            f"/api/change-sets/{uuid.uuid4()}/",
            "/api/change-sets/me/",
            "/api/nothing/",
            "/api/",
            "/api/contacts//",
            "/api/%ff/",
        ):
            with self.subTest(path):
                answer = self.alice.get(path)
                self.assertProblem(answer, 404, "not_found")
                self.assertEqual(answer.content, nothing.content)

    def test_methods_that_an_address_does_not_have_are_refused(self):
        record = self.make()
        detail = f"{PATH}{record['id']}/"
        change_set = str(ChangeSet.objects.latest("created_at").pk)
        before = self.everything()
        for path, methods in (
            (PATH, ("put", "patch", "delete")),
            (detail, ("post",)),
            (f"{detail}history/", ("post", "put", "patch", "delete")),
            (f"{detail}restore/", ("get", "put", "patch", "delete")),
            ("/api/jobs/", ("post", "put", "patch", "delete")),
            ("/api/imports/", ("put", "patch", "delete")),
            ("/api/change-sets/", ("post", "put", "patch", "delete")),
            (f"/api/change-sets/{change_set}/", ("post", "put", "patch", "delete")),
            (f"/api/change-sets/{change_set}/undo/", ("get", "put", "delete")),
            ("/api/health/", ("post", "put", "patch", "delete")),
            ("/api/users/me/", ("post", "put", "delete")),
        ):
            for method in (*methods, "options", "trace"):
                with self.subTest(f"{method} {path}"):
                    answer = self.alice.generic(method.upper(), path)
                    self.assertProblem(answer, 405, "method_not_allowed")
                    self.assertEqual(self.everything(), before)

    def test_head_is_answered_like_get_without_a_body(self):
        record = self.make()
        for path in (PATH, f"{PATH}{record['id']}/", "/api/jobs/", "/api/imports/"):
            with self.subTest(path):
                head = self.alice.head(path)
                self.assertEqual((head.status_code, head.content), (200, b""))
                if "ETag" in head:
                    self.assertEqual(head["ETag"], self.alice.get(path)["ETag"])
