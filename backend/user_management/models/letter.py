from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from core.ids import new_id


class LetterQuerySet(models.QuerySet):
    def end(self) -> int:
        """Make links of no use, once: of several who try, one gets a 1."""
        open_ones = self.filter(ended_at=None).exclude(kind=Letter.Kind.EMAIL_CHANGED)
        return open_ones.update(ended_at=timezone.now())

    def due(self):
        now = timezone.now()
        return self.filter(
            sent_at=None, ended_at=None, due_at__lte=now, expires_at__gt=now
        )


class Letter(models.Model):
    """An e-mail that a worker sends, and the link in it (user_management.letters).

    The row is the truth: it waits here until the mail server has taken it.
    """

    class Kind(models.TextChoices):
        INVITATION = "invitation"
        EMAIL_CHANGE = "email_change"
        EMAIL_CHANGED = "email_changed"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="letters"
    )
    kind = models.CharField(max_length=20, choices=Kind)
    email = models.EmailField(help_text="Where it goes.")
    link = models.CharField(
        max_length=500, blank=True, help_text="With a place for the key."
    )
    created_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(
        default=timezone.now, help_text="When a worker may try, or try again."
    )
    sent_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(
        null=True, help_text="When the link was used, replaced or withdrawn."
    )

    objects = LetterQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                fields=["due_at"],
                name="letter_due",
                condition=Q(sent_at=None, ended_at=None),
            )
        ]

    def __str__(self):
        return f"{self.kind} to {self.email}"
