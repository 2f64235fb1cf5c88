import re
from datetime import timedelta
from unittest import mock

from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client, TransactionTestCase, override_settings
from django.utils import timezone

from core import letters
from core.models import Change, Letter
from core.testing import (
    ALL,
    OWN,
    Cast,
    broker_away,
    client_of,
    make_role,
    make_user,
)
from user_management import services
from user_management.letters import EmailChange
from user_management.models import User

from .test_limits import in_threads
from .test_people import MANAGES_PEOPLE, USERS, PeopleTestCase

PASSWORD = "correct-horse-battery"
LOGIN = "/api/auth/app/v1/auth/login"


class InvitationTestCase(PeopleTestCase):
    def invite(self, client=None, **body):
        body = {
            "email": "Ada@Example.com",
            "first_name": "Ada",
            "role": str(self.cast.alice.role.pk),
            **body,
        }
        return (client or self.client).post(USERS, body)

    def invited(self, **body) -> User:
        answer = self.invite(**body)
        self.assertEqual(answer.status_code, 201, answer.content)
        return User.objects.get(pk=answer.json()["id"])

    def link(self, user) -> str:
        """What the newest e-mail to somebody says, sent as a worker does."""
        letters.send_due()
        return re.search(r"http\S+", mail.outbox[-1].body)[0]

    def answer_at(self, link) -> str:
        return f"/api/invitations/{link.strip('/').rsplit('/', 1)[1]}/"

    def accept(self, address, password=PASSWORD, **body):
        return Client().post(
            address, {"password": password, **body}, "application/json"
        )

    def sign_in(self, email="ada@example.com", password=PASSWORD):
        body = {"email": email, "password": password}
        return Client(REMOTE_ADDR="10.9.8.7").post(LOGIN, body, "application/json")


class InvitationTests(InvitationTestCase):
    def test_an_invited_person_is_there_at_once_and_cannot_sign_in(self):
        manager = self.cast.manager
        answer = self.invite(team=self.cast.team.pk, manager=manager.pk)
        shown = answer.json()
        self.assertEqual(answer.status_code, 201, answer.content)
        self.assertEqual(
            [shown[name] for name in ("email", "is_active", "is_invited", "manager")],
            ["ada@example.com", False, True, str(manager.pk)],
        )
        self.assertTrue(answer["Location"].endswith(f"{USERS}{shown['id']}/"))
        listed = self.alice.get(USERS, {"is_invited": "true"}).json()
        self.assertEqual([user["id"] for user in listed["results"]], [shown["id"]])
        owned = client_of(manager).post(
            "/api/contacts/", {"last_name": "King", "owner": shown["id"]}
        )
        self.assertEqual(owned.status_code, 201, owned.content)
        self.assertEqual(self.sign_in(password="!").status_code, 400)
        change = Change.objects.get(record_id=shown["id"])
        self.assertEqual((change.verb, change.change_set.actor), ("create", self.admin))

    def test_the_link_of_the_e_mail_shows_who_is_invited_and_lets_them_in(self):
        user = self.invited()
        address = self.answer_at(self.link(user))
        message = mail.outbox[-1]
        self.assertEqual(message.to, ["ada@example.com"])
        self.assertIn("Hello Ada,", message.body)
        html = message.alternatives[0]
        self.assertEqual(html.mimetype, "text/html")
        self.assertIn(self.link(user) or "", html.content)
        shown = Client().get(address)
        self.assertEqual(shown["Cache-Control"], "no-store")
        self.assertEqual(
            {**shown.json(), "expires_at": None},
            {
                "email": "ada@example.com",
                "first_name": "Ada",
                "last_name": "",
                "organization": "Analytical Engines",
                "expires_at": None,
            },
        )
        self.assertEqual(self.accept(address).status_code, 204)
        user.refresh_from_db()
        self.assertEqual((user.is_active, user.is_invited), (True, False))
        verified = EmailAddress.objects.get(user=user)
        self.assertEqual((verified.email, verified.verified), (user.email, True))
        self.assertEqual(self.sign_in().status_code, 200)

    def test_the_link_works_once(self):
        address = self.answer_at(self.link(self.invited()))
        self.assertEqual(self.accept(address).status_code, 204)
        again = self.accept(address, "another-horse-battery")
        self.assertRefused(again, 404, "not_found")
        self.assertEqual(Client().get(address).status_code, 404)
        self.assertEqual(self.sign_in().status_code, 200)

    def test_a_link_ends_with_its_time_and_with_a_newer_one(self):
        user = self.invited()
        first = self.answer_at(self.link(user))
        answer = self.client.post(f"{USERS}{user.pk}/invite/")
        self.assertEqual(answer.status_code, 200, answer.content)
        second = self.answer_at(self.link(user))
        self.assertEqual(self.accept(first).status_code, 404)
        hours = Letter.objects.get(user=user, ended_at=None)
        left = (hours.expires_at - timezone.now()).total_seconds() / 3600
        self.assertAlmostEqual(left, 72, delta=0.1)
        Letter.objects.update(expires_at=timezone.now())
        self.assertEqual(self.accept(second).status_code, 404)
        user.refresh_from_db()
        self.assertEqual((user.is_active, user.has_usable_password()), (False, False))

    def test_a_corrected_address_ends_the_link_to_the_wrong_one(self):
        user = self.invited()
        address = self.answer_at(self.link(user))
        self.client.patch(f"{USERS}{user.pk}/", {"email": "ada@example.org"})
        self.assertEqual(self.accept(address).status_code, 404)

    def test_a_withdrawn_invitation_is_of_no_use_until_it_is_sent_again(self):
        user = self.invited()
        address = self.answer_at(self.link(user))
        gone = self.client.delete(f"{USERS}{user.pk}/invite/")
        self.assertEqual(gone.status_code, 204, gone.content)
        self.assertEqual(self.accept(address).status_code, 404)
        again = self.client.delete(f"{USERS}{user.pk}/invite/")
        self.assertRefused(again, 409, "not_invited")
        self.client.post(f"{USERS}{user.pk}/invite/")
        self.assertEqual(self.accept(self.answer_at(self.link(user))).status_code, 204)

    def test_who_has_a_password_is_not_invited_again(self):
        user = self.invited()
        self.accept(self.answer_at(self.link(user)))
        for state in (True, False):
            with self.subTest(active=state):
                self.client.patch(f"{USERS}{user.pk}/", {"is_active": state})
                answer = self.client.post(f"{USERS}{user.pk}/invite/")
                self.assertRefused(answer, 409, "accepted")
        self.assertEqual(Letter.objects.filter(user=user).count(), 1)

    def test_an_invited_person_becomes_active_by_accepting_only(self):
        answer = self.invite(is_active=True)
        self.assertEqual(answer.json()["errors"][0]["field"], "is_active")
        self.assertFalse(User.objects.filter(email="ada@example.com").exists())
        user = self.invited()
        refused = self.client.patch(f"{USERS}{user.pk}/", {"is_active": True})
        self.assertRefused(refused, 409, "invited")
        refused = self.client.patch(f"{USERS}{user.pk}/", {"is_invited": False})
        self.assertEqual(refused.json()["errors"][0]["code"], "read_only")
        user.refresh_from_db()
        self.assertEqual((user.is_active, user.is_invited), (False, True))

    def test_undo_withdraws_an_invitation_but_sends_nobody_away_who_came(self):
        user = self.invited()
        invitation = Change.objects.get(record_id=user.pk).change_set_id
        address = self.answer_at(self.link(user))
        undone = self.client.post(f"/api/change-sets/{invitation}/undo/")
        self.assertEqual(undone.json()["undone"], 1, undone.content)
        self.assertEqual(self.accept(address).status_code, 404)
        self.assertFalse(User.objects.get(pk=user.pk).is_invited)

        other = self.invited(email="grace@example.com")
        invitation = Change.objects.get(record_id=other.pk).change_set_id
        self.accept(self.answer_at(self.link(other)))
        refused = self.client.post(f"/api/change-sets/{invitation}/undo/")
        self.assertRefused(refused, 409, "undo_conflict")
        self.assertTrue(User.objects.get(pk=other.pk).is_active)

    def test_only_who_may_make_everybody_invites(self):
        user = self.invited()
        own = {
            **MANAGES_PEOPLE,
            "user": {"view": "all", "create": "own", "edit": "all"},
        }
        role = make_role(self.cast.organization, "makes own", ALL, **own)
        halfway = client_of(make_user(self.cast.organization, "halfway", role))
        users = User.objects.count()
        for client in (self.alice, client_of(self.cast.manager), halfway):
            self.assertRefused(
                self.invite(client, email="x@example.com"), 403, "permission_denied"
            )
            for method in ("post", "delete"):
                answer = getattr(client, method)(f"{USERS}{user.pk}/invite/")
                if client is not halfway or method == "post":
                    self.assertRefused(answer, 403, "permission_denied")
        self.assertEqual(User.objects.count(), users)

    def test_nobody_invites_to_a_role_beyond_their_own(self):
        role = make_role(self.cast.organization, "clerk", OWN, **MANAGES_PEOPLE)
        clerk = client_of(make_user(self.cast.organization, "clerk", role))
        for larger in (self.role, self.cast.manager.role):
            answer = self.invite(clerk, role=str(larger.pk))
            self.assertRefused(answer, 403, "permission_denied")
        self.assertFalse(Letter.objects.exists())
        self.assertEqual(self.invite(clerk).status_code, 201)

    def test_a_taken_address_is_said_to_be_taken_and_not_where(self):
        bodies = set()
        for taken in (self.cast.bob.email, self.cast.carol.email):
            answer = self.invite(email=taken)
            self.assertRefused(answer, 409, "unique")
            bodies.add(answer.content)
        self.assertEqual(len(bodies), 1)
        self.assertFalse(Letter.objects.exists())

    def test_a_dry_run_sends_nothing(self):
        answer = self.client.post(
            f"{USERS}?dry_run=true",
            {"email": "ada@example.com", "role": self.cast.alice.role.pk},
        )
        self.assertEqual(answer.status_code, 201, answer.content)
        self.assertFalse(User.objects.filter(email="ada@example.com").exists())
        self.assertFalse(Letter.objects.exists())

    def test_bad_invitations_name_the_field(self):
        for body, field in (
            ({"email": "x"}, "email"),
            ({"email": ""}, "email"),
            ({"role": str(self.cast.carol.role.pk)}, "role"),
            ({"role": None}, "role"),
            ({"manager": str(self.cast.carol.pk)}, "manager"),
            ({"password": PASSWORD}, "password"),
            ({"language": "xx"}, "language"),
        ):
            with self.subTest(body):
                answer = self.invite(**body)
                self.assertEqual(answer.status_code, 400, answer.content)
                self.assertEqual(
                    [error["field"] for error in answer.json()["errors"]], [field]
                )
        self.assertFalse(Letter.objects.exists())

    def test_weak_passwords_and_odd_bodies_leave_the_link_as_it_is(self):
        address = self.answer_at(self.link(self.invited()))
        for password in ("short", "password1234", "", None, [], {}, " " * 1001):
            with self.subTest(password):
                answer = self.accept(address, password)
                self.assertEqual(answer.status_code, 400, answer.content)
                fields = {error["field"] for error in answer.json()["errors"]}
                self.assertEqual(fields, {"password"})
        answer = self.accept(address, role="x")
        self.assertEqual(answer.json()["errors"][0]["code"], "unknown_field")
        self.assertEqual(self.accept(address).status_code, 204)

    def test_keys_that_are_none_of_ours_are_not_there(self):
        letter = letters.post(self.cast.bob, EmailChange, link=letters.KEY)
        Letter.objects.create(
            user=self.invited(),
            kind="invitation",
            email="ada@example.com",
            link=f"to/{letters.KEY}",
            expires_at=timezone.now() + timedelta(hours=1),
        )
        key = letters.key_of(Letter.objects.get(link=f"to/{letters.KEY}"))
        for bad in (
            *("x", "1.2", "é", "%00", letters.key_of(letter)),
            *(key[:-1], key.partition(".")[0], key.replace(".", "-")),
        ):
            with self.subTest(bad):
                address = f"/api/invitations/{bad}/"
                for answer in (Client().get(address), self.accept(address)):
                    self.assertRefused(answer, 404, "not_found")
                page = Client().get(f"/account/invitation/{bad}/")
                self.assertEqual(page.status_code, 404)
        self.assertEqual(Client().get(f"/api/invitations/{key}/").status_code, 200)

    def test_the_page_is_for_those_without_a_frontend(self):
        user = self.invited()
        link = self.link(user)
        self.assertTrue(link.startswith("http://testserver/account/invitation/"))
        page = Client()
        self.assertContains(page.get(link), "ada@example.com")
        weak = page.post(link, {"password1": "short", "password2": "short"})
        self.assertContains(weak, "too short")
        other = page.post(link, {"password1": PASSWORD, "password2": PASSWORD + "x"})
        self.assertEqual(other.status_code, 200)
        self.assertFalse(User.objects.get(pk=user.pk).is_active)
        done = page.post(link, {"password1": PASSWORD, "password2": PASSWORD})
        self.assertRedirects(done, "/account/login/")
        self.assertEqual(page.get(link).status_code, 404)
        self.assertEqual(self.sign_in().status_code, 200)

    def test_the_link_may_lead_to_a_frontend(self):
        urls = {"invitation": "https://crm.example.com/join/{key}"}
        with override_settings(HEADLESS_FRONTEND_URLS=urls):
            link = self.link(self.invited())
        self.assertTrue(link.startswith("https://crm.example.com/join/"))


class LetterTests(InvitationTestCase):
    def test_without_a_broker_the_sweep_sends_what_was_written(self):
        with (
            broker_away(),
            self.assertLogs("core.jobs", "WARNING"),
            self.captureOnCommitCallbacks(execute=True),
        ):
            self.invited()
        self.assertEqual(mail.outbox, [])
        letters.send_due()
        letters.send_due()
        self.assertEqual([message.to for message in mail.outbox], [["ada@example.com"]])

    def test_what_the_mail_server_refuses_is_tried_again_as_the_same_e_mail(self):
        self.invited()
        letter = Letter.objects.get()
        send = "django.core.mail.EmailMessage.send"
        with mock.patch(send, side_effect=OSError), self.assertLogs("core.letters"):
            letters.send_due()
        letters.send_due()
        self.assertEqual(mail.outbox, [])  # not at once
        Letter.objects.update(due_at=timezone.now())
        letters.send_due()
        [message] = mail.outbox
        self.assertEqual(
            message.extra_headers["Message-ID"], f"<{letter.pk}@localhost>"
        )
        self.assertIn(letters.key_of(letter), message.body)

    def test_two_workers_send_a_letter_once(self):
        self.invited()
        letter = Letter.objects.get()
        with mock.patch("django.core.mail.EmailMessage.send") as sent:
            sent.side_effect = lambda: letters.send(letter.pk)
            letters.send(letter.pk)
        self.assertEqual(sent.call_count, 1)

    def test_what_ended_or_expired_is_not_sent(self):
        self.invited()
        Letter.objects.update(expires_at=timezone.now())
        ended = self.invited(email="grace@example.com")
        self.client.delete(f"{USERS}{ended.pk}/invite/")
        letters.send_due()
        self.assertEqual(mail.outbox, [])


class ParallelTests(TransactionTestCase):
    """With threads that each have their own connection."""

    def test_of_ten_acceptances_at_once_one_sets_its_password(self):
        cast = Cast()
        user = make_user(cast.organization, "ada", cast.alice.role, is_active=False)
        user.set_unusable_password()
        from core.testing import system_changes

        with system_changes(cast.organization) as changes:
            services.invite_again(changes, user, letters.KEY)
        address = f"/api/invitations/{letters.key_of(user.letters.get())}/"
        passwords = [f"{PASSWORD}-{n}" for n in range(10)]

        def attempt(n):
            body = {"password": passwords[n]}
            return Client().post(address, body, "application/json").status_code

        codes = in_threads(attempt, 10, 10)
        self.assertEqual((codes.count(204), codes.count(404)), (1, 9))
        user = User.objects.get(pk=user.pk)
        self.assertTrue(user.check_password(passwords[codes.index(204)]))
        self.assertEqual(Change.objects.filter(record_id=user.pk).count(), 3)
