import uuid

from rest_framework.test import APIClient

from core.testing.people import client_of

from .base import Contract


class Rights(Contract):
    """Who may, and who cannot tell a record from none."""

    def test_anonymous_is_refused(self):
        record = self.make()
        nobody = APIClient()
        for method, address in (
            ("get", self.path),
            ("post", self.path),
            ("get", self.address(record)),
            ("put", self.address(record)),
            ("patch", self.address(record)),
            ("delete", self.address(record)),
            ("get", self.address(record, "history/")),
            ("post", self.address(record, "restore/")),
        ):
            with self.subTest(f"{method} {address}"):
                response = getattr(nobody, method)(address)
                self.assertProblem(response, 401, "not_authenticated")
        self.assertEqual(self.stored(record).version, 1)

    def test_who_does_not_see_a_record_cannot_tell_it_from_none(self):
        record = self.make()
        missing = {"id": str(uuid.uuid4())}
        for user in (self.cast.stranger, self.cast.carol):
            client = client_of(user)
            self.assertEqual(client.get(self.path).json()["results"], [])
            for method, suffix in (
                ("get", ""),
                ("put", ""),
                ("patch", ""),
                ("delete", ""),
                ("get", "history/"),
                ("post", "restore/"),
            ):
                with self.subTest(f"{user}: {method} {suffix}"):
                    call = getattr(client, method)
                    response = call(self.address(record, suffix))
                    self.assertProblem(response, 404, "not_found")
                    none = call(self.address(missing, suffix))
                    self.assertEqual(response.content, none.content)
        self.assertEqual(self.alice.get(self.address(record)).json(), record)

    def test_the_team_sees_but_may_not_write(self):
        record = self.make()
        bob = client_of(self.cast.bob)
        self.assertEqual(bob.get(self.address(record)).json(), record)
        self.assertEqual(bob.get(self.path).json()["count"], 1)
        for method in ("put", "patch", "delete"):
            with self.subTest(method):
                response = getattr(bob, method)(self.address(record), self.body())
                self.assertProblem(response, 403, "permission_denied")
        self.assertEqual(self.alice.get(self.address(record)).json(), record)

    def test_a_reader_may_not_create(self):
        response = client_of(self.cast.reader).post(self.path, self.body())
        self.assertProblem(response, 403, "permission_denied")
        self.assertFalse(self.model.objects.exists())

    def test_a_relation_to_what_is_not_seen_is_refused_like_one_to_nothing(self):
        record = self.make()
        for name in self.view.representation.relations:
            editable = self.model._meta.get_field(name).editable
            code = "does_not_exist" if editable else "read_only"
            for other in (self.cast.carol.pk, uuid.uuid4()):
                with self.subTest(f"{name}: {other}"):
                    response = self.alice.patch(
                        self.address(record), {name: str(other)}
                    )
                    self.assertProblem(response, 400, code, name)
        self.assertEqual(self.stored(record).version, 1)

    def test_giving_a_record_away_needs_the_right_to_assign(self):
        record = self.make()
        gift = {"owner": str(self.cast.bob.pk)}
        response = self.alice.patch(self.address(record), gift)
        self.assertProblem(response, 403, "permission_denied")
        self.assertEqual(self.stored(record).owner_id, self.cast.alice.pk)
        given = client_of(self.cast.manager).patch(self.address(record), gift)
        self.assertEqual(given.json()["owner"], str(self.cast.bob.pk))
