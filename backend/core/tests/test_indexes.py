"""Lists of many records, asked in ways for which there are indexes."""

from unittest import skipUnless

from django.db import connection, transaction
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from contact_management.models import Contact
from core.indexes import merge_pending, orders_of
from core.testing import Cast, client_of
from core.views import RecordViewSet
from measuring.plans import lists

# After what the text is asked by this operator: else most rows are read through.
ORGANIZATION_LAST = r"Index Cond: .* {} .*\borganization_id ="


@skipUnless(connection.vendor == "postgresql", "SQLite's planner is not asked.")
class IndexTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        cls.manager = client_of(cls.cast.manager)

    def plan(self, path: str, *without: str, **query) -> str:
        """How PostgreSQL would read a page, had it no such ways to."""
        return self.told("EXPLAIN", path, {"cursor": "", **query}, without)

    def told(self, what: str, path: str, query: dict, without=(), mark="ORDER BY"):
        """Of the one statement that has the mark."""
        with CaptureQueriesContext(connection) as captured:
            response = self.manager.get(path, query)
        self.assertEqual(response.status_code, 200, response.content)
        [sql] = [q["sql"] for q in captured if mark in q["sql"]]
        with connection.cursor() as cursor:
            for way in without:
                cursor.execute(f"SET LOCAL enable_{way} = off")
            cursor.execute(f"{what} {sql}")
            return "\n".join(line for (line,) in cursor.fetchall())

    def test_each_order_of_many_records_is_that_of_an_index(self):
        asked = 0
        for path, view in lists():
            if not (issubclass(view, RecordViewSet) and orders_of(view.model)):
                continue
            for name in orders_of(view.model) | {"created_at"}:
                for ordering in (name, f"-{name}"):
                    with self.subTest(path, ordering=ordering):
                        without = ("seqscan", "sort", "incremental_sort")
                        plan = self.plan(path, *without, ordering=ordering)
                        self.assertNotIn("Sort", plan)
                    asked += 1
        self.assertGreater(asked, 80)

    def test_what_waits_for_the_indexes_is_merged(self):
        merge_pending()
        self.assertEqual(merge_pending(), 0)
        response = self.manager.post("/api/contacts/", {"last_name": "Lovelace"})
        self.assertEqual(response.status_code, 201, response.content)
        # One page each: of the trigrams, the words and the values.
        self.assertEqual(merge_pending(), 3)
        self.assertEqual(merge_pending(), 0)

    def test_a_page_deep_among_equal_values_begins_at_its_first_row(self):
        for size in (50, 50, 50, None, None, None):
            body = {"name": "Acme", "size": size}
            response = self.manager.post("/api/companies/", body, format="json")
            self.assertEqual(response.status_code, 201, response.content)
        for ordering in ("name", "-name", "size", "-size"):
            for rows in (1, 4):
                with self.subTest(ordering, rows=rows), transaction.atomic():
                    query = {"cursor": "", "page_size": rows, "ordering": ordering}
                    first = self.manager.get("/api/companies/", query).json()
                    url = first["next"].replace(f"page_size={rows}", "page_size=1")
                    without = ("seqscan", "sort", "incremental_sort", "bitmapscan")
                    plan = self.told("EXPLAIN ANALYZE", url, {}, without)
                    self.assertIn(f"company_by_{ordering.lstrip('-')}", plan)
                    self.assertNotIn("Rows Removed", plan)
                    transaction.set_rollback(True)

    def test_filters_by_text_have_an_index(self):
        for query, index, column in (
            ({"any_phone": "+1 415 555 0123"}, "contact_values", "phone_e164"),
            ({"department__in": "Sales,Law"}, "contact_values", "department"),
            ({"city": "Bern"}, "contact_by_city", "city"),
            ({"city__icontains": "ern"}, "contact_search", "search_text"),
        ):
            with self.subTest(query), transaction.atomic():
                self.keep_only("contact_collections", index)
                plan = self.plan("/api/contacts/", "seqscan", **query)
                self.assertRegex(plan, rf"Index Cond: .*\b{column}\b")
                transaction.set_rollback(True)

    def test_the_search_of_a_list_has_an_index_of_trigrams(self):
        self.keep_only("contact_search")
        plan = self.plan("/api/contacts/", "seqscan", search="lovelace")
        self.assertIn("Bitmap Index Scan on contact_search", plan)
        self.assertRegex(plan, ORGANIZATION_LAST.format("~~"))

    def test_what_a_misspelt_word_may_mean_has_an_index_of_words(self):
        person = {"last_name": "Lovelace"}
        self.manager.post("/api/contacts/", person, format="json")
        self.keep_only("contact_words")
        query = {"q": "lovelcae"}
        plan = self.told("EXPLAIN", "/api/search/", query, ["seqscan"], mark="@@")
        self.assertIn("Bitmap Index Scan on contact_words", plan)
        self.assertRegex(plan, ORGANIZATION_LAST.format("@@"))

    def keep_only(self, *names: str) -> None:
        """Of a few contacts any index gives all: drop the others."""
        # Checks that are put off would forbid it.
        connection.check_constraints()
        with connection.cursor() as cursor:
            found = connection.introspection.get_constraints(
                cursor, Contact._meta.db_table
            )
            for name, one in found.items():
                if one["index"] and not one["unique"] and name not in names:
                    cursor.execute(f'DROP INDEX "{name}"')
