from django.db import models

from .lead import Lead
from .stay import Stay


class LeadStay(Stay):
    """A stay of a lead in a status."""

    lead = models.ForeignKey(Lead, models.CASCADE, related_name="stays")
    status = models.CharField(max_length=20, choices=Lead.Status)

    subject = "lead"
    place = "status"
    why = "status_reason"

    class Meta(Stay.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["lead", "entered_at"], name="lead_stay_unique"
            )
        ]
        indexes = [
            models.Index(
                fields=["organization", "status", "left_at"], name="lead_stay_left"
            )
        ]
