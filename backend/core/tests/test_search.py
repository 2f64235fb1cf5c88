from django.db import connection
from django.test import SimpleTestCase, TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from contact_management.models import Contact, Tag
from core import purge, search
from core.finding import Wanted
from core.models import SearchWord
from core.testing import Cast, client_of, make_role, make_user, system_changes

PATH = "/api/search/"


class TextTests(SimpleTestCase):
    def test_texts_lose_what_people_do_not_remember(self):
        for text, plain in (
            ("Müller", "muller"),
            ("Øystein  Łukasz", "oystein lukasz"),
            ("O'Brien O\u2019Brien", "obrien obrien"),
            ("STRASSE Straße", "strasse strasse"),
            ("Ada.King@Example.com", "ada king example com"),
            ("  St. John-Smith, Jr. ", "st john smith jr"),
            ("+1 (415) 555-2671", "14155552671"),
            ("0171/123 45 67", "1711234567"),
            ("ﬁnn", "finn"),
            ("東京", "東京"),
        ):
            with self.subTest(text):
                self.assertEqual(search.plain(text), plain)

    def test_words_are_looked_for_the_longest_first(self):
        for text, words in (
            ("Ada  Lovelace", ["lovelace", "ada"]),
            ("King, Ada (Ada)", ["king", "ada"]),
            ("+1 415 555 2671", ["14155552671"]),
            ("' \u2019 ()", []),
        ):
            with self.subTest(text):
                self.assertEqual(search.words_of(text), words)


class SearchTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        cls.ada = cls.make(
            first_name="Ada",
            last_name="Lovelace",
            email="ada@engines.example.com",
            phone="(415) 555-2671",
            company_name="Analytical Engines",
        )
        cls.jurgen = cls.make(first_name="Jürgen", last_name="Groß", city="Köln")
        cls.karin = cls.make(
            first_name="Karin", last_name="Lovell", mobile="+49 171 1234567"
        )
        for n in range(12):
            cls.make(last_name=f"Filler {n}", email=f"filler{n}@example.com")

    @classmethod
    def make(cls, owner=None, **fields):
        contact = Contact(owner=owner or cls.cast.alice)
        with system_changes((owner or cls.cast.alice).organization) as changes:
            changes.save(contact, **fields)
        return contact

    def search(self, user=None, **query):
        response = client_of(user or self.cast.alice).get(PATH, query)
        self.assertEqual(response.status_code, 200, response.content)
        return response.json()["results"]

    def found(self, q, user=None, **query):
        return [hit["id"] for hit in self.search(user, q=q, **query)]


class FindTests(SearchTestCase):
    def test_people_are_found_by_what_is_remembered_of_them(self):
        for q, contact in (
            ("lovelace", self.ada),
            ("Ada Lovelace", self.ada),
            ("lovelace ada", self.ada),
            ("Lovelase", self.ada),
            ("Ada Lovelaec", self.ada),
            ("ada@engines.example.com", self.ada),
            ("engines.example", self.ada),
            ("Analytcal Engines", self.ada),
            ("415 555 2671", self.ada),
            ("+1 (415) 555-2671", self.ada),
            ("555-2671", self.ada),
            ("0171 1234567", self.karin),
            ("+49 (171) 123-4567", self.karin),
            ("jurgen", self.jurgen),
            ("JÜRGEN GROSS", self.jurgen),
            ("koln", self.jurgen),
        ):
            with self.subTest(q):
                self.assertEqual(self.found(q)[:1], [str(contact.pk)])

    def test_what_stands_as_it_was_typed_comes_before_what_resembles_it(self):
        typed = self.found("lovell")
        self.assertEqual(typed[0], str(self.karin.pk))

    def test_a_double_name_can_be_misspelt_in_each_part(self):
        double = self.make(first_name="Wolf-Dietrich", last_name="Maier")
        for q in (
            "Wlf-Dietrich",
            "Wolf-Ditrich",
            "Wlof-Dietirch Maier",
            "Dietrich-Wlf",
        ):
            with self.subTest(q):
                self.assertEqual(self.found(q), [str(double.pk)])

    def test_an_address_means_what_it_says(self):
        self.make(first_name="Ida", email="ida@engines.example.com")
        self.assertEqual(self.found("ada@engines.example.com"), [str(self.ada.pk)])

    def test_the_best_is_first_however_few_are_asked_for(self):
        best = self.make(first_name="Gilbert", last_name="Brunet")
        for n in range(6):
            self.make(last_name=f"Filler 2{n}", company_name="Gilbert Bruner")
        for limit in (1, 3, 7):
            with self.subTest(limit):
                found = self.found("gilbert brune", limit=limit)
                self.assertEqual((len(found), found[0]), (limit, str(best.pk)))

    def test_every_word_must_be_found(self):
        self.assertEqual(self.found("ada groß"), [])
        self.assertEqual(self.found("zzzzzz"), [])

    def test_short_words_are_found_where_words_begin(self):
        self.assertEqual(set(self.found("lo")), {str(self.ada.pk), str(self.karin.pk)})
        self.assertEqual(self.found("ac"), [])

    def test_matches_tell_the_places_in_the_text_as_it_stands(self):
        [hit] = self.search(q="gross")
        self.assertEqual(
            hit,
            {
                "record_type": "contact",
                "id": str(self.jurgen.pk),
                "score": 0.99,
                "record": {
                    "id": str(self.jurgen.pk),
                    "first_name": "Jürgen",
                    "last_name": "Groß",
                    "email": "",
                    "company_name": "",
                },
                "matches": [{"field": "last_name", "text": "Groß", "ranges": [[0, 4]]}],
            },
        )
        [hit] = self.search(q="555 2671")
        self.assertEqual(
            hit["matches"],
            [
                {"field": "phone", "text": "(415) 555-2671", "ranges": [[6, 14]]},
                {"field": "phone_e164", "text": "+14155552671", "ranges": [[5, 12]]},
            ],
        )
        [hit] = self.search(q="lovelase")
        self.assertEqual(
            hit["matches"],
            [{"field": "last_name", "text": "Lovelace", "ranges": [[0, 8]]}],
        )

    def test_all_types_are_searched_or_those_asked_for(self):
        with system_changes(self.cast.organization) as changes:
            changes.save(Tag(owner=self.cast.alice), name="Lovelace fans")
        types = [hit["record_type"] for hit in self.search(q="lovelace")]
        self.assertEqual(sorted(types), ["contact", "tag"])
        types = [h["record_type"] for h in self.search(q="lovelace", types="tag")]
        self.assertEqual(types, ["tag"])

    def test_no_more_are_answered_than_asked_for(self):
        self.assertEqual(len(self.found("filler")), 10)
        self.assertEqual(len(self.found("filler", limit=3)), 3)
        self.assertEqual(len(self.found("filler", limit=50)), 12)

    def test_a_change_counts_at_once(self):
        with system_changes(self.cast.organization) as changes:
            changes.save(self.ada, last_name="Byron")
        self.assertEqual(self.found("lovelace"), [])
        self.assertEqual(self.found("byron"), [str(self.ada.pk)])
        with system_changes(self.cast.organization) as changes:
            changes.delete(self.ada)
        self.assertEqual(self.found("byron"), [])


class PartTests(TestCase):
    """Parts of fields: what the index leaves out must be nothing that holds them."""

    TEXTS = (
        "O'Neil-Strauß, Jr.",
        "ÉMILE  Zola-A\u0301b",
        "ﬁne Ⅷ µΣς İ\u0131I ǅ",
        "00 41.22-0333",
        "x 0041 22-0333 (4)",
        "+1 (415) 555-2671",
        "\uff11\uff12\uff13\uff14 ab\uff11\uff12\uff13\uff14",
        "%_\\%__\\%",
        "東京都千代田区",
    )

    def test_no_part_is_lost_however_the_search_writes_texts(self):
        organization = Cast().organization
        with system_changes(organization) as changes:
            for text in self.TEXTS:
                changes.save(Contact(), last_name=text, first_name=text.swapcase())
        parts = {
            text[start:end]
            for text in self.TEXTS
            for start in range(len(text))
            for end in range(start + 3, min(start + 9, len(text)) + 1)
        }
        for part in sorted(parts):
            for name in ("last_name", "first_name"):
                holding = Contact.objects.filter(**{f"{name}__icontains": part})
                found = search.perhaps_holding(holding, name, part)
                self.assertEqual(
                    set(found.values_list("pk")), set(holding.values_list("pk")), part
                )

    def test_the_index_is_asked_where_it_knows(self):
        for name, part, asked in (
            ("last_name", "Müll", "mull"),
            ("phone", "+1 (415) 55", "415"),
            ("phone", "0049", None),
            ("last_name", " - x", None),
            ("notes", "Müll", None),
        ):
            with self.subTest(name=name, part=part):
                queryset = Contact.objects.all()
                found = search.perhaps_holding(queryset, name, part)
                if asked:
                    expected = queryset.filter(search_text__contains=asked)
                    self.assertEqual(str(found.query), str(expected.query))
                else:
                    self.assertIs(found, queryset)


class RightTests(SearchTestCase):
    def test_what_is_not_seen_is_not_found(self):
        for user in (self.cast.stranger, self.cast.carol):
            with self.subTest(user):
                for q in ("lovelace", "lovelase", "415 555 2671", "lo"):
                    self.assertEqual(self.found(q, user), [])
        for user in (self.cast.bob, self.cast.manager, self.cast.reader):
            with self.subTest(user):
                self.assertEqual(self.found("lovelase", user), [str(self.ada.pk)])

    def test_who_sees_no_type_at_all_finds_nothing(self):
        role = make_role(self.cast.organization, "Nothing", {})
        user = make_user(self.cast.organization, "nobody", role)
        self.assertEqual(self.found("lovelace", user), [])

    def test_anonymous_is_refused(self):
        response = self.client.get(PATH, {"q": "lovelace"})
        self.assertEqual(response.status_code, 401)


class RequestTests(SearchTestCase):
    def test_bad_parameters_are_named(self):
        client = client_of(self.cast.alice)
        for query, field, code in (
            ({}, "q", "required"),
            ({"q": " "}, "q", "required"),
            ({"q": "a\0b"}, "q", "invalid"),
            ({"q": "a" * 201}, "q", "max_length"),
            ({"q": "a " * 11}, "q", "max_length"),
            ({"q": "a", "limit": 51}, "limit", "max_value"),
            ({"q": "a", "limit": 0}, "limit", "invalid"),
            ({"q": "a", "types": "contact,nothing"}, "types", "unknown_type"),
            ({"q": "a", "types": ""}, "types", "unknown_type"),
            ({"q": "a", "surprise": 1}, "surprise", "unknown_parameter"),
        ):
            with self.subTest(query):
                response = client.get(PATH, query)
                self.assertEqual(response.status_code, 400)
                found = {(e["field"], e["code"]) for e in response.json()["errors"]}
                self.assertEqual(found, {(field, code)})

    def test_odd_words_break_nothing(self):
        for q in ("%", "_", "\\", "a%b", "'; --", "<%", "\U0001f600", "İ", "%%s", "¼"):
            with self.subTest(q):
                self.assertIsInstance(self.found(q), list)

    def test_it_takes_the_same_queries_for_few_and_many(self):
        client = client_of(self.cast.alice)
        counts = []
        for q in ("lovelace", "filler"):
            with CaptureQueriesContext(connection) as queries:
                client.get(PATH, {"q": q, "types": "contact", "limit": 10})
            counts.append(len(queries))
        self.assertLessEqual(max(counts), 5)

    def test_what_a_word_may_mean_is_looked_up_once_for_all_types(self):
        client = client_of(self.cast.alice)
        with CaptureQueriesContext(connection) as queries:
            found = client.get(PATH, {"q": "Lovelase", "limit": 7}).json()["results"]
        self.assertEqual([hit["id"] for hit in found], [str(self.ada.pk)])
        asked = [q for q in queries if "core_searchword" in q["sql"]]
        self.assertEqual(len(asked), 1)
        # Those that hold the word, those that hold what it may mean, and the one that
        # is left: of all types at once.
        self.assertEqual(len(queries) - 1, 3)

    def test_what_stands_beside_a_misspelt_word_may_be_anything(self):
        client = client_of(self.cast.alice)
        for beside, found in (
            ("ada@engines.example.com", [str(self.ada.pk)]),
            ("a", [str(self.ada.pk)]),
            *((odd, []) for odd in ("1e5x", "x\u00b2", "\u6771\u4eac", "a&!b", "x:*")),
        ):
            with self.subTest(beside):
                answer = client.get(PATH, {"q": f"Lovelase {beside}"})
                self.assertEqual(answer.status_code, 200, answer.content)
                hits = answer.json()["results"]
                self.assertEqual([hit["id"] for hit in hits], found)

    def test_records_without_a_word_are_not_looked_through(self):
        client = client_of(self.cast.alice)
        with CaptureQueriesContext(connection) as queries:
            client.get(PATH, {"q": "Lovelase"})
        sql = " ".join(query["sql"] for query in queries)
        self.assertIn("contact_management_contact", sql)
        self.assertNotIn("groupmembership", sql)
        only = client.get(PATH, {"q": "Lovelase", "types": "groupmembership"})
        self.assertEqual(only.json()["results"], [])

    def test_the_likeliest_is_guessed_first(self):
        organization = self.cast.organization.pk
        search.learn(organization, {"victor", "vector", "larson", "caron"})
        for text, guesses in (
            (
                "Victor Laron",
                [
                    (
                        [["victor"], ["laron", "larson"]],
                        {"victor", "vector", "larson", "caron"},
                    ),
                    ([["victor", "vector"], ["laron", "larson", "caron"]], set()),
                ],
            ),
            ("Victor", [([["victor", "vector"]], set())]),
            ("Larsn", [([["larsn", "larson"]], set())]),
            ("Wilhelmina", []),
        ):
            with self.subTest(text):
                self.assertEqual(Wanted(organization, text).guesses, guesses)

    def test_a_known_word_may_begin_another_where_it_finds_too_few_itself(self):
        with system_changes(self.cast.organization) as changes:
            for first_name in ("Chris", "Christopher"):
                changes.save(Contact(first_name=first_name, last_name="Larson"))
            changes.save(Contact(first_name="Chriss", last_name="Caron"))
        client = client_of(self.cast.manager)
        for limit, names in ((10, ["Chris", "Christopher"]), (1, ["Chris"])):
            answer = client.get(PATH, {"q": "Chris Larsn", "limit": limit}).json()
            found = [hit["record"]["first_name"] for hit in answer["results"]]
            self.assertEqual(found, names)

    def test_less_likely_guesses_are_made_where_the_likeliest_find_too_few(self):
        with system_changes(self.cast.organization) as changes:
            for name in ("Larson", "Caron"):
                changes.save(Contact(), last_name=name, owner=self.cast.alice)
        client = client_of(self.cast.alice)
        for limit, names in ((1, ["Larson"]), (2, ["Larson", "Caron"])):
            query = {"q": "Laron", "limit": limit, "types": "contact"}
            found = client.get(PATH, query).json()["results"]
            self.assertEqual([hit["record"]["last_name"] for hit in found], names)

    def test_nobody_guesses_while_enough_holds_what_was_typed(self):
        client = client_of(self.cast.alice)
        for limit, asked in ((1, 0), (7, 1)):
            with CaptureQueriesContext(connection) as queries:
                client.get(PATH, {"q": "Lovelace", "limit": limit})
            guesses = [q for q in queries if "core_searchword" in q["sql"]]
            self.assertEqual(len(guesses), asked)


class ListTests(SearchTestCase):
    def test_the_search_of_a_list_ignores_accents_and_punctuation_too(self):
        client = client_of(self.cast.alice)
        for words in ("jurgen gross", "Köln", "lovel", "415 555-2671"):
            with self.subTest(words):
                answer = client.get("/api/contacts/", {"search": words}).json()
                self.assertGreater(answer["count"], 0)


class ForgettingTests(SearchTestCase):
    def known(self) -> set[str]:
        words = SearchWord.objects.filter(organization=self.cast.organization)
        return set(words.values_list("word", flat=True))

    def change(self, contact, **values):
        with system_changes(self.cast.organization) as changes:
            changes.save(Contact.objects.get(pk=contact.pk), **values)

    def test_words_that_no_record_holds_any_more_are_forgotten(self):
        before = self.known()
        purge.purge_words()
        self.assertEqual(self.known(), before)
        self.change(self.karin, last_name="Byron")
        purge.purge_words()
        self.assertEqual(self.known(), before - {"lovell"} | {"byron"})
        self.assertFalse(SearchWord.objects.filter(word="lovell").exists())
        self.assertEqual(self.found("Byrom"), [str(self.karin.pk)])

    def test_words_of_deleted_records_are_kept_until_those_are_purged(self):
        with system_changes(self.cast.organization) as changes:
            changes.delete(Contact.objects.get(pk=self.jurgen.pk))
        purge.purge_words()
        self.assertLessEqual({"jurgen", "gross", "koln"}, self.known())
        purge.purge_batch(self.cast.organization, timezone.now())
        purge.purge_words()
        self.assertTrue(self.known().isdisjoint({"jurgen", "gross", "koln"}))
        self.assertIn("karin", self.known())

    def test_words_of_other_organizations_are_theirs(self):
        self.make(self.cast.carol, last_name="Lovell")
        self.change(self.karin, last_name="Byron")
        purge.purge_words()
        [organization] = (
            SearchWord.objects.filter(word="lovell")
            .values_list("organization", flat=True)
            .distinct()
        )
        self.assertEqual(organization, self.cast.other_organization.pk)

    def test_it_ends_when_its_time_is_over(self):
        self.change(self.karin, last_name="Byron")
        purge.purge_words(seconds=-1)
        self.assertIn("lovell", self.known())
