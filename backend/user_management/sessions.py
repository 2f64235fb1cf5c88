"""Sessions that ran out. API keys are kept: their log tells whose they were."""

from datetime import timedelta
from importlib import import_module

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef
from django.utils import timezone

# A session may be noted a moment before it is there.
GRACE = timedelta(days=1)


def forget() -> None:
    """Remove sessions that ran out, and what sign-in noted of those that are gone."""
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
    sessions = Session.objects.filter(session_key=OuterRef("session_key"))
    noted = UserSession.objects.filter(last_seen_at__lt=timezone.now() - GRACE)
    noted.filter(~Exists(sessions)).delete()
