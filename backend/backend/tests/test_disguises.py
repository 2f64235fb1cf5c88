"""Requests that pretend: to another method, another address, another person."""

from django.test import Client, TestCase, override_settings
from rest_framework.test import APIClient

from contact_management.models import Tag
from core.testing import PASSWORD, Cast, client_of, make_user

LOGIN = "/api/auth/app/v1/auth/login"
ME = "/api/users/me/"


class DisguiseTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        cls.tag = client_of(cls.cast.alice).post("/api/tags/", {"name": "vip"}).json()
        cls.where = f"/api/tags/{cls.tag['id']}/"

    def assertUntouched(self):
        tag = Tag.objects.get()
        self.assertEqual((tag.name, tag.version, tag.deleted_at), ("vip", 1, None))

    def test_no_header_and_no_field_changes_the_method(self):
        alice = client_of(self.cast.alice)
        for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
            for method, status in (("get", 200), ("post", 405)):
                with self.subTest(f"{method} {name}"):
                    call = getattr(alice, method)
                    answer = call(self.where, headers={name: "DELETE"})
                    self.assertEqual(answer.status_code, status)
        answer = alice.post(self.where, {"_method": "DELETE"})
        self.assertEqual(answer.status_code, 405)
        self.assertEqual(alice.get(f"{self.where}?_method=DELETE").status_code, 400)
        self.assertUntouched()

    @override_settings(DEBUG=False)
    def test_without_its_last_slash_an_address_does_nothing(self):
        alice = client_of(self.cast.alice)
        for method in ("get", "put", "patch", "delete"):
            with self.subTest(method):
                call = getattr(alice, method)
                answer = call(self.where.rstrip("/"))
                self.assertEqual(answer.status_code, 301)
                self.assertEqual(answer["Location"], self.where)
        self.assertEqual(alice.post("/api/tags", {"name": "x"}).status_code, 301)
        self.assertUntouched()

    def test_other_spellings_of_an_address_are_no_way_round(self):
        stranger = client_of(self.cast.stranger)
        pk = self.tag["id"]
        for where in (
            f"/api/tags/{pk.upper()}/",
            f"/api/tags/{{{pk}}}/",
            f"/api/tags/{pk.replace('-', '')}/",
            f"/api//tags/{pk}/",
            f"/api/contacts/../tags/{pk}/",
            f"/api/tags/{pk}/.json",
            f"/API/tags/{pk}/",
        ):
            with self.subTest(where):
                self.assertEqual(stranger.get(where).status_code, 404)

    def test_who_comes_with_a_token_and_a_cookie_is_the_token_s_person(self):
        dora = make_user(
            self.cast.organization, "dora", self.cast.stranger.role, password=PASSWORD
        )
        body = {"email": dora.email, "password": PASSWORD}
        signed_in = Client().post(LOGIN, body, content_type="application/json")
        bearer = f"Bearer {signed_in.json()['meta']['access_token']}"
        both = APIClient(enforce_csrf_checks=True)
        both.force_login(self.cast.alice)
        headers = {"Authorization": bearer}
        self.assertEqual(both.get(ME, headers=headers).json()["email"], dora.email)
        self.assertEqual(both.get(self.where, headers=headers).status_code, 404)
        self.assertEqual(both.delete(self.where, headers=headers).status_code, 404)
        self.assertUntouched()

    def test_a_token_that_is_none_does_not_fall_back_to_the_cookie_s_rights(self):
        both = APIClient(enforce_csrf_checks=True)
        both.force_login(self.cast.alice)
        for bearer in ("Bearer x", "Bearer ", "Basic x", "Bearer a b"):
            with self.subTest(bearer):
                headers = {"Authorization": bearer}
                answer = both.delete(self.where, headers=headers)
                self.assertIn(answer.status_code, (401, 403))
        self.assertUntouched()

    def test_a_cookie_alone_writes_nothing_without_the_csrf_token(self):
        page = APIClient(enforce_csrf_checks=True)
        page.force_login(self.cast.alice)
        for method in ("put", "patch", "delete"):
            with self.subTest(method):
                answer = getattr(page, method)(self.where, {"name": "x"})
                self.assertEqual(answer.status_code, 403)
        self.assertEqual(page.post("/api/tags/", {"name": "x"}).status_code, 403)
        self.assertUntouched()
