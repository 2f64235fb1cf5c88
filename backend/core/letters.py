"""All e-mail: rows that are written with what they are about, and sent after it.

A letter is a row (core.models.Letter); a worker sends it after the commit. A message to
a worker only says "look": if it is lost, or the mail server is away, the next sweep
tries again, later and later, until the letter expires. What is sent twice, because a
worker died between the mail server's answer and the note of it, is the same e-mail with
the same Message-ID. The key of a link is the row's id, signed: no secret is kept.

What letters there are, the apps declare:

    @letter("invitation", "You are invited to MyCRM", "user_management/letters")
    class Invitation(LetterKind): ...
"""

import logging
import time
from datetime import timedelta
from email.utils import parseaddr
from smtplib import SMTPRecipientsRefused
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core import signing
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.db.models import Count, Min
from django.template.loader import render_to_string
from django.utils import timezone

from core.jobs import tell
from core.metrics.gauges import queue
from core.models import Letter

logger = logging.getLogger(__name__)

# Stands in a link where the key will.
KEY = "__key__"
LONGEST_PAUSE = timedelta(hours=1)
AT_ONCE = 100
SLICE_SECONDS = 20
KEPT_DAYS = 90

signer = signing.Signer(salt="mycrm.letter", sep=".")


class LetterKind:
    """What letters of a kind say. An instance lives for the sending of one."""

    name: str
    subject: str
    # The path of its templates, without .txt and .html.
    template: str

    def __init__(self, letter: Letter):
        self.letter = letter

    def may_go(self) -> bool:
        """Whether it is still of use; asked here, where no client can tell."""
        return True

    def title(self) -> str:
        return self.subject

    def context(self) -> dict:
        """What the templates tell, besides `user` and `link`."""
        return {}

    def attachments(self) -> list[tuple[str, bytes, str]]:
        """(file name, content, media type) of each."""
        return []


KINDS: dict[str, type[LetterKind]] = {}


def letter(name: str, subject: str, folder: str):
    """Class decorator: letters with this name say what the class does."""

    def register(kind):
        kind.name, kind.subject = name, subject
        kind.template = f"{folder}/{name}"
        KINDS[name] = kind
        return kind

    return register


# Writing them


def write(user, kind: type[LetterKind], **values) -> Letter:
    """A letter, not saved yet, to where the user is reached."""
    values.setdefault("email", user.email if user else "")
    hours = values.pop("hours", settings.EMAIL_RETRY_HOURS)
    return Letter(
        user=user,
        organization_id=user and user.organization_id,
        kind=kind.name,
        expires_at=timezone.now() + timedelta(hours=hours),
        **values,
    )


def post(user, kind: type[LetterKind], **values) -> Letter:
    """Write a letter, and tell a worker after the commit. Older links end.

    Args:
        user: whom it goes to; None where the worker is to find out.
        values: `email`, if not the user's; `link`, where it leads, with KEY in the
            place of the key; `about`; `hours`, for which it is tried and its link
            works.
    """
    if user and values.get("link"):
        Letter.objects.filter(user=user, kind=kind.name).end()
    written = write(user, kind, **values)
    written.save(force_insert=True)
    tell_of(written)
    return written


def tell_of(written: Letter) -> None:
    """Wake a worker for a letter, once it is committed."""
    from core.tasks import send_letter

    transaction.on_commit(lambda: tell(send_letter, str(written.pk)))


# Their links


def key_of(written: Letter) -> str:
    return signer.sign(written.pk.hex)


def find(key: str, kind: type[LetterKind]) -> Letter | None:
    """The letter whose link has this key, if it may still be used."""
    try:
        pk = signer.unsign(key)
    except signing.BadSignature:
        return None
    usable = Letter.objects.filter(ended_at=None, expires_at__gt=timezone.now())
    return (
        usable.select_related("user__organization", "user__role", "user__team")
        .filter(pk=pk, kind=kind.name)
        .first()
    )


def use(written: Letter) -> bool:
    """Use the link up, in the transaction of its work: true for one caller alone."""
    return bool(Letter.objects.filter(pk=written.pk).end())


# Sending them


def send(pk) -> None:
    """Send a letter that is due, unless somebody else is at it."""
    related = ("user__organization", "user__role", "user__team")
    due = Letter.objects.due().filter(pk=pk)
    claimed = due.select_related(*related).first()
    if claimed is None:
        return
    # Noted before it is tried: a worker that dies of it is no reason to try it faster.
    tried = claimed.attempts
    claimed.attempts += 1
    claimed.due_at = timezone.now() + _pause(claimed.attempts)
    mine = due.filter(attempts=tried).update(
        attempts=claimed.attempts, due_at=claimed.due_at
    )
    if not mine:
        return
    try:
        kind = KINDS[claimed.kind](claimed)
        if kind.may_go():
            _message(kind).send()
            claimed.sent_at, claimed.error = timezone.now(), ""
        else:
            claimed.ended_at = timezone.now()
    except Exception as error:
        # A mail server fails in many ways; the next sweep tries again.
        logger.warning("A letter could not be sent: %s", pk, exc_info=True)
        claimed.error = f"{type(error).__name__}: {error}".replace("\0", "")[:300]
        if _is_for_good(error):
            claimed.given_up_at = timezone.now()
    fields = ["user", "organization", "sent_at", "given_up_at", "error"]
    if claimed.ended_at:
        # Not else: its link may have been used in the meantime.
        fields.append("ended_at")
    claimed.save(update_fields=fields)


def send_due(seconds: float = SLICE_SECONDS) -> None:
    """Send what is due, for a slice of time.

    A mail server that takes connections and says nothing costs EMAIL_TIMEOUT for each
    letter: a hundred of them would be longer than a task may take.
    """
    deadline = time.monotonic() + seconds
    due = Letter.objects.due().order_by("due_at").values_list("pk", flat=True)
    for pk in list(due[:AT_ONCE]):
        if time.monotonic() > deadline:
            break
        send(pk)


@queue("letters")
def waiting():
    due = Letter.objects.due().aggregate(number=Count("pk"), since=Min("created_at"))
    return due["number"], due["since"]


def forget() -> None:
    """Remove what was sent, or not, long ago."""
    before = timezone.now() - timedelta(days=KEPT_DAYS)
    Letter.objects.filter(created_at__lt=before, expires_at__lt=timezone.now()).delete()


def _pause(attempts: int) -> timedelta:
    """Until a letter is tried again: 1, 2, 4, ... minutes, and at most an hour.

    The first is longer than sending takes (EMAIL_TIMEOUT): until then it is claimed.
    """
    return min(timedelta(minutes=2 ** min(attempts - 1, 10)), LONGEST_PAUSE)


def _is_for_good(error: Exception) -> bool:
    """Whether the address was refused, and not just now."""
    # Here, as the web process sends nothing.
    from anymail.exceptions import AnymailRecipientsRefused

    if isinstance(error, SMTPRecipientsRefused):
        return all(code >= 500 for code, _ in error.recipients.values())
    return isinstance(error, AnymailRecipientsRefused)


def _message(kind: LetterKind) -> EmailMultiAlternatives:
    written = kind.letter
    zone = written.user.timezone if written.user else "UTC"
    context = {
        "user": written.user,
        "zone": zone,
        "link": written.link.replace(KEY, key_of(written)),
        "letter": written,
        "subject": kind.title(),
        "home": settings.FRONTEND_URL,
        **kind.context(),
    }
    with timezone.override(ZoneInfo(zone)):
        text, page = (
            render_to_string(f"{kind.template}.{ending}", context)
            for ending in ("txt", "html")
        )
    _, sender = parseaddr(settings.DEFAULT_FROM_EMAIL)
    message = EmailMultiAlternatives(
        # A name in it may hold anything, and a header is one line.
        " ".join(context["subject"].split()),
        text,
        to=[written.email],
        headers={
            "Message-ID": f"<{written.pk}@{sender.rpartition('@')[2]}>",
            # No absence note answers a program.
            "Auto-Submitted": "auto-generated",
        },
    )
    message.attach_alternative(page, "text/html")
    for name, content, media_type in kind.attachments():
        message.attach(name, content, media_type)
    return message
