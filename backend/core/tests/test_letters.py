"""What holds for every e-mail, whatever it says."""

import time
from datetime import timedelta
from smtplib import SMTPRecipientsRefused
from unittest import mock

from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.test import TestCase, override_settings
from django.utils import timezone

from core import letters
from core.models import Letter, Notification
from core.notifications import NotificationLetter
from core.testing import Cast

SEND = "django.core.mail.EmailMessage.send"
MINUTE = timedelta(minutes=1)


class FrozenServer(BaseEmailBackend):
    """Takes its time to take nothing."""

    SECONDS = 0.05

    def send_messages(self, messages):
        time.sleep(self.SECONDS)
        raise TimeoutError("no answer")


class LetterTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        alice = self.cast.alice
        self.letter = letters.post(alice, NotificationLetter)
        Notification.objects.create(
            organization=alice.organization,
            user=alice,
            event="assignment",
            code="assigned",
            actor=self.cast.bob,
            subject_type="changeset",
            subject_id=self.letter.pk,
            count=3,
            at=timezone.now(),
            letter=self.letter,
        )

    def fail(self, error=None):
        error = error or OSError("no mail server")
        with mock.patch(SEND, side_effect=error), self.assertLogs("core.letters"):
            letters.send(self.letter.pk)
        self.letter.refresh_from_db()

    def pause(self) -> timedelta:
        return round((self.letter.due_at - timezone.now()) / MINUTE)

    def make_due(self):
        Letter.objects.update(due_at=timezone.now())

    def test_it_has_a_text_and_a_page_and_an_id_that_stays(self):
        letters.send_due()
        letters.send_due()
        [message] = mail.outbox
        self.assertEqual(message.to, [self.cast.alice.email])
        self.assertEqual(
            message.subject, f"{self.cast.bob} made you the owner of 3 records"
        )
        self.assertIn("the owner of 3 records", message.body)
        [page] = message.alternatives
        self.assertEqual(page.mimetype, "text/html")
        self.assertIn("the owner of 3 records", page.content)
        headers = message.message()
        self.assertEqual(headers["Message-ID"], f"<{self.letter.pk}@localhost>")
        self.assertEqual(headers["Auto-Submitted"], "auto-generated")

    def test_without_a_mail_server_it_is_tried_less_and_less_until_it_expires(self):
        pauses = []
        for _ in range(8):
            self.make_due()
            self.fail()
            pauses.append(self.pause())
        self.assertEqual(pauses, [1, 2, 4, 8, 16, 32, 60, 60])
        self.assertEqual(self.letter.state, "retried")
        self.assertEqual(self.letter.error, "OSError: no mail server")
        self.make_due()
        letters.send_due()
        self.letter.refresh_from_db()
        self.assertEqual((self.letter.state, self.letter.error), ("sent", ""))
        [message] = mail.outbox
        headers = message.message()
        self.assertEqual(headers["Message-ID"], f"<{self.letter.pk}@localhost>")

    def test_what_expired_is_given_up(self):
        self.fail()
        Letter.objects.update(expires_at=timezone.now(), due_at=timezone.now())
        letters.send_due()
        self.letter.refresh_from_db()
        self.assertEqual(self.letter.state, "given up")
        self.assertEqual(mail.outbox, [])

    def test_a_mail_server_that_is_frozen_is_asked_no_longer_than_a_slice(self):
        for _ in range(3):
            letters.post(self.cast.bob, NotificationLetter, email="bob@example.com")
        frozen = override_settings(EMAIL_BACKEND=f"{__name__}.FrozenServer")
        with frozen, self.assertLogs("core.letters"):
            letters.send_due(seconds=FrozenServer.SECONDS / 2)
        self.assertEqual(Letter.objects.filter(attempts=1).count(), 1)
        # Those that were not tried come first the next time.
        letters.send_due()
        self.assertEqual(Letter.objects.filter(attempts=1).count(), 4)

    def test_an_address_that_is_refused_for_good_is_given_up_at_once(self):
        for code, state in ((450, "retried"), (550, "given up")):
            with self.subTest(code):
                self.make_due()
                self.fail(SMTPRecipientsRefused({"a@example.com": (code, b"no")}))
                self.assertEqual(self.letter.state, state)
        self.make_due()
        letters.send_due()
        self.assertEqual(mail.outbox, [])

    def test_a_worker_that_dies_of_it_leaves_the_same_e_mail_to_the_next(self):
        sent = []

        class Killed(BaseException):
            """Nothing that a worker does runs after it."""

        def die(message):
            sent.append(message.message()["Message-ID"])
            raise Killed

        dying = mock.patch(SEND, autospec=True, side_effect=die)
        with dying, self.assertRaises(Killed):
            letters.send(self.letter.pk)
        letters.send_due()
        self.assertEqual(mail.outbox, [])  # it is claimed for a minute
        self.make_due()
        letters.send_due()
        letters.send_due()
        sent += [message.message()["Message-ID"] for message in mail.outbox]
        self.assertEqual(sent, [f"<{self.letter.pk}@localhost>"] * 2)

    def test_what_is_old_is_forgotten(self):
        long_ago = timezone.now() - timedelta(days=letters.KEPT_DAYS + 1)
        waiting = letters.post(self.cast.bob, NotificationLetter)
        Letter.objects.update(created_at=long_ago)
        Letter.objects.filter(pk=self.letter.pk).update(expires_at=long_ago)
        letters.forget()
        self.assertEqual([x.pk for x in Letter.objects.all()], [waiting.pk])
