"""Security events: what the journal does not tell, for no record changes by it."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from .append_only import AppendOnly


class SecurityEvent(AppendOnly):
    """A sign-in, a refusal and the like. core.security writes them."""

    class Kind(models.TextChoices):
        SIGN_IN = "sign_in"
        SIGN_IN_FAILED = "sign_in_failed"
        SIGN_OUT = "sign_out"
        PASSWORD_CHANGED = "password_changed"  # noqa: S105
        REFUSED = "refused"
        EXPORT = "export"
        ERASURE = "erasure"

    organization = models.ForeignKey(
        "core.Organization",
        models.PROTECT,
        related_name="+",
        null=True,
        db_index=False,
        help_text="None where nobody knows the account.",
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="+",
        null=True,
        help_text="Who did it; of a failed sign-in, whose account was tried.",
    )
    api_key = models.ForeignKey(
        settings.KNOX_TOKEN_MODEL,
        models.PROTECT,
        related_name="+",
        null=True,
        help_text="The key that the user came with.",
    )
    kind = models.CharField(max_length=20, choices=Kind)
    record_type = models.CharField(max_length=50, blank=True)
    record_id = models.UUIDField(null=True)
    detail = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True)
    address = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                fields=["organization", "created_at", "id"], name="security_newest"
            ),
        ]

    def __str__(self):
        return f"{self.kind} by {self.user or 'somebody'} at {self.created_at}"
