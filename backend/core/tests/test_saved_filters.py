from django.test import TestCase
from rest_framework.exceptions import ValidationError

from contact_management.models import Contact
from core import saved_filters
from core.problems import flatten
from core.testing import Cast, system_changes


class SavedFilterTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        with system_changes(cls.cast.organization) as changes:
            for owner in (cls.cast.alice, cls.cast.bob):
                changes.save(Contact(), last_name=owner.first_name, owner=owner)

    def names(self, user, **parameters):
        found = saved_filters.listed(Contact, parameters, user)
        return sorted(found.values_list("last_name", flat=True))

    def test_it_means_what_the_user_who_looks_would_see(self):
        self.assertEqual(self.names(self.cast.alice), ["alice"])
        self.assertEqual(self.names(self.cast.bob), ["alice", "bob"])
        self.assertEqual(self.names(self.cast.bob, owner="me"), ["bob"])
        self.assertEqual(self.names(self.cast.carol), [])

    def test_it_narrows_what_it_is_given(self):
        queryset = Contact.objects.filter(last_name="bob")
        for parameters, count in (({"search": "bob"}, 1), ({"search": "alice"}, 0)):
            found = saved_filters.narrowed(queryset, parameters, self.cast.manager)
            self.assertEqual(found.count(), count)

    def test_values_are_texts_numbers_and_truths(self):
        for value, text in (("a b", "a b"), (7, "7"), (True, "true"), (False, "false")):
            self.assertEqual(saved_filters._text("x", value), text)
        self.assertEqual(saved_filters._text("x__in", ["a", 1]), "a,1")
        for name, value in (
            ("x", None),
            ("x", ["a"]),
            ("x", {}),
            ("x__in", ["a,b"]),
            ("x", " "),
        ):
            with self.subTest(value), self.assertRaises(ValidationError) as caught:
                saved_filters._text(name, value)
            self.assertEqual(flatten(caught.exception.detail)[0]["field"], name)

    def test_it_is_checked_without_a_user_and_without_a_query(self):
        here = self.cast.organization
        with self.assertNumQueries(0):
            saved_filters.check(Contact, {"owner": "me", "search": "x"}, here)
            for wrong in ({"cursor": ""}, {"deleted": "true"}, {"status": "asleep"}):
                with self.assertRaises(ValidationError) as caught:
                    saved_filters.check(Contact, wrong, here)
                [error] = flatten(caught.exception.detail)
                self.assertEqual([error["field"]], list(wrong))
