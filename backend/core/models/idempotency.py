from django.conf import settings
from django.db import models
from django.utils import timezone


class IdempotencyKey(models.Model):
    """The first answer to a POST, kept to be given again (core.idempotency)."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False
    )
    api_key = models.ForeignKey(
        settings.KNOX_TOKEN_MODEL,
        models.CASCADE,
        related_name="+",
        null=True,
        db_index=False,
        help_text="The key that the user came with: its answers are its own.",
    )
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(default=b"")
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "key"],
                condition=models.Q(api_key=None),
                name="idempotency_key_once",
            ),
            models.UniqueConstraint(
                fields=["api_key", "key"],
                condition=~models.Q(api_key=None),
                name="idempotency_key_once_for_api_key",
            ),
        ]

    def __str__(self):
        return self.key
