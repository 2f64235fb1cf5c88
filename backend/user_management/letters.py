"""E-mails with a link that does one thing, once.

A letter is a row, written with what it is about; a worker sends it after the commit. A
message to a worker only says "look": if it is lost, or the mail server is away, the
next sweep tries again. The key of a link is the row's id, signed: no secret is kept,
and what is sent twice, after a worker died, is the same e-mail with the same id.
"""

import logging
from datetime import timedelta
from email.utils import parseaddr

from django.conf import settings
from django.core import signing
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.db.models import Count, Min
from django.template.loader import render_to_string
from django.utils import timezone

from core.jobs import tell
from core.metrics.gauges import queue
from user_management.models import Letter, User

logger = logging.getLogger(__name__)

# Stands in a link where the key will.
KEY = "__key__"
RETRY_SECONDS = 60  # longer than sending takes
AT_ONCE = 100

SUBJECTS = {
    Letter.Kind.INVITATION: "You are invited to MyCRM",
    Letter.Kind.EMAIL_CHANGE: "Confirm your new e-mail address",
    Letter.Kind.EMAIL_CHANGED: "Your e-mail address was changed",
}

signer = signing.Signer(salt="mycrm.letter", sep=".")


def post(user: User, kind: Letter.Kind, email: str, link: str = "") -> Letter:
    """Write a letter, and tell a worker after the commit. Older links end.

    Args:
        link: where it leads, with KEY in the place of the key.
    """
    Letter.objects.filter(user=user, kind=kind).end()
    letter = Letter.objects.create(
        user=user,
        kind=kind,
        email=email,
        link=link,
        expires_at=timezone.now() + timedelta(hours=settings.LINK_HOURS),
    )
    from user_management.tasks import send_letter

    transaction.on_commit(lambda: tell(send_letter, str(letter.pk)))
    return letter


def key_of(letter: Letter) -> str:
    return signer.sign(letter.pk.hex)


def find(key: str, kind: Letter.Kind) -> Letter | None:
    """The letter whose link has this key, if it may still be used."""
    try:
        pk = signer.unsign(key)
    except signing.BadSignature:
        return None
    usable = Letter.objects.filter(ended_at=None, expires_at__gt=timezone.now())
    return (
        usable.select_related("user__organization", "user__role", "user__team")
        .filter(pk=pk, kind=kind)
        .first()
    )


def use(letter: Letter) -> bool:
    """Use the link up, in the transaction of its work: true for one caller alone."""
    return bool(Letter.objects.filter(pk=letter.pk).end())


def send(pk) -> None:
    """Send a letter that is due, unless somebody else is at it."""
    try_again = timezone.now() + timedelta(seconds=RETRY_SECONDS)
    if not Letter.objects.due().filter(pk=pk).update(due_at=try_again):
        return
    letter = Letter.objects.select_related("user__organization").get(pk=pk)
    try:
        if _may_go(letter):
            _message(letter).send()
    except Exception:
        # A mail server fails in many ways; the next sweep tries again.
        logger.warning("A letter could not be sent: %s", pk, exc_info=True)
        return
    Letter.objects.filter(pk=pk).update(sent_at=timezone.now())


def send_due() -> None:
    due = Letter.objects.due().order_by("due_at").values_list("pk", flat=True)
    for pk in list(due[:AT_ONCE]):
        send(pk)


@queue("letters")
def waiting():
    due = Letter.objects.due().aggregate(number=Count("pk"), since=Min("created_at"))
    return due["number"], due["since"]


def _may_go(letter: Letter) -> bool:
    """Whether an address is somebody else's is asked here, where nobody can tell."""
    return (
        letter.kind != Letter.Kind.EMAIL_CHANGE
        or not User.objects.filter(email=letter.email).exists()
    )


def _message(letter: Letter) -> EmailMultiAlternatives:
    context = {
        "letter": letter,
        "user": letter.user,
        "link": letter.link.replace(KEY, key_of(letter)),
        "hours": settings.LINK_HOURS,
    }
    _, sender = parseaddr(settings.DEFAULT_FROM_EMAIL)
    template = f"user_management/letters/{letter.kind}"
    message = EmailMultiAlternatives(
        SUBJECTS[letter.kind],
        render_to_string(f"{template}.txt", context),
        to=[letter.email],
        headers={"Message-ID": f"<{letter.pk}@{sender.partition('@')[2]}>"},
    )
    message.attach_alternative(
        render_to_string(f"{template}.html", context), "text/html"
    )
    return message
