from django.apps import AppConfig


class UserManagementConfig(AppConfig):
    name = "user_management"
    verbose_name = "People"

    def ready(self):
        from allauth.mfa.signals import authenticator_added

        from user_management import remembered, security  # noqa: F401

        authenticator_added.connect(end_other_sessions)


def end_other_sessions(sender, request, user, **kwargs):
    """Sessions from before 2FA were opened with a password alone."""
    from allauth.usersessions.internal import flows

    flows.sessions.end_other_sessions(request, user)
