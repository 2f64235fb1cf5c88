"""Sessions that ran out leave the database, and what was noted of them."""

from datetime import timedelta

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from user_management import tasks
from user_management.models import ApiKey

from .test_api_keys import make_key
from .test_sign_in import ME, SessionStore, SignInTestCase

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class EndSessionsTests(SignInTestCase):
    def signed_in(self, seen=timedelta(0)) -> tuple[str, dict]:
        """The key of a new session, last seen so long ago, and what it comes with."""
        known = set(UserSession.objects.values_list("session_key", flat=True))
        headers = {"Authorization": f"Bearer {self.tokens()['access_token']}"}
        [session] = UserSession.objects.exclude(session_key__in=known)
        moment = timezone.now() - seen
        UserSession.objects.filter(pk=session.pk).update(last_seen_at=moment)
        return session.session_key, headers

    def run_out(self, key, ago):
        session = SessionStore(key)
        session.set_expiry(timezone.now() - ago)
        session.save()

    def left(self) -> tuple[set, set]:
        return (
            set(Session.objects.values_list("session_key", flat=True)),
            set(UserSession.objects.values_list("session_key", flat=True)),
        )

    def test_what_ran_out_is_removed_and_the_rest_goes_on(self):
        live, headers = self.signed_in()
        silent, silent_headers = self.signed_in(13 * DAY)
        over, over_headers = self.signed_in(14 * DAY)
        self.run_out(silent, -HOUR)
        self.run_out(over, HOUR)
        tasks.end_sessions()
        self.assertEqual(self.left(), ({live, silent}, {live, silent}))
        for sent, status in (
            (headers, 200),
            (silent_headers, 200),
            (over_headers, 401),
        ):
            self.assertEqual(self.send("get", ME, **sent).status_code, status)

    def test_a_sign_in_asks_as_much_however_many_sessions_there_are(self):
        self.signed_in()  # the first one notes more
        counts = set()
        for sessions in (2, 3, 4):
            with CaptureQueriesContext(connection) as queries:
                self.signed_in()
            counts.add(len(queries))
            self.assertEqual(UserSession.objects.count(), sessions)
        self.assertEqual(len(counts), 1, counts)

    def test_what_was_noted_of_a_session_that_is_gone_follows_after_a_day(self):
        self.signed_in(DAY + HOUR)
        new, _ = self.signed_in(DAY - HOUR)
        Session.objects.all().delete()
        tasks.end_sessions()
        self.assertEqual(self.left(), (set(), {new}))

    def test_sessions_of_nobody_are_removed_too_and_api_keys_are_kept(self):
        self.client.get("/account/login/")
        session = self.client.session
        session["next"] = "/"
        session.save()
        self.run_out(session.session_key, HOUR)
        key, _ = make_key(self.user, "contacts:read")
        ApiKey._base_manager.update(expiry=timezone.now() - 30 * DAY)
        tasks.end_sessions()
        self.assertEqual(self.left(), (set(), set()))
        self.assertTrue(ApiKey.objects.filter(pk=key.pk).exists())
