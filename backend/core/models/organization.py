from django.db import models
from django.utils import timezone

from core.ids import new_id


class Organization(models.Model):
    """A tenant. Every record belongs to one, and nobody sees into another."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=200)
    country = models.CharField(
        max_length=2,
        default="US",
        help_text="ISO 3166-1 code; phone numbers without one are of here.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self):
        return self.name
