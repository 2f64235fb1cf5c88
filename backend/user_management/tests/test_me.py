from django.contrib.auth import get_user_model
from django.test import TestCase
from rest_framework.test import APIClient

from core.models import Change
from core.testing import Cast, system_changes

User = get_user_model()
ME = "/api/users/me/"


class MeTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        self.alice = self.client_of(self.cast.alice)

    def client_of(self, user) -> APIClient:
        """Signed in by session, so that each request reads the user anew."""
        client = APIClient()
        client.force_login(user)
        return client

    def stored(self) -> User:
        return User.objects.get(pk=self.cast.alice.pk)

    def assertProblem(self, answer, status, errors=None, code="invalid"):
        self.assertEqual(answer.status_code, status, answer.content)
        self.assertEqual(answer["Content-Type"], "application/problem+json")
        problem = answer.json()
        self.assertEqual(problem["code"], code)
        if errors is not None:
            found = [(e["field"], e["code"]) for e in problem["errors"]]
            self.assertEqual(found, errors)
        return problem

    def test_everybody_sees_who_they_are_and_what_they_may(self):
        shown = self.alice.get(ME).json()
        alice = self.cast.alice
        self.assertEqual(
            {name: shown[name] for name in ("id", "email", "first_name", "version")},
            {
                "id": str(alice.pk),
                "email": alice.email,
                "first_name": "alice",
                "version": 1,
            },
        )
        self.assertEqual(shown["organization"]["name"], "Analytical Engines")
        self.assertEqual(shown["team"]["name"], "Sales")
        self.assertEqual(shown["role"]["rights"]["*"]["view"], "own")
        self.assertEqual(
            set(shown),
            {
                *("id", "email", "first_name", "last_name", "phone", "phone_e164"),
                *("department", "job_title", "bio", "avatar", "timezone", "language"),
                *("notifications", "dashboard"),
                *("organization", "role", "team", "manager", "is_staff"),
                *("version", "created_at", "updated_at"),
            },
        )

    def test_somebody_without_a_team_has_none(self):
        shown = self.client_of(self.cast.stranger).get(ME).json()
        self.assertIsNone(shown["team"])

    def test_a_change_is_saved_counted_and_journalled(self):
        answer = self.alice.patch(
            ME,
            {"first_name": "Alicia", "timezone": "Europe/London", "language": "de"},
            headers={"X-Change-Reason": "Married"},
        )
        self.assertEqual(answer.status_code, 200, answer.content)
        self.assertEqual(answer.json()["version"], 2)
        self.assertEqual(self.alice.get(ME).json(), answer.json())
        change = Change.objects.get(record_id=self.cast.alice.pk, verb="update")
        self.assertEqual(
            (change.record_type, change.before, change.after),
            (
                "user",
                {"first_name": "alice", "timezone": "UTC", "language": "en"},
                {
                    "first_name": "Alicia",
                    "timezone": "Europe/London",
                    "language": "de",
                },
            ),
        )
        self.assertEqual(change.change_set.actor, self.cast.alice)
        self.assertEqual(
            (change.change_set.source, change.change_set.reason), ("api", "Married")
        )

    def test_a_change_of_oneself_can_be_undone(self):
        self.alice.patch(ME, {"first_name": "Alicia"})
        change = Change.objects.get(record_id=self.cast.alice.pk, verb="update")
        undone = self.alice.post(f"/api/change-sets/{change.change_set_id}/undo/")
        self.assertEqual(undone.status_code, 200, undone.content)
        self.assertEqual(self.stored().first_name, "alice")

    def test_what_changes_nothing_writes_nothing(self):
        before = Change.objects.count()
        self.alice.patch(ME, {"first_name": "alice"})
        self.assertEqual((self.stored().version, Change.objects.count()), (1, before))

    def test_a_dry_run_changes_nothing(self):
        answer = self.alice.patch(f"{ME}?dry_run=true", {"first_name": "Alicia"})
        self.assertEqual(answer.json()["first_name"], "Alicia")
        self.assertEqual(
            (self.stored().first_name, self.stored().version), ("alice", 1)
        )

    def test_the_etag_tells_what_is_known_already(self):
        first = self.alice.get(ME)
        same = self.alice.get(ME, headers={"If-None-Match": first["ETag"]})
        self.assertEqual((same.status_code, same.content), (304, b""))
        self.alice.patch(ME, {"first_name": "Alicia"})
        now = self.alice.get(ME, headers={"If-None-Match": first["ETag"]})
        self.assertEqual(now.status_code, 200)

    def test_a_stale_change_is_refused_with_the_present_values(self):
        etag = self.alice.get(ME)["ETag"]
        fresh = self.alice.patch(
            ME, {"first_name": "Alicia"}, headers={"If-Match": etag}
        )
        self.assertEqual(fresh.status_code, 200)
        stale = self.alice.patch(ME, {"first_name": "Al"}, headers={"If-Match": etag})
        problem = self.assertProblem(stale, 412, code="stale")
        self.assertEqual(problem["current"], fresh.json())
        self.assertEqual(stale["ETag"], fresh["ETag"])
        self.assertEqual(self.stored().first_name, "Alicia")

    def test_what_others_decide_cannot_be_changed(self):
        for name, value in (
            ("id", str(self.cast.bob.pk)),
            ("email", "alicia@example.com"),
            ("is_staff", True),
            ("role", str(self.cast.manager.role.pk)),
            ("role", {"id": str(self.cast.manager.role.pk)}),
            ("team", None),
            ("organization", str(self.cast.other_organization.pk)),
            ("version", 7),
            ("created_at", "2020-01-01T00:00:00Z"),
            ("updated_at", "2020-01-01T00:00:00Z"),
        ):
            with self.subTest(name):
                answer = self.alice.patch(ME, {name: value, "first_name": "Alicia"})
                self.assertProblem(answer, 400, [(name, "read_only")])
                self.assertEqual(self.stored().version, 1)

    def test_what_was_read_can_be_sent_back_whole(self):
        shown = self.alice.get(ME).json()
        answer = self.alice.patch(ME, shown)
        self.assertEqual((answer.status_code, answer.json()), (200, shown))

    def test_unknown_fields_are_named_and_refused(self):
        for name in (
            "password",
            "is_superuser",
            "is_active",
            "last_login",
            "owner",
            "x",
        ):
            with self.subTest(name):
                answer = self.alice.patch(ME, {name: "x"})
                self.assertProblem(answer, 400, [(name, "unknown_field")])
        self.assertEqual(self.stored().version, 1)

    def test_wrong_values_are_named_and_refused(self):
        for name, value, code in (
            ("timezone", "Mars/Olympus", "invalid"),
            ("timezone", "../etc/passwd", "invalid"),
            ("timezone", "", "blank"),
            ("timezone", None, "null"),
            ("timezone", "x" * 51, "max_length"),
            ("language", "x" * 11, "max_length"),
            ("first_name", "x" * 101, "max_length"),
            ("first_name", None, "null"),
            ("first_name", [], "invalid"),
        ):
            with self.subTest(f"{name}={value}"):
                answer = self.alice.patch(ME, {name: value})
                self.assertProblem(answer, 400, [(name, code)])
                self.assertEqual(self.stored().version, 1)

    def test_unknown_parameters_are_refused(self):
        for answer in (
            self.alice.get(ME, {"surprise": 1}),
            self.alice.patch(f"{ME}?surprise=1", {"first_name": "Alicia"}),
        ):
            self.assertProblem(answer, 400, [("surprise", "unknown_parameter")])
        self.assertEqual(self.stored().version, 1)

    def test_anonymous_is_refused(self):
        for answer in (APIClient().get(ME), APIClient().patch(ME, {})):
            self.assertProblem(answer, 401, code="not_authenticated")

    def test_each_sees_only_themselves(self):
        for user in (self.cast.alice, self.cast.bob, self.cast.carol):
            self.assertEqual(self.client_of(user).get(ME).json()["id"], str(user.pk))

    def test_what_changes_around_somebody_is_seen_at_once(self):
        def change(record, **fields):
            with (
                self.captureOnCommitCallbacks(execute=True),
                system_changes(self.cast.organization) as changes,
            ):
                changes.save(record, **fields)

        for record, fields, where in (
            (self.cast.team, {"name": "Marketing"}, "team"),
            (self.cast.alice.role, {"name": "owner of all"}, "role"),
            (self.cast.organization, {"name": "Engines Ltd"}, "organization"),
        ):
            with self.subTest(where):
                self.alice.get(ME)
                change(record, **fields)
                self.assertEqual(
                    self.alice.get(ME).json()[where]["name"], fields["name"]
                )
