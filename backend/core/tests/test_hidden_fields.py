"""A text that stands in hidden fields alone is in no answer of any address."""

from http import HTTPStatus
from urllib.parse import urlencode

from django.test import tag
from django.urls import URLPattern, get_resolver

from contact_management.models import Contact
from core.models import ChangeSet, Job
from core.testing import MARKER, client_of, system_changes
from core.tests.test_field_rights import PATH, FieldRightsTestCase, ImportTests
from core.views.search import SearchViewSet

CONTACTS = "/admin/contact_management/contact/"
HIDDEN = (
    *("notes", "external_ids", "company_name", "phone", "tags"),
    "custom_fields.secret",
)
# What queries ask for: it finds the marker, but is none where it is echoed.
PART = MARKER[:-3]


@tag("once-on-servers")
class MarkerTests(FieldRightsTestCase):
    def setUp(self):
        super().setUp()
        self.user = self.person(HIDDEN, ["city"], is_staff=True)
        self.auditor = self.person(name="auditor", is_staff=True)
        marked = {
            "notes": MARKER,
            "external_ids": {"crm": MARKER},
            "company_name": MARKER,
            "phone": MARKER,
            "tags": [MARKER],
            "custom_fields": {"secret": MARKER, "size": 3},
        }
        blank = {name: type(value)() for name, value in marked.items()}
        with ChangeSet.open(actor=self.cast.manager, source="api") as changes:
            self.contact, gone = Contact(), Contact()
            changes.save(self.contact, last_name="King", **marked)
            changes.save(gone, last_name="Gone", **marked)
        self.creation = changes.change_set
        self.edit(self.contact, **blank)
        self.edit(self.contact, first_name="Ada", **marked)
        with system_changes(self.cast.organization) as changes:
            changes.delete(self.stored(gone))
        text = f"Last name,Notes,Email\nKing,{MARKER},no e-mail\nQueen,{MARKER},\n"
        shown = ImportTests().run_import(self.manager, text)
        self.assertEqual((shown["created"], shown["failed"]), (1, 1))
        self.job = Job.objects.get()

    def ids(self) -> list:
        sets = ChangeSet.objects.filter(changes__record_type="contact").distinct()
        records = (*Contact.objects.all(), *sets, self.job, self.user, self.user.role)
        return [record.pk for record in records]

    def routes(self, resolver=None, before="/"):
        """(route, view class) of every address."""
        for entry in (resolver or get_resolver()).url_patterns:
            route = before + str(entry.pattern)
            if isinstance(entry, URLPattern):
                yield route, getattr(entry.callback, "cls", None)
            else:
                yield from self.routes(entry, route)

    def questions(self):
        """(address, query) of everything that can be read, by every parameter."""
        for route, view in self.routes():
            if not route.startswith("/api/") or route.startswith("/api/auth/"):
                continue
            if "<uuid:pk>" in route:
                for pk in self.ids():
                    address = route.replace("<uuid:pk>", str(pk))
                    for query in (
                        {},
                        {"cursor": "", "page_size": 1},
                        {"expand": "owner"},
                    ):
                        yield address, query
            elif "<" not in route:
                for query in self.queries(view):
                    yield route, query

    def queries(self, view) -> list[dict]:
        """Every kind of query that a list knows, with each of its names."""
        if view is SearchViewSet:
            return [{"q": PART}, {"q": "king"}, {"q": "ada king"}, {"q": "kong"}]
        if not hasattr(view, "query_parameters"):
            return [{}]
        queries = [{}, {"page_size": 1}, {"page_size": 1, "cursor": ""}]
        filterset = getattr(view, "filterset_class", None)
        for name in filterset.base_filters if filterset else ():
            queries += [{name: value} for value in (PART, "true")]
        if not hasattr(view, "representation"):
            return queries
        for name in view.all_fields:
            queries.append({"fields": f"id,{name}"})
            queries.append({"expand": name})
            queries.append({"ordering": name})
            queries.append({"ordering": f"-{name}", "cursor": "", "page_size": 1})
        return [*queries, {"search": PART}, {"deleted": "true"}]

    def answers(self, client, addresses=None):
        """(address, query, answer) of every question, and of what comes after it.

        Where nothing is found, nothing more is asked. `addresses`: ask these alone.
        """
        missing = set()
        for address, query in self.questions():
            if address in missing or (addresses and address not in addresses):
                continue
            response = client.get(address, query)
            if response.status_code == HTTPStatus.NOT_FOUND:
                missing.add(address)
            yield address, query, self.content(response)
            following = None
            if response.headers.get("Content-Type") == "application/json":
                answer = response.json()
                following = isinstance(answer, dict) and answer.get("next")
            if following:
                yield following, {}, self.content(client.get(following))

    def content(self, response) -> str:
        return f"{response.headers}{b''.join(response).decode(errors='replace')}"

    def test_no_answer_holds_the_marker(self):
        told = []
        asked = set()
        for address, query, content in self.answers(client_of(self.user)):
            asked.add(f"{address}?{urlencode(query)}")
            if MARKER in content:
                told.append(f"{address}?{urlencode(query)}")
        self.assertEqual(told, [])
        self.assertGreater(len(asked), 500)

    def test_the_same_questions_tell_it_to_who_may_see_it(self):
        expected = {
            PATH,
            self.address(self.contact),
            self.address(self.contact, "history/"),
            "/api/audit-log/",
            "/api/audit-log/export/",
            f"/api/jobs/{self.job.pk}/errors/",
            f"/api/imports/{self.job.pk}/",
        }
        answers = self.answers(client_of(self.auditor), expected)
        told = {address for address, _, content in answers if MARKER in content}
        self.assertEqual(expected - told, set())

    def test_no_search_finds_it(self):
        query = {"search": PART}
        self.assertEqual(client_of(self.user).get(PATH, query).json()["count"], 0)
        self.assertEqual(self.manager.get(PATH, query).json()["count"], 1)

    def test_the_search_over_all_types_finds_nothing_by_a_hidden_field(self):
        client = client_of(self.user)
        for text, found in ((PART, 0), ("king", 1), ("ada king", 1)):
            with self.subTest(text):
                answer = client.get("/api/search/", {"q": text, "types": "contact"})
                hits = answer.json()["results"]
                self.assertEqual(len(hits), found)
                self.assertNotIn(MARKER, self.content(answer))
                for hit in hits:
                    self.assertEqual(
                        list(hit["record"]), ["id", "first_name", "last_name", "email"]
                    )
        told = self.manager.get("/api/search/", {"q": PART, "types": "contact"})
        self.assertIn(MARKER, self.content(told))

    def test_where_no_field_is_left_to_search_nothing_is_found(self):
        names = (
            *("first_name", "last_name", "email", "company_name"),
            *("phone", "mobile", "city"),
        )
        client = client_of(self.person(names, name="blind"))
        self.assertEqual(client.get(PATH, {"search": "King"}).json()["count"], 0)
        self.assertEqual(client.get(PATH).json()["count"], 2)

    def test_no_answer_to_a_write_holds_it(self):
        client = client_of(self.user)
        address = self.address(self.contact)
        undo = f"/api/change-sets/{self.creation.pk}/undo/"
        stale = {"HTTP_IF_MATCH": '"1-0"'}
        for status, response in (
            (412, client.patch(address, {"first_name": "B"}, **stale)),
            (412, client.put(address, {"last_name": "B"}, **stale)),
            (412, client.delete(address, **stale)),
            (403, client.patch(address, {"city": "Zug"})),
            (400, client.patch(address, {"notes": ""})),
            (409, client.post(undo)),
            (200, client.post(undo, {"partial": True})),
            (200, client.patch(address, {"first_name": "B"})),
            (200, client.put(address, {"last_name": "B"})),
        ):
            self.assertEqual(response.status_code, status, response.content)
            self.assertNotIn(MARKER, self.content(response))
        stored = self.stored(self.contact)
        self.assertEqual((stored.last_name, stored.notes), ("B", MARKER))
        self.assertEqual(stored.custom_fields, {"secret": MARKER})

    def test_no_page_of_the_admin_holds_it(self):
        record = f"{CONTACTS}{self.contact.pk}"
        sets = ChangeSet.objects.filter(changes__record_id=self.contact.pk)
        pages = (
            *(CONTACTS, f"{CONTACTS}?q=King", f"{CONTACTS}?o=1"),
            *(f"{CONTACTS}?deleted=yes", f"{CONTACTS}add/"),
            *(f"{record}/{page}/" for page in ("change", "history", "delete")),
            "/admin/core/changeset/",
            *(
                f"/admin/core/changeset/{pk}/change/"
                for pk in sets.values_list("pk", flat=True).distinct()
            ),
            f"/admin/core/job/{self.job.pk}/change/",
        )
        self.client.force_login(self.user)
        for path in pages:
            with self.subTest(path):
                self.assertNotContains(self.client.get(path), MARKER)
        self.client.force_login(self.auditor)
        told = [p for p in pages if MARKER in self.client.get(p).content.decode()]
        self.assertIn(f"{record}/change/", told)
        self.assertIn(f"{record}/history/", told)
        self.assertTrue([p for p in told if "changeset" in p])


class AdminTests(FieldRightsTestCase):
    def sign_in(self, hidden=(), read_only=()):
        user = self.person(hidden, read_only, is_staff=True)
        self.client.force_login(user)

    def form(self, path) -> dict:
        """What a browser would send back of the form on this page, unchanged."""
        form = self.client.get(path).context["adminform"].form
        values = {bound.html_name: bound.value() for bound in form}
        return {name: value for name, value in values.items() if value is not None}

    def change_page(self, contact) -> str:
        return f"{CONTACTS}{contact.pk}/change/"

    def test_a_hidden_field_is_in_no_form_list_filter_or_search(self):
        self.make(email="ada@example.com", status="inactive")
        self.sign_in(["email", "status"])
        shown = self.client.get(CONTACTS).context["cl"]
        self.assertNotIn("email", shown.list_display)
        self.assertNotIn("status", shown.list_filter)
        self.assertNotIn("email", shown.search_fields)
        found = self.client.get(CONTACTS, {"q": "ada@example.com"})
        self.assertEqual(found.context["cl"].result_count, 0)
        for query in ({"email": "ada@example.com"}, {"status__exact": "inactive"}):
            with self.subTest(query), self.assertLogs("django.security", "ERROR"):
                self.assertEqual(self.client.get(CONTACTS, query).status_code, 400)
        form = self.client.get(f"{CONTACTS}add/").context["adminform"].form
        self.assertIn("last_name", form.fields)
        self.assertTrue(form.fields.keys().isdisjoint(("email", "status")))

    def test_a_name_that_is_made_of_a_hidden_field_is_not_told(self):
        contact = self.make(last_name="", email="ada@example.com")
        self.sign_in(["email"])
        for path in (CONTACTS, self.change_page(contact)):
            self.assertNotContains(self.client.get(path), "ada@example.com")
        sent = {"action": "delete_selected", "_selected_action": [str(contact.pk)]}
        self.assertNotContains(self.client.post(CONTACTS, sent), "ada@example.com")

    def test_a_save_keeps_what_the_form_does_not_show(self):
        contact = self.make(
            last_name="",
            email="ada@example.com",
            notes="secret",
            city="Zug",
            custom_fields={"salary": 7, "size": 3},
        )
        self.sign_in(["email", "notes", "custom_fields.salary"], ["city"])
        path = self.change_page(contact)
        form = self.form(path)
        self.assertNotIn("city", form)
        self.assertContains(self.client.get(path), "Zug")
        sent = {**form, "first_name": "Ada", "custom_fields": '{"size": 4}'}
        response = self.client.post(path, sent)
        errors = response.context and response.context["errors"]
        self.assertEqual(response.status_code, 302, errors)
        stored = self.stored(contact)
        self.assertEqual(
            (stored.first_name, stored.email, stored.notes, stored.city),
            ("Ada", "ada@example.com", "secret", "Zug"),
        )
        self.assertEqual(stored.custom_fields, {"salary": 7, "size": 4})
        self.assertEqual(stored.version, 2)

    def test_a_forged_form_writes_no_field_that_is_not_shown(self):
        contact = self.make(notes="secret", city="Zug")
        self.sign_in(["notes"], ["city"])
        path = self.change_page(contact)
        forged = {**self.form(path), "notes": "x", "city": "x", "first_name": "Ada"}
        self.client.post(path, forged)
        stored = self.stored(contact)
        self.assertEqual(
            (stored.first_name, stored.notes, stored.city), ("Ada", "secret", "Zug")
        )

    def test_an_entry_that_may_not_be_edited_takes_no_new_value(self):
        contact = self.make(custom_fields={"salary": 7, "size": 3})
        self.sign_in(["custom_fields.salary"], ["custom_fields.size"])
        path = self.change_page(contact)
        for sent in ('{"salary": 8}', '{"size": 4}'):
            with self.subTest(sent):
                self.client.post(path, {**self.form(path), "custom_fields": sent})
                self.assertEqual(self.stored(contact).version, 1)

    def test_the_page_of_a_role_has_its_field_rights(self):
        self.sign_in()
        page = self.client.get("/admin/user_management/role/add/")
        self.assertIn("field_rights", page.context["adminform"].form.fields)
