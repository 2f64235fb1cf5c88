import re

from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client, TransactionTestCase

from core import letters
from core.models import Change, Letter
from core.testing import PASSWORD, make_role, make_user, system_changes
from user_management.letters import EmailChange, Invitation

from .test_limits import in_threads
from .test_sign_in import APP, BROWSER, SignInTestCase, User

EMAIL = f"{APP}account/email"
VERIFY = f"{APP}auth/email/verify"


class EmailChangeTests(SignInTestCase):
    def setUp(self):
        super().setUp()
        self.new = f"new-{self.user.email}"
        self.headers = {"Authorization": f"Bearer {self.tokens()['access_token']}"}
        self.client.cookies.clear()

    def sign_in_again(self):
        body = {"password": PASSWORD}
        answer = self.send("post", f"{APP}auth/reauthenticate", body, **self.headers)
        self.assertEqual(answer.status_code, 200, answer.content)

    def ask(self, email=None):
        self.sign_in_again()
        return self.send("post", EMAIL, {"email": email or self.new}, **self.headers)

    def mails(self) -> list[list[str]]:
        letters.send_due()
        return [message.to for message in mail.outbox]

    def link(self) -> str:
        self.mails()
        return re.search(r"http\S+", mail.outbox[-1].body)[0]

    def key(self) -> str:
        return self.link().strip("/").rsplit("/", 1)[1]

    def confirm(self, key):
        return self.send("post", VERIFY, {"key": key})

    def stored(self):
        return User.objects.get(pk=self.user.pk)

    def test_a_new_address_counts_once_its_link_was_used(self):
        answer = self.ask(self.new.upper())
        self.assertEqual(answer.status_code, 200, answer.content)
        shown = [(a["email"], a["primary"]) for a in answer.json()["data"]]
        self.assertEqual(shown, [(self.user.email, True), (self.new, False)])
        self.assertEqual(self.stored().email, self.user.email)
        key = self.key()
        seen = self.send("get", VERIFY, **{"X-Email-Verification-Key": key})
        self.assertEqual(seen.json()["data"]["email"], self.new)
        done = self.confirm(key)
        self.assertEqual(done.status_code, 401, done.content)  # as with a reset
        self.assertEqual(self.stored().email, self.new)
        self.assertEqual(self.sign_in(self.new).status_code, 200)
        self.client.cookies.clear()
        self.assertEqual(self.sign_in(self.user.email).status_code, 400)

    def test_it_is_journalled_told_to_the_old_address_and_ends_every_session(self):
        self.ask()
        self.confirm(self.key())
        change = Change.objects.filter(record_id=self.user.pk).latest("id")
        self.assertEqual(
            (change.before, change.after),
            ({"email": self.user.email}, {"email": self.new}),
        )
        self.assertEqual(change.change_set.reason, f"{self.new} was confirmed")
        self.assertEqual(self.mails(), [[self.new], [self.user.email]])
        self.assertIn("another e-mail address", mail.outbox[-1].body)
        me = self.send("get", "/api/users/me/", **self.headers)
        self.assertEqual(me.status_code, 401)
        addresses = EmailAddress.objects.filter(user=self.user)
        self.assertEqual(
            list(addresses.values_list("email", "primary", "verified")),
            [(self.new, True, True)],
        )

    def test_the_link_works_once_and_the_newest_alone(self):
        self.ask(f"first-{self.new}")
        first = self.key()
        self.ask()
        second = self.key()
        self.assertEqual(self.confirm(first).status_code, 400)
        self.assertEqual(self.confirm(second).status_code, 401)
        self.assertEqual(self.confirm(second).status_code, 400)
        self.assertEqual(self.stored().email, self.new)

    def test_a_link_dies_when_somebody_leaves(self):
        self.ask()
        key = self.key()
        self.change(is_active=False)
        self.change(is_active=True)
        self.assertEqual(self.confirm(key).status_code, 400)
        self.assertEqual(self.stored().email, self.user.email)

    def test_nobody_learns_whether_an_address_is_taken(self):
        bodies = []
        for email in (self.cast.carol.email, self.nobody):
            answer = self.ask(email)
            self.assertEqual(answer.status_code, 200)
            bodies.append(answer.content.replace(email.encode(), b"-"))
        self.assertEqual(*bodies)
        self.assertEqual(self.mails(), [[self.nobody]])

    def test_an_address_that_was_taken_meanwhile_stays_the_others(self):
        self.ask()
        key = self.key()
        other = make_user(self.cast.organization, "eve", self.user.role, email=self.new)
        answer = self.confirm(key)
        self.assertEqual(answer.status_code, 400, answer.content)
        self.assertEqual(answer.json()["errors"][0]["code"], "email_taken")
        self.assertEqual(self.stored().email, self.user.email)
        self.assertEqual(User.objects.get(email=self.new), other)

    def test_asking_needs_the_password_once_more(self):
        answer = self.send("post", EMAIL, {"email": self.new}, **self.headers)
        self.assertEqual(answer.status_code, 401, answer.content)
        flows = {flow["id"] for flow in answer.json()["data"]["flows"]}
        self.assertIn("reauthenticate", flows)
        self.assertFalse(Letter.objects.exists())

    def test_asking_needs_a_sign_in_and_2fa_where_the_role_wants_it(self):
        for base in (APP, BROWSER):
            answer = self.send("post", f"{base}account/email", {"email": self.new})
            self.assertIn(answer.status_code, (401, 403))
        with system_changes(self.cast.organization) as changes:
            changes.save(self.stored().role, requires_two_factor=True)
        answer = self.ask()
        self.assertEqual(answer.json()["code"], "two_factor_required")
        self.assertFalse(Letter.objects.exists())

    def test_asking_is_limited_in_the_api_and_on_the_page_together(self):
        answers = [self.ask(f"{n}{self.new}") for n in range(4)]
        client = Client(REMOTE_ADDR=self.address)
        client.force_login(self.user, "user_management.auth.Backend")
        body = {"email": f"5{self.new}", "password": PASSWORD}
        answers += [client.post("/account/email/", body) for _ in range(2)]
        codes = [answer.status_code for answer in answers]
        self.assertEqual(codes, [200] * 4 + [302, 429])
        self.assertEqual(self.ask(f"6{self.new}").json()["code"], "too_many_attempts")
        self.assertEqual(len(self.mails()), 1)
        self.assertEqual(Letter.objects.count(), 5)

    def test_bad_requests_are_refused(self):
        self.sign_in_again()
        for email in ("", "x", None, 7, [], "\0", "x" * 250 + "@example.com"):
            with self.subTest(email):
                answer = self.send("post", EMAIL, {"email": email}, **self.headers)
                self.assertEqual(answer.status_code, 400, answer.content)
        invitation = letters.post(self.user, Invitation, link=letters.KEY)
        for key in ("", "x", "\0", "é", 7, None, [], letters.key_of(invitation)):
            with self.subTest(key):
                self.assertEqual(self.confirm(key).status_code, 400)
                seen = self.send(
                    "get", VERIFY, **{"X-Email-Verification-Key": str(key)[:20]}
                )
                self.assertEqual(seen.status_code, 400)
        self.assertEqual(self.stored().version, 1)

    def test_an_administrators_change_of_an_address_leaves_no_way_in_by_the_old_one(
        self,
    ):
        EmailAddress.objects.create(
            user=self.user, email=self.user.email, primary=True, verified=True
        )
        self.change(email=self.new)
        self.client.cookies.clear()
        self.assertEqual(self.sign_in(self.user.email).status_code, 400)
        self.assertEqual(self.sign_in(self.new).status_code, 200)
        self.assertFalse(EmailAddress.objects.filter(email=self.user.email).exists())

    def test_the_pages_ask_for_the_password_and_confirm_with_a_button(self):
        browser = Client(REMOTE_ADDR=self.address)
        browser.post(
            "/account/login/", {"login": self.user.email, "password": PASSWORD}
        )
        page = "/account/email/"
        wrong = browser.post(page, {"email": self.new, "password": "wrong"})
        self.assertEqual(wrong.status_code, 200)
        self.assertFalse(Letter.objects.exists())
        sent = browser.post(page, {"email": self.new, "password": PASSWORD})
        self.assertRedirects(sent, page)
        link = self.link()
        self.assertContains(Client().get(link), self.new)
        self.assertEqual(self.stored().email, self.user.email)
        self.assertRedirects(Client().post(link), "/account/login/")
        self.assertEqual(self.stored().email, self.new)
        self.assertEqual(browser.get(page).status_code, 302)
        self.assertEqual(Client().get(link).status_code, 404)


class ParallelTests(TransactionTestCase):
    def test_of_two_who_want_an_address_at_once_one_gets_it(self):
        SignInTestCase.setUpTestData.__func__(type(self))
        role = make_role(self.cast.organization, "seller", {})
        people = [
            make_user(self.cast.organization, f"p{n}", role, password=PASSWORD)
            for n in range(2)
        ]
        keys = [
            letters.key_of(
                letters.post(
                    user, EmailChange, email="one@example.com", link=letters.KEY
                )
            )
            for user in people
        ]

        def confirm(n):
            return Client().post(VERIFY, {"key": keys[n]}, "application/json")

        codes = sorted(answer.status_code for answer in in_threads(confirm, 2, 2))
        self.assertEqual(codes, [400, 401])
        self.assertEqual(User.objects.filter(email="one@example.com").count(), 1)
