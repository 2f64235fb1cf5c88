from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from knox.settings import CONSTANTS

from core.models import Changes, Journaled, JournaledQuerySet
from core.models.values import snapshot
from user_management import scopes

API_KEY_DAYS = 90
MAX_API_KEY_DAYS = 365
# How often it is written down that a key is used.
USE_NOTED_EVERY = timedelta(minutes=1)


class ApiKeyQuerySet(JournaledQuerySet):
    def live(self) -> "ApiKeyQuerySet":
        """Keys that were not revoked and have not expired."""
        return self.filter(revoked_at=None, expiry__gt=timezone.now())


def in_90_days():
    return timezone.now() + timedelta(days=API_KEY_DAYS)


class ApiKey(Journaled):
    """What a program signs in with, in its owner's name and within its scopes.

    The key itself is told once, when it is made; kept is what it begins with, to
    recognise it, and a digest, to check it. A key that ended stays: the journal points
    at it.
    """

    owner = models.ForeignKey(
        "user_management.User",
        models.PROTECT,
        related_name="api_keys",
        editable=False,
    )
    name = models.CharField(max_length=100, help_text="What it is for.")
    scopes = models.JSONField(help_text="What it may do, such as `contacts:read`.")
    expiry = models.DateTimeField(
        default=in_90_days,
        help_text="When it ends: in 90 days if not given, in a year at most.",
    )
    prefix = models.CharField(
        max_length=CONSTANTS.TOKEN_KEY_LENGTH,
        editable=False,
        db_index=True,
        help_text="How the key begins, to recognise it.",
    )
    digest = models.CharField(max_length=CONSTANTS.DIGEST_LENGTH, editable=False)
    last_used_at = models.DateTimeField(
        null=True, editable=False, help_text="Up to six minutes behind."
    )
    # Not editable: undo brings no key back.
    revoked_at = models.DateTimeField(null=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()
    unjournaled = ("digest", "last_used_at")
    summary_fields = ("id", "name", "prefix")

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "API key"
        verbose_name_plural = "API keys"

    def __str__(self):
        return f"{self.name} ({self.prefix}...)"

    def clean(self):
        super().clean()
        if self._state.adding:
            self._check_scopes()
            self._check_expiry()

    def _check_scopes(self):
        known = scopes.scopes()
        given = self.scopes if isinstance(self.scopes, list) else []
        if not given:
            error = ValidationError("Give a list of scopes.", "required")
        elif unknown := [name for name in given if name not in known]:
            error = ValidationError(f"There is no scope '{unknown[0]}'.", "invalid")
        else:
            self.scopes = sorted(set(given))
            return
        raise ValidationError({"scopes": error})

    def _check_expiry(self):
        latest = timezone.now() + timedelta(days=MAX_API_KEY_DAYS)
        if not timezone.now() < self.expiry <= latest:
            raise ValidationError(
                {
                    "expiry": ValidationError(
                        f"Within the next {MAX_API_KEY_DAYS} days.", "invalid"
                    )
                }
            )

    def belongs_to(self):
        return self.owner

    @property
    def is_live(self) -> bool:
        """Whether it can be used; one without scopes is no key at all."""
        return (
            self.revoked_at is None
            and self.expiry > timezone.now()
            and isinstance(self.scopes, list)
            and bool(self.scopes)
        )

    def note_use(self) -> None:
        """Write down that it is used now; at most once a minute, and no journal.

        Asked where a key is checked: with Redis that is not at each request, but once
        what is remembered of it (user_management.remembered) is five minutes old.
        """
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at > USE_NOTED_EVERY:
            self.last_used_at = now
            self.save(update_fields=["last_used_at"])

    def covers(self, record_type: str, verb: str) -> bool:
        """Whether the key goes so far; the role of its owner has its say besides."""
        return self.is_live and scopes.covers(self.scopes, record_type, verb)


def revoke_keys(owner, changes: Changes) -> None:
    """End all keys of somebody, whatever the actor may do with keys."""
    updates = []
    for key in owner.api_keys.live().select_for_update(of=("self",)):
        before = snapshot(key)
        key.revoked_at = timezone.now()
        updates.append((key, before))
    changes.bulk_update(ApiKey, updates)
