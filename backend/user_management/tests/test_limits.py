import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from unittest import mock

from django.core.cache import cache
from django.db import DatabaseError, connections
from django.test import Client, TransactionTestCase, override_settings
from django.utils import timezone

from core.testing import PASSWORD
from user_management import limits
from user_management.models import Attempts

from .test_sign_in import APP, SignInTestCase, User

LOGIN = f"{APP}auth/login"
WRONG = "wrong-horse-battery"


def in_threads(work, count: int, threads: int = 25) -> list:
    """What `work(n)` gave for each n, done by as many threads at once."""
    barrier = threading.Barrier(threads)

    def one(n):
        if n < threads:
            barrier.wait(10)
        try:
            return work(n)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(count)))


class LimitTests(SignInTestCase):
    def test_too_many_attempts_answer_alike_for_known_and_unknown_accounts(self):
        answers = []
        for email in (self.user.email, f"x{self.user.email}"):
            for _ in range(5):
                self.assertEqual(self.sign_in(email, WRONG).status_code, 400)
            answers.append(self.sign_in(email, WRONG))
        known, unknown = answers
        for answer in answers:
            self.assertEqual(answer.status_code, 429)
            self.assertEqual(answer["Content-Type"], "application/problem+json")
            self.assertEqual(answer.json()["code"], "too_many_attempts")
            self.assertIn(int(answer["Retry-After"]), range(290, 301))
        self.assertEqual(known.content, unknown.content)

    def test_the_case_of_the_e_mail_is_no_way_round(self):
        for n in range(5):
            email = self.user.email.upper() if n % 2 else self.user.email
            self.sign_in(email, WRONG)
        self.assertEqual(self.sign_in().status_code, 429)

    def test_right_passwords_do_not_count(self):
        for _ in range(8):
            self.assertEqual(self.sign_in().status_code, 200)
            self.client.cookies.clear()

    def test_a_right_password_does_not_make_wrong_ones_forgotten(self):
        for _ in range(4):
            self.sign_in(password=WRONG)
        self.assertEqual(self.sign_in().status_code, 200)
        self.assertEqual(self.sign_in(password=WRONG).status_code, 400)
        self.assertEqual(self.sign_in().status_code, 429)

    def test_an_address_that_tries_many_accounts_is_stopped(self):
        with mock.patch.object(limits, "PER_ADDRESS", 7):
            codes = [
                self.sign_in(f"{n}{self.user.email}", WRONG).status_code
                for n in range(8)
            ]
            self.assertEqual(codes, [400] * 7 + [429])
            elsewhere = Client(REMOTE_ADDR="192.0.2.1")
            self.assertEqual(self.sign_in(client=elsewhere).status_code, 200)

    def forwarded(self, n, by):
        return Client(
            REMOTE_ADDR=self.address, headers={"X-Forwarded-For": f"192.0.2.{n}, {by}"}
        )

    def test_a_forged_x_forwarded_for_makes_no_new_address(self):
        with mock.patch.object(limits, "PER_ADDRESS", 3):
            codes = [
                self.sign_in(f"{n}@x.org", WRONG, self.forwarded(n, n)).status_code
                for n in range(4)
            ]
        self.assertEqual(codes, [400] * 3 + [429])

    @override_settings(ALLAUTH_TRUSTED_PROXY_COUNT=1)
    def test_behind_a_proxy_the_address_is_the_one_that_it_saw(self):
        with mock.patch.object(limits, "PER_ADDRESS", 3):
            codes = [
                self.sign_in(
                    f"{n}@x.org", WRONG, self.forwarded(n, self.address)
                ).status_code
                for n in range(4)
            ]
            other = self.forwarded(1, "198.51.100.7")
            self.assertEqual(self.sign_in(client=other).status_code, 200)
        self.assertEqual(codes, [400] * 3 + [429])

    @override_settings(ALLAUTH_TRUSTED_PROXY_COUNT=2)
    def test_a_request_round_the_proxies_has_the_address_of_its_connection(self):
        for header in ({}, {"X-Forwarded-For": "192.0.2.1"}):
            with self.subTest(header):
                client = Client(REMOTE_ADDR=self.address, headers=header)
                self.assertEqual(self.sign_in(client=client).status_code, 200)

    def test_the_password_for_a_change_of_password_counts_too(self):
        headers = {"Authorization": f"Bearer {self.tokens()['access_token']}"}
        body = {"current_password": WRONG, "new_password": "another-horse-battery"}
        path = f"{APP}account/password/change"
        codes = [self.send("post", path, body, **headers).status_code for _ in range(6)]
        self.assertEqual(codes, [400] * 5 + [429])

    def test_without_the_cache_people_get_in_and_are_counted_all_the_same(self):
        away = "redis://127.0.0.1:1/0"
        dead = {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": away,
            "OPTIONS": {"IGNORE_EXCEPTIONS": True},
        }
        with override_settings(REDIS_URL=away, CACHES={"default": dead}):
            self.assertEqual(self.sign_in().status_code, 200)
            self.client.cookies.clear()
            codes = [self.sign_in(password=WRONG).status_code for _ in range(6)]
            self.assertEqual(codes, [400] * 5 + [429])

    def test_a_cache_that_is_emptied_gives_no_further_tries(self):
        for _ in range(5):
            self.sign_in(password=WRONG)
        cache.clear()
        self.assertEqual(self.sign_in(password=WRONG).status_code, 429)

    def test_nobody_gets_in_when_the_counter_is_away(self):
        away = DatabaseError("gone")
        with mock.patch.object(limits, "_take", side_effect=away):
            answer = self.sign_in()
        self.assertEqual(answer.status_code, 503)
        self.assertEqual(answer["Retry-After"], "2")
        self.assertEqual(answer.json()["code"], "unavailable")

    def test_after_five_minutes_the_account_may_be_tried_again(self):
        for _ in range(5):
            self.sign_in(password=WRONG)
        self.assertEqual(self.sign_in().status_code, 429)
        Attempts.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
        self.assertEqual(self.sign_in().status_code, 200)

    def test_counters_whose_time_is_over_are_removed(self):
        self.sign_in(password=WRONG)
        limits.forget()
        self.assertEqual(Attempts.objects.count(), 2)
        Attempts.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
        limits.forget()
        self.assertEqual(Attempts.objects.count(), 0)


class ParallelTests(TransactionTestCase):
    """With threads that each have their own connection."""

    def setUp(self):
        SignInTestCase.setUpTestData.__func__(type(self))
        SignInTestCase.setUp(self)

    def test_of_a_hundred_passwords_at_once_five_are_checked(self):
        checked = []
        check = User.check_password

        def counted(user, password):
            checked.append(password)
            return check(user, password)

        def attempt(n):
            client = Client(
                REMOTE_ADDR="127.0.0.1", headers={"X-Forwarded-For": f"192.0.2.{n}"}
            )
            body = {"email": self.user.email, "password": f"{WRONG}-{n}"}
            return client.post(LOGIN, body, "application/json").status_code

        with mock.patch.object(User, "check_password", counted):
            codes = in_threads(attempt, 100)
        self.assertEqual((codes.count(400), codes.count(429)), (5, 95))
        self.assertEqual(len(checked), 5)

    def test_right_passwords_at_once_are_all_let_in_and_leave_no_count(self):
        def attempt(n):
            body = {"email": self.user.email, "password": PASSWORD}
            return Client().post(LOGIN, body, "application/json").status_code

        self.assertEqual(in_threads(attempt, 10, 5), [200] * 10)
        self.assertEqual(attempt(0), 200)
