import json
import random
from unittest import mock

from django.test import SimpleTestCase

from measuring.people import KINDS, Answer, Person, Refused, Seller


class Site:
    """Answers as it is told, and remembers what was asked."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def __call__(self, request):
        self.asked.append(request)
        if request.path.endswith("login"):
            tokens = {"access_token": "a1", "refresh_token": "r1"}
            return Answer(200, "", json.dumps({"meta": tokens}).encode())
        if request.path.endswith("refresh"):
            tokens = {"access_token": "a2", "refresh_token": "r2"}
            return Answer(200, "", json.dumps({"data": tokens}).encode())
        status, etag, body = self.answers[request.method.lower()]
        if etag and request.headers.get("If-None-Match") == etag:
            return Answer(304, etag, b"")
        return Answer(status, etag, json.dumps(body).encode())


class PersonTests(SimpleTestCase):
    def person(self, kind=Seller, **answers):
        self.site = Site(**answers)
        self.slept = []
        chance = random.Random(1)  # noqa: S311
        arguments = (self.site, self.slept.append, "a@example.com", "secret", chance)
        return kind(*arguments)

    def test_they_sign_in_and_send_the_token(self):
        person = self.person(get=(200, '"1"', {"results": [], "next": None}))
        person.stay_signed_in()
        person.list_contacts()
        self.assertEqual(
            json.loads(self.site.asked[0].body),
            {"email": "a@example.com", "password": "secret"},
        )
        self.assertEqual(self.site.asked[1].headers["Authorization"], "Bearer a1")

    def test_they_refresh_the_token_before_it_ends(self):
        person = self.person(get=(200, "", {}))
        person.stay_signed_in()
        person.signed_in_at -= 13 * 60
        person.stay_signed_in()
        self.assertEqual(json.loads(self.site.asked[1].body), {"refresh_token": "r1"})
        self.assertNotIn("Authorization", self.site.asked[1].headers)
        self.assertEqual(person.tokens["access_token"], "a2")
        person.stay_signed_in()
        self.assertEqual(len(self.site.asked), 2)

    def test_what_they_have_seen_is_not_sent_again(self):
        person = self.person(get=(200, '"7"', {"id": 1}))
        self.assertEqual(person.look("x", "/x/"), {"id": 1})
        self.assertEqual(person.look("x", "/x/"), {"id": 1})
        self.assertEqual(self.site.asked[1].headers["If-None-Match"], '"7"')
        self.assertIn(304, self.site.asked[1].expected)
        self.assertNotIn(304, self.site.asked[0].expected)

    def test_they_turn_pages_as_long_as_there_are_some(self):
        following = "http://x.example/api/contacts/?page=2"
        person = self.person(get=(200, "", {"results": [], "next": following}))
        person.chance = mock.Mock(random=mock.Mock(side_effect=[0, 0, 1]))
        person.thinks = False
        person.browse("contacts")
        paths = [request.path for request in self.site.asked]
        page = "/api/contacts/?page=2"
        self.assertEqual(paths, ["/api/contacts/", page, page])

    def test_they_edit_what_they_saw_and_look_again_if_it_was_changed(self):
        person = self.person(get=(200, '"7"', {"id": 1}), patch=(412, "", {}))
        person.edit("contacts", "/x/", {"city": "Bonn"})
        asked = [(r.method, r.headers.get("If-Match")) for r in self.site.asked]
        self.assertEqual(asked, [("GET", None), ("PATCH", '"7"')] * 3)

    def test_they_give_up_on_what_was_not_expected_and_think(self):
        person = self.person(get=(500, "", {}))
        person.tokens = {"access_token": "a1"}
        person.signed_in_at = 1e12
        with self.assertRaises(Refused):
            person.look("x", "/x/")
        person.work()
        self.assertEqual(len(self.slept), 1)

    def test_a_token_that_is_refused_is_forgotten(self):
        person = self.person(get=(401, "", {}))
        person.tokens = {"access_token": "old"}
        with self.assertRaises(Refused):
            person.look("x", "/x/")
        self.assertEqual(person.tokens, {})

    def test_every_task_of_every_kind_can_be_done(self):
        for kind in KINDS:
            self.assertTrue(issubclass(kind, Person))
            for task in kind.tasks:
                self.assertTrue(callable(getattr(kind, task)), task)
