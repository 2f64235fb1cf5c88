"""Reads that are given again before anything else is asked, and who may have them.

What makes a process forget stands in Redis alone: nothing here touches the memory of
the process that answers, so it stands for any other process.
"""

import pickle
import re
import time
import uuid
from datetime import timedelta
from unittest import mock, skipUnless

from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.db import connection
from django.test import Client, TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from contact_management.models import Contact
from core import cache, origin, recall
from core.access import Scope, Verb
from core.memory import Memory
from core.models import CustomField
from core.redis import rest
from core.testing import (
    ALL,
    OWN,
    PASSWORD,
    Cast,
    make_role,
    make_team,
    make_user,
    system_changes,
)
from core.views import ViewSet
from measuring import plans
from user_management import remembered
from user_management.models import User, revoke_keys

from .test_api_keys import make_key
from .test_sign_in import APP, SessionStore

PATH = "/api/contacts/"


class RememberedTestCase(TransactionTestCase):
    def setUp(self):
        # Organizations, users and tokens are new in each test.
        self.cast = Cast()
        self.role = make_role(self.cast.organization, "seller", ALL)
        self.dora = make_user(
            *(self.cast.organization, f"dora{uuid.uuid4().hex}", self.role),
            password=PASSWORD,
        )
        self.contact = Contact()
        self.edit(self.contact, first_name="Ada", last_name="K", owner=self.dora)
        self.client = Client()
        self.enterContext(mock.patch.object(rest, "until", 0.0))

    def edit(self, record, **fields):
        with system_changes(self.cast.organization) as changes:
            changes.save(record, **fields)

    def sign_in(self, user=None) -> dict:
        answer = Client().post(
            f"{APP}auth/login",
            {"email": (user or self.dora).email, "password": PASSWORD},
            content_type="application/json",
        )
        self.assertEqual(answer.status_code, 200, answer.content)
        meta = answer.json()["meta"]
        self.session_token = meta["session_token"]
        return {"Authorization": f"Bearer {meta['access_token']}"}

    def key(self) -> dict:
        self.api_key, text = make_key(self.dora, "contacts:read")
        return {"Authorization": f"Api-Key {text}"}

    def get(self, headers, path=PATH, method="get", **more):
        """The answer, and whether a view was asked for it."""
        send = getattr(self.client, method)
        initial = ViewSet.initial
        with mock.patch.object(ViewSet, "initial", autospec=True) as asked:
            asked.side_effect = initial
            answer = send(path, headers={**headers, **more})
        return answer, asked.called

    def warm(self, headers, path=PATH):
        """Ask until it is remembered."""
        for _ in range(2):
            answer, _ = self.get(headers, path)
            self.assertEqual(answer.status_code, 200, answer.content)
        with self.assertNumQueries(0):
            answer, asked = self.get(headers, path)
        self.assertFalse(asked)
        return answer


def told(answer) -> tuple:
    return answer.status_code, answer.content, dict(answer.items())


@skipUnless(settings.REDIS_URL, "needs Redis")
class RecallTests(RememberedTestCase):
    def test_what_is_given_again_is_what_the_view_would_give(self):
        origin = "https://crm.example.com"
        etag = self.get(self.sign_in())[0]["ETag"]
        asked = (
            (PATH, "get", {}),
            (f"{PATH}{self.contact.pk}/", "get", {}),
            (f"{PATH}?search=ada&page_size=5&ordering=last_name", "get", {}),
            (PATH, "head", {}),
            (PATH, "get", {"If-None-Match": etag}),
            (PATH, "head", {"If-None-Match": etag}),
            (PATH, "get", {"If-None-Match": '"another"'}),
            (PATH, "get", {"If-None-Match": f"W/{etag}"}),
            (PATH, "get", {"If-None-Match": f'"another", {etag}'}),
            (PATH, "get", {"If-None-Match": "*"}),
            (PATH, "get", {"If-None-Match": etag[:-3] + '"'}),
            (PATH, "get", {"Origin": origin}),
            (PATH, "get", {"Origin": "https://elsewhere.example.com"}),
            (PATH, "get", {"Host": "127.0.0.1"}),
        )
        with override_settings(CORS_ALLOWED_ORIGINS=[origin]):
            for headers in (self.sign_in(), self.key()):
                for path, method, more in asked:
                    with self.subTest(path, method=method, **more):
                        more = {"X-Request-ID": "the-same", **more}
                        whole, _ = self.get(headers, path, method, **more)
                        self.get(headers, path, method, **more)
                        again, view = self.get(headers, path, method, **more)
                        self.assertFalse(view)
                        self.assertEqual(told(again), told(whole))
                        self.assertLess(again.status_code, 400)

    def test_an_answer_that_was_304_first_can_be_had_whole(self):
        headers = self.sign_in()
        whole, _ = self.get(headers)
        self.get(headers)
        recall.recalls.__init__(10)
        self.get(headers, **{"If-None-Match": whole["ETag"]})
        again, view = self.get(headers)
        self.assertFalse(view)
        self.assertEqual(again.content, whole.content)
        self.assertEqual(again["Content-Type"], whole["Content-Type"])
        self.assertEqual(again["Content-Length"], whole["Content-Length"])

    def test_what_measures_and_logs_knows_the_view_and_who_asked(self):
        request = self.warm(self.sign_in()).wsgi_request
        self.assertEqual(request.resolver_match.route, "api/contacts/")
        self.assertEqual(
            origin.actor(request), (str(self.dora.pk), str(self.cast.organization.pk))
        )

    def test_each_request_has_an_id_of_its_own(self):
        headers = self.sign_in()
        ids = {self.warm(headers)["X-Request-ID"], self.warm(headers)["X-Request-ID"]}
        self.assertEqual(len(ids), 2)

    def test_a_write_is_seen_by_the_next_read(self):
        headers = self.sign_in()
        detail = f"{PATH}{self.contact.pk}/"
        for name in ("Bea", "Cleo"):
            for path in (PATH, detail):
                self.warm(headers, path)
            self.edit(self.contact, first_name=name)
            answer, _ = self.get(headers, detail)
            self.assertEqual(answer.json()["first_name"], name)
            answer, _ = self.get(headers)
            [result] = answer.json()["results"]
            self.assertEqual(result["first_name"], name)

    def test_other_credentials_get_nothing_of_it(self):
        headers = self.sign_in()
        self.warm(headers)
        bad = headers["Authorization"][:-6] + "AAAAAA"
        for other in ({}, {"Authorization": bad}, {"Authorization": "Bearer x"}):
            with self.subTest(other):
                self.assertEqual(self.get(other)[0].status_code, 401)
        _, text = make_key(self.cast.carol, "contacts:read")
        answer, _ = self.get({"Authorization": f"Bearer {text}"})
        self.assertEqual(answer.json()["results"], [])

    def test_what_was_refused_or_is_no_cached_read_goes_the_whole_way(self):
        headers = self.sign_in()
        for path in (f"{PATH}?nonsense=1", f"{PATH}{uuid.uuid4()}/", "/api/users/me/"):
            with self.subTest(path):
                self.get(headers, path)
                self.assertTrue(self.get(headers, path)[1])
        self.warm(headers)
        answer = self.client.post(PATH, {}, "application/json", headers=headers)
        self.assertEqual(answer.status_code, 400)

    def test_without_redis_it_goes_the_whole_way_and_is_right(self):
        headers = self.sign_in()
        before = self.warm(headers)
        with mock.patch.object(rest, "until", time.monotonic() + 60):
            answer, asked = self.get(headers)
            self.assertTrue(asked)
            self.assertEqual(told(answer)[1], told(before)[1])
            self.edit(self.contact, first_name="Bea")
            answer, _ = self.get(headers)
            self.assertEqual(answer.json()["results"][0]["first_name"], "Bea")


@skipUnless(settings.REDIS_URL, "needs Redis")
class EqualRightsTests(RememberedTestCase):
    """What is remembered of one reader serves the others with the same rights."""

    def setUp(self):
        super().setUp()
        self.colleague = self.person("colleague", self.role)

    def person(self, name, role, **fields):
        name = f"{name}{uuid.uuid4().hex}"
        organization = self.cast.organization
        return make_user(organization, name, role, password=PASSWORD, **fields)

    def known(self, user) -> dict:
        """The headers of somebody whom the process knows, if not for this."""
        headers = self.sign_in(user)
        self.warm(headers, "/api/companies/")
        return headers

    def names(self, headers, path=PATH, is_asked=False) -> list[str]:
        """Of the contacts; `is_asked`: whether that takes the view."""
        answer, asked = self.get(headers, path)
        self.assertEqual((answer.status_code, asked), (200, is_asked))
        return [result["first_name"] for result in answer.json()["results"]]

    def own_contact(self, user, name: str) -> None:
        self.edit(Contact(), first_name=name, last_name="K", owner=user)

    def test_they_need_no_view_for_what_the_first_one_asked(self):
        theirs = self.known(self.colleague)
        mine = self.sign_in()
        for path in (PATH, f"{PATH}{self.contact.pk}/", f"{PATH}?search=ada"):
            with self.subTest(path):
                expected = self.warm(mine, path)
                answer, asked = self.get(theirs, path)
                self.assertFalse(asked)
                self.assertEqual(answer.content, expected.content)
                self.assertEqual(answer["ETag"], expected["ETag"])
                request = answer.wsgi_request
                self.assertEqual(origin.actor(request)[0], str(self.colleague.pk))

    def test_each_gets_their_own(self):
        role = make_role(self.cast.organization, "alone", OWN)
        names = ("Erik", "Frida")
        people = [self.person(name, role) for name in names]
        signed_in = [self.known(user) for user in people]
        for user, name in zip(people, names, strict=True):
            self.own_contact(user, name)
        for path in (PATH, f"{PATH}?owner=me", f"{PATH}?ordering=first_name"):
            # The answer of the first does for nobody else, nor does its plan.
            for is_asked in (True, False):
                for headers, name in zip(signed_in, names, strict=True):
                    with self.subTest(path, name=name):
                        self.assertEqual(self.names(headers, path, is_asked), [name])
        self.own_contact(people[1], "Gustav")
        self.assertEqual(self.names(signed_in[0], path), ["Erik"])
        self.assertEqual(self.names(signed_in[1], path), ["Frida", "Gustav"])

    def test_what_a_plan_has_bound_to_one_reader_no_other_gets(self):
        theirs = self.known(self.colleague)
        self.own_contact(self.colleague, "Bea")
        mine = self.sign_in()
        path = f"{PATH}?owner=me"
        self.warm(mine, path)
        self.assertEqual(self.names(mine, path), ["Ada"])
        self.assertEqual(self.names(theirs, path, is_asked=True), ["Bea"])
        self.assertEqual(self.names(theirs, path), ["Bea"])

    def test_other_rights_get_nothing_of_it(self):
        here = self.cast.organization
        hides = make_role(
            here, "half", ALL, field_rights={"contact": {"hidden": ["first_name"]}}
        )
        team = make_role(here, "crew", {**OWN, Verb.VIEW: Scope.TEAM})
        first = self.person("first", team, team=self.cast.team)
        self.edit(self.contact, owner=first)
        headers = self.known(self.person("second", team, team=make_team(here, "B")))
        self.warm(self.known(first))
        self.assertEqual(self.names(headers, is_asked=True), [])
        headers = self.known(self.person("third", hides))
        self.warm(self.sign_in())
        answer, asked = self.get(headers)
        self.assertTrue(asked)
        self.assertNotIn("first_name", answer.json()["results"][0])

    def test_a_key_gets_what_its_scopes_say(self):
        session = self.sign_in()
        headers = self.key()
        self.warm(headers)
        self.warm(session, "/api/leads/")
        answer, asked = self.get(headers, "/api/leads/")
        self.assertTrue(asked)
        self.assertEqual(answer.json()["results"], [])

    def test_a_change_of_their_role_counts_for_all_of_them_at_once(self):
        signed_in = [self.sign_in(), self.sign_in(self.colleague)]
        paths = (PATH, f"{PATH}?page_size=7")
        for path in paths:
            for headers in signed_in:
                self.warm(headers, path)
        hides = {"contact": {"hidden": ["first_name"]}}
        self.edit(self.role, field_rights=hides)
        # At the second one, they are known with their new rights.
        for path in paths:
            for headers in signed_in:
                [result] = self.get(headers, path)[0].json()["results"]
                self.assertNotIn("first_name", result)

    def test_who_leaves_takes_nothing_from_the_others(self):
        mine, theirs = self.sign_in(), self.sign_in(self.colleague)
        for headers in (mine, theirs):
            self.warm(headers)
        self.edit(User.objects.get(pk=self.dora.pk), is_active=False)
        self.assertEqual(self.get(mine)[0].status_code, 401)
        self.warm(theirs)
        self.assertEqual(self.get(mine)[0].status_code, 401)

    def test_of_no_list_do_their_rights_tell_more_than_who_they_are(self):
        """What the recall of each list says of one reader, it says of the other."""
        role = make_role(self.cast.organization, "crew", {**OWN, Verb.VIEW: Scope.TEAM})
        people = [self.person(n, role, team=self.cast.team) for n in ("erik", "frida")]
        signed_in = [self.known(user) for user in people]
        recalled = 0
        for path, _ in plans.lists():
            for query in ("", "?page_size=3", "?owner=me"):
                places = []
                for headers in signed_in:
                    recall.recalls.__init__(1000)
                    answer, _ = self.get(headers, path + query)
                    places.append(getattr(answer, "place", None))
                first, second = places
                if first is None:
                    continue
                with self.subTest(path + query):
                    self.assertEqual(first.names, second.names)
                    self.assertEqual(first.reader.rights, second.reader.rights)
                    pks = [str(place.reader.pk) for place in places]
                    self.assertEqual(first.visibility.replace(*pks), second.visibility)
                    recalled += 1
        self.assertGreater(recalled, 20)


@skipUnless(settings.REDIS_URL, "needs Redis")
class DefinitionTests(RememberedTestCase):
    """What is defined in the organization is known like who came."""

    def create(self, headers, **values):
        """The answer, and how often it was looked up what is defined."""
        body = {"last_name": "King", **values}
        with CaptureQueriesContext(connection) as queries:
            answer = self.client.post(PATH, body, "application/json", headers=headers)
        asked = [q for q in queries if re.search("FROM .core_(custom|org)", q["sql"])]
        return answer, len(asked)

    def test_it_is_read_once_and_anew_after_each_change(self):
        headers = self.sign_in()
        self.warm(headers)
        self.assertEqual(self.create(headers)[1], 1)
        self.assertEqual(self.create(headers)[1], 0)

        field = CustomField()
        values = {"applies_to": "contact", "key": "size", "label": "Size"}
        self.edit(field, kind="number", is_required=True, **values)
        answer, _ = self.create(headers)
        self.assertEqual(answer.status_code, 400)
        fields = [error["field"] for error in answer.json()["errors"]]
        self.assertEqual(fields, ["custom_fields.size"])
        answer, asked = self.create(headers, custom_fields={"size": 7})
        self.assertEqual((answer.status_code, asked), (201, 0))

        self.edit(field, is_required=False)
        self.assertEqual(self.create(headers)[0].status_code, 201)

    def test_a_new_country_of_the_organization_counts_at_once(self):
        headers = self.sign_in()
        for country, number in (("CH", "+41446681800"), ("DE", "+49446681800")):
            self.edit(self.cast.organization, country=country)
            answer, _ = self.create(headers, phone="044 668 18 00")
            self.assertEqual(answer.json()["phone_e164"], number)


@skipUnless(settings.REDIS_URL, "needs Redis")
class RevocationTests(RememberedTestCase):
    """What ends a right ends it at the next request."""

    def assertEnds(self, headers, end, status=401):
        """Once `end` is called, remembered reads and writes are refused at once."""
        self.warm(headers)
        end()
        answer, _ = self.get(headers)
        self.assertEqual(answer.status_code, status, answer.content)
        # Nor is the way through the view open, where credentials are remembered too.
        answer, _ = self.get(headers, f"{PATH}?page_size=7")
        self.assertEqual(answer.status_code, status, answer.content)
        answer = self.client.patch(
            f"{PATH}{self.contact.pk}/",
            {"first_name": "Eve"},
            "application/json",
            headers=headers,
        )
        self.assertEqual(answer.status_code, status, answer.content)

    def sessions(self):
        return UserSession.objects.filter(user=self.dora)

    def me(self) -> User:
        return User.objects.get(pk=self.dora.pk)

    def set_password(self):
        me = self.me()
        me.set_password("quite another one")
        me.save()

    def test_signing_out(self):
        headers = self.sign_in()

        def sign_out():
            answer = self.client.delete(
                f"{APP}auth/session", headers={"X-Session-Token": self.session_token}
            )
            self.assertEqual(answer.status_code, 401)

        self.assertEnds(headers, sign_out)

    def test_the_session_is_ended_elsewhere(self):
        for end in (
            lambda: self.sessions().get().end(),
            lambda: SessionStore(self.session_token).flush(),
            lambda: SessionStore().delete(self.session_token),
        ):
            self.sessions().delete()
            self.assertEnds(self.sign_in(), end)

    def test_another_session_goes_on(self):
        first, token = self.sign_in(), self.session_token
        second = self.sign_in()
        self.warm(second)
        self.assertEnds(first, lambda: SessionStore().delete(token))
        self.assertFalse(self.get(second)[1])

    def test_a_new_password(self):
        self.assertEnds(self.sign_in(), self.set_password)

    def test_a_new_password_ends_keys(self):
        self.assertEnds(self.key(), self.set_password)

    def test_whoever_leaves(self):
        for make in (self.sign_in, self.key):
            with self.subTest(make):
                headers = make()
                self.assertEnds(headers, lambda: self.edit(self.me(), is_active=False))
                self.edit(self.me(), is_active=True)

    def test_a_revoked_key(self):
        def revoke():
            with system_changes(self.cast.organization) as changes:
                revoke_keys(self.dora, changes)

        self.assertEnds(self.key(), revoke)

    def test_credentials_that_expire(self):
        for headers, ends in (
            (self.sign_in(), timedelta(minutes=16)),
            (self.key(), timedelta(days=91)),
        ):
            later = timezone.now() + ends
            self.warm(headers)
            with (
                mock.patch("time.time", return_value=later.timestamp()),
                mock.patch("django.utils.timezone.now", return_value=later),
                mock.patch("jwt.api_jwt.datetime") as clock,
            ):
                clock.now.return_value = later
                answer, asked = self.get(headers)
            self.assertTrue(asked)
            self.assertEqual(answer.status_code, 401, answer.content)

    def test_a_role_that_may_nothing_any_more(self):
        headers = self.sign_in()
        self.warm(headers)
        self.edit(self.role, rights={})
        answer, _ = self.get(headers)
        self.assertEqual((answer.status_code, answer.json()["results"]), (200, []))
        detail, _ = self.get(headers, f"{PATH}{self.contact.pk}/")
        self.assertEqual(detail.status_code, 404)

    def test_another_role_hides_a_field_at_once(self):
        headers = self.sign_in()
        self.warm(headers)
        role = make_role(self.cast.organization, "half", ALL)
        self.edit(role, field_rights={"contact": {"hidden": ["first_name"]}})
        self.edit(self.me(), role=role)
        answer, _ = self.get(headers)
        [result] = answer.json()["results"]
        self.assertNotIn("first_name", result)

    def test_a_role_that_asks_for_two_factors(self):
        self.assertEnds(
            self.sign_in(),
            lambda: self.edit(self.role, requires_two_factor=True),
            status=403,
        )

    def test_a_second_factor_that_is_removed(self):
        self.edit(self.role, requires_two_factor=True)
        factor = TOTP.activate(self.dora, "ABCDEFGH").instance
        RecoveryCodes.activate(self.dora)
        self.assertEnds(self.key(), factor.delete, status=403)

    # The moments in between

    def test_a_right_that_ends_while_it_is_proven(self):
        """The request that it ends in may still get its answer, the next gets none."""
        prove = cache.prove

        def leave_before(*arguments):
            self.edit(self.me(), is_active=False)
            return prove(*arguments)

        def leave_after(*arguments):
            proof = prove(*arguments)
            self.edit(self.me(), is_active=False)
            return proof

        for make in (self.sign_in, self.key):
            for race in (leave_before, leave_after):
                with self.subTest(make, race=race):
                    headers = make()
                    with mock.patch.object(cache, "prove", race):
                        self.get(headers)
                    self.assertEqual(self.get(headers)[0].status_code, 401)
                    self.edit(self.me(), is_active=True)

    def test_a_right_that_ends_after_it_was_proven_and_before_it_was_used(self):
        headers = self.sign_in()
        find = cache.find

        def late(*arguments):
            slot = find(*arguments)
            self.edit(self.me(), is_active=False)
            return slot

        with mock.patch.object(cache, "find", late):
            self.assertEqual(self.get(headers)[0].status_code, 200)
        self.assertEqual(self.get(headers)[0].status_code, 401)

    def test_while_a_change_of_rights_is_announced_nothing_is_remembered(self):
        headers = self.sign_in()
        self.warm(headers)
        mark = cache.mark(self.cast.organization.pk, ["role"])
        self.assertTrue(self.get(headers)[1])
        self.assertTrue(self.get(headers)[1])
        cache.lift(mark)
        self.warm(headers)


class MemoryTests(TestCase):
    def test_it_keeps_so_much_and_drops_what_was_not_used_longest(self):
        memory = Memory(2)
        memory.put("a", 1)
        memory.put("b", 2)
        self.assertEqual(memory.get("a"), 1)
        memory.put("c", 3)
        self.assertEqual(
            [memory.get(key) for key in ("a", "b", "c", "d")], [1, None, 3, None]
        )

    def test_what_a_request_does_to_its_user_no_other_sees(self):
        user = Cast().alice
        entry = remembered.Known(pickle.dumps((user, {})), cache.NOTHING)
        first, second = (entry.found()[0] for _ in range(2))
        first.role.rights["*"] = {}
        self.assertNotEqual(second.role.rights, first.role.rights)
        self.assertEqual(second.role.rights, user.role.rights)
