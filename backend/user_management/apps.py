from allauth.usersessions.apps import UserSessionsConfig
from django.apps import AppConfig


class UserManagementConfig(AppConfig):
    name = "user_management"
    verbose_name = "People"
    default = True

    def ready(self):
        from allauth.mfa.signals import authenticator_added

        from user_management import remembered, security  # noqa: F401

        authenticator_added.connect(end_other_sessions)


def end_other_sessions(sender, request, user, **kwargs):
    """Sessions from before 2FA were opened with a password alone."""
    from allauth.usersessions.internal import flows

    flows.sessions.end_other_sessions(request, user)


class SessionsConfig(UserSessionsConfig):
    """allauth's, with a sign-in that takes as long however many sessions there are."""

    default = False

    def ready(self):
        from allauth.account.signals import user_logged_in
        from allauth.usersessions.signals import on_user_logged_in

        super().ready()
        user_logged_in.disconnect(on_user_logged_in)
        user_logged_in.connect(note_session)


def note_session(sender, request, **kwargs):
    """Note the new session, without looking at all those that the user has.

    allauth asks three things of each of them, so that a script that signs in again and
    again would wait longer each time. Those that are gone leave once a day
    (user_management.sessions).
    """
    from allauth.usersessions.models import UserSession

    UserSession.objects.create_from_request(request)
