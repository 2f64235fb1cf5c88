from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from core.ids import new_id


class LetterQuerySet(models.QuerySet):
    def end(self) -> int:
        """Make links of no use, once: of several who try, one gets a 1."""
        open_ones = self.filter(ended_at=None).exclude(link="")
        return open_ones.update(ended_at=timezone.now())

    def waiting(self):
        """What is to be sent still, at whatever time."""
        now = timezone.now()
        return self.filter(
            sent_at=None, ended_at=None, given_up_at=None, expires_at__gt=now
        )

    def due(self):
        return self.waiting().filter(due_at__lte=timezone.now())


class Letter(models.Model):
    """An e-mail that a worker sends (core.letters). All e-mail leaves by this table.

    The row is the truth: it waits here until the mail server has taken it. What it says
    is worked out when it is sent, from what it is about.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(
        "core.Organization",
        models.PROTECT,
        related_name="+",
        null=True,
        db_index=False,
        help_text="Null where nobody of any has the address.",
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="letters",
        null=True,
        help_text="Null until the worker knows whose address it is, if anybody's.",
    )
    kind = models.CharField(max_length=30)
    email = models.EmailField(help_text="Where it goes.")
    link = models.CharField(
        max_length=500, blank=True, help_text="With a place for the key."
    )
    about = models.JSONField(default=dict, help_text="What its kind makes it from.")
    created_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(
        default=timezone.now, help_text="When a worker may try, or try again."
    )
    attempts = models.PositiveSmallIntegerField(
        default=0, help_text="How often a worker began to send it."
    )
    error = models.CharField(
        max_length=300, blank=True, help_text="Why the last attempt failed."
    )
    sent_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(
        null=True, help_text="When the mail server refused it for good."
    )
    expires_at = models.DateTimeField(
        help_text="Until when it is tried, and its link works."
    )
    ended_at = models.DateTimeField(
        null=True, help_text="When it was used, replaced, withdrawn or of no use."
    )

    objects = LetterQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                fields=["due_at"],
                name="letter_due",
                condition=Q(sent_at=None, ended_at=None),
            ),
            models.Index(
                fields=["organization", "-created_at", "-id"], name="letter_newest"
            ),
            models.Index(fields=["created_at"], name="letter_old"),
        ]

    def __str__(self):
        return f"{self.kind} to {self.email}"

    @property
    def state(self) -> str:
        """`sent`, `ended`, `given up`, `retried` or `waiting`."""
        if self.sent_at:
            return "sent"
        if self.ended_at:
            return "ended"
        if self.given_up_at or self.expires_at <= timezone.now():
            return "given up"
        return "retried" if self.attempts else "waiting"
