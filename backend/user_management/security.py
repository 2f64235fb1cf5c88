"""Sign-in and passwords, written down as security events, and the end of keys."""

from allauth.core import context
from django.contrib.auth.signals import (
    user_logged_in,
    user_logged_out,
    user_login_failed,
)
from django.dispatch import receiver

from core.jsonvalues import storable
from core.models import ChangeSet, SecurityEvent
from core.origin import origin
from core.security import note
from user_management.models import User, revoke_keys

EMAIL_LENGTH = 254
Kind = SecurityEvent.Kind


@receiver(user_logged_in)
def note_sign_in(request, user, **kwargs):
    note(request, Kind.SIGN_IN, user)


@receiver(user_logged_out)
def note_sign_out(request, user, **kwargs):
    if user:
        note(request, Kind.SIGN_OUT, user)


@receiver(user_login_failed)
def note_failed_sign_in(credentials, request=None, **kwargs):
    """The account that was tried is looked up whether there is one or not: all take
    the same time."""
    tried = str(credentials.get("email") or credentials.get("username") or "")
    email = storable(tried, EMAIL_LENGTH)
    user = User.objects.filter(email=email.lower()).first()
    note(request, Kind.SIGN_IN_FAILED, user, email=email)


def note_password(user: User) -> None:
    """Somebody's password was changed, by themselves or by who asks for this now."""
    note(
        context.request,
        Kind.PASSWORD_CHANGED,
        acting(user),
        record_type=user.record_type(),
        record_id=user.pk,
    )


def end_keys(user: User) -> None:
    """End the keys of who has a new password: the old one may have made them."""
    if not user.api_keys.live().exists():
        return
    with ChangeSet.open(
        actor=acting(user),
        source=ChangeSet.Source.SYSTEM,
        reason="The password of the owner was changed.",
        **(origin(context.request) if context.request else {}),
    ) as changes:
        revoke_keys(user, changes)


def acting(user: User) -> User:
    """Who asks for this now; the user themselves where nobody is signed in."""
    actor = getattr(context.request, "user", None)
    return actor if actor and actor.is_authenticated else user
