import re
from unittest import mock

from django.core import mail
from django.test import Client, TransactionTestCase, override_settings

from core import letters
from core.models import Letter
from core.testing import PASSWORD, broker_away, make_user
from user_management import services
from user_management.letters import PasswordReset

from .test_limits import in_threads
from .test_sign_in import APP, BROWSER, SignInTestCase, User

NEW = "another-horse-battery"


class PasswordResetTests(SignInTestCase):
    def ask(self, email=None, base=APP, **headers):
        body = {"email": email or self.user.email}
        answer = self.send("post", f"{base}auth/password/request", body, **headers)
        letters.send_due()
        return answer

    def link(self) -> str:
        self.assertEqual(self.ask().status_code, 200)
        return re.search(r"http\S+", mail.outbox[-1].body)[0]

    def key(self) -> str:
        return self.link().strip("/").rsplit("/", 1)[1]

    def reset(self, key, password=NEW):
        body = {"key": key, "password": password}
        return self.send("post", f"{APP}auth/password/reset", body)

    def password_is(self, password) -> bool:
        return User.objects.get(pk=self.user.pk).check_password(password)

    def test_the_link_of_the_e_mail_sets_a_password(self):
        key = self.key()
        message = mail.outbox[-1]
        self.assertEqual((len(mail.outbox), message.to), (1, [self.user.email]))
        self.assertIn("Hello Dora,", message.body)
        answer = self.reset(key)
        self.assertEqual(answer.status_code, 401, answer.content)  # not signed in
        self.assertTrue(self.password_is(NEW))
        self.assertEqual(self.sign_in(password=NEW).status_code, 200)
        self.assertEqual(self.sign_in(password=PASSWORD).status_code, 400)

    def test_the_link_works_once(self):
        key = self.key()
        self.reset(key)
        self.assertEqual(self.reset(key, "third-horse-battery").status_code, 400)
        self.assertTrue(self.password_is(NEW))

    def test_the_link_leads_to_this_server_or_to_the_frontend(self):
        path = "/account/password/reset/key/"
        self.assertTrue(self.link().startswith(f"http://testserver{path}"))
        urls = {
            "account_reset_password_from_key": f"https://crm.example.com{path}{{key}}/"
        }
        with override_settings(HEADLESS_FRONTEND_URLS=urls):
            self.assertTrue(self.link().startswith(f"https://crm.example.com{path}"))

    def test_a_link_dies_with_a_sign_in_a_deactivation_and_an_hour(self):
        key = self.key()
        self.tokens()
        self.assertEqual(self.reset(key).status_code, 400)
        key = self.key()
        self.change(is_active=False)
        self.assertEqual(self.reset(key).status_code, 400)
        self.change(is_active=True)
        key = self.key()
        with override_settings(PASSWORD_RESET_TIMEOUT=-1):
            self.assertEqual(self.reset(key).status_code, 400)
        self.assertTrue(self.password_is(PASSWORD))

    def test_weak_passwords_are_refused(self):
        key = self.key()
        for password in ("short", "password1234", "", None, 7, "\0" * 12):
            with self.subTest(password):
                self.assertEqual(self.reset(key, password).status_code, 400)
        self.assertTrue(self.password_is(PASSWORD))

    def test_keys_that_are_none_of_ours_are_refused(self):
        for key in ("", "x", "-", "1-2-3", "\0", "é-é", f"{self.user.pk.hex}-x", 7, []):
            with self.subTest(key):
                self.assertEqual(self.reset(key).status_code, 400)
                answer = self.client.get(
                    f"{APP}auth/password/reset",
                    headers={"X-Password-Reset-Key": str(key)},
                )
                self.assertEqual(answer.status_code, 400)

    def test_everybody_gets_the_same_answer(self):
        left = make_user(
            self.cast.organization, "left", self.user.role, password=PASSWORD
        )
        self.user, dora = left, self.user
        self.change(is_active=False)
        answers = {
            (answer.status_code, answer.content)
            for answer in (
                self.ask(dora.email),
                self.ask(left.email),
                self.ask(self.cast.alice.email),  # has no password
                self.ask(self.nobody),
            )
        }
        self.assertEqual(answers, {(200, b'{"status": 200}')})
        self.assertEqual([message.to for message in mail.outbox], [[dora.email]])

    def test_asking_asks_no_question_about_the_account(self):
        for email in (self.user.email, self.nobody):
            with self.subTest(email), mock.patch.object(services.User, "objects"):
                body = {"email": email}
                answer = self.send("post", f"{APP}auth/password/request", body)
                self.assertEqual(answer.status_code, 200)

    def test_asking_is_limited_alike_for_each_account(self):
        for email in (self.user.email, self.nobody):
            with self.subTest(email):
                codes = [self.ask(email).status_code for _ in range(6)]
                self.assertEqual(codes, [200] * 5 + [429])
        self.assertEqual(len(mail.outbox), 5)

    def test_without_a_broker_nothing_is_lost(self):
        for email in (self.user.email, self.nobody):
            with (
                self.subTest(email),
                broker_away(),
                self.assertLogs("core.jobs", "WARNING"),
                self.captureOnCommitCallbacks(execute=True),
            ):
                body = {"email": email}
                answer = self.send("post", f"{APP}auth/password/request", body)
                self.assertEqual(answer.status_code, 200)
        self.assertEqual(mail.outbox, [])
        letters.send_due()
        self.assertEqual([message.to for message in mail.outbox], [[self.user.email]])
        states = Letter.objects.order_by("created_at")
        self.assertEqual([x.state for x in states], ["sent", "ended"])
        self.assertEqual([x.user for x in states], [self.user, None])

    def test_bad_requests_are_refused(self):
        for body in ({}, {"email": ""}, {"email": 7}, {"email": "x"}, {"email": "\0"}):
            for base in (APP, BROWSER):
                with self.subTest(f"{base} {body}"):
                    answer = self.send("post", f"{base}auth/password/request", body)
                    self.assertEqual(answer.status_code, 400)
        self.assertEqual(mail.outbox, [])


class ParallelTests(TransactionTestCase):
    """With threads that each have their own connection."""

    def setUp(self):
        SignInTestCase.setUpTestData.__func__(type(self))
        SignInTestCase.setUp(self)

    def key(self) -> str:
        letters.post(
            None, PasswordReset, email=self.user.email, link=letters.KEY, hours=1
        )
        letters.send_due()
        return re.search(r"\w{9,}-\w+-\w+", mail.outbox[-1].body)[0]

    def chosen(self, codes, passwords, good):
        """The passwords that those who were told of success chose."""
        user = User.objects.get(pk=self.user.pk)
        won = [p for p, code in zip(passwords, codes, strict=True) if code == good]
        self.assertEqual([user.check_password(p) for p in won], [True])

    def test_of_ten_uses_of_a_link_at_once_one_sets_its_password(self):
        key = self.key()
        passwords = [f"{NEW}-{n}" for n in range(10)]

        def reset(n):
            body = {"key": key, "password": passwords[n]}
            path = f"{APP}auth/password/reset"
            return Client().post(path, body, "application/json").status_code

        codes = in_threads(reset, 10, 10)
        self.chosen(codes, passwords, 401)  # not signed in, but done
        self.assertLessEqual(set(codes), {401, 400, 409})

    def test_on_the_page_too(self):
        page = f"/account/password/reset/key/{self.key()}/"
        passwords = [f"{NEW}-{n}" for n in range(4)]
        clients = [Client() for _ in passwords]
        forms = [client.get(page)["Location"] for client in clients]

        def reset(n):
            body = {"password1": passwords[n], "password2": passwords[n]}
            return clients[n].post(forms[n], body).status_code

        codes = in_threads(reset, 4, 4)
        self.chosen(codes, passwords, 302)
        self.assertLessEqual(set(codes), {302, 200, 409})
