from django.conf import settings
from django.db import models

from .lead import Lead


class LeadStay(models.Model):
    """A stay of a lead in a status, once it has ended; the present one is the lead's.

    So an import of leads writes no row here. Rows follow from `status` and
    `status_since` of the lead, and are taken back with them: where a lead is again in
    a status since an earlier moment, nothing is known that came after that moment.
    """

    organization = models.ForeignKey(
        "core.Organization", models.PROTECT, related_name="+"
    )
    lead = models.ForeignKey(Lead, models.CASCADE, related_name="stays")
    status = models.CharField(max_length=20, choices=Lead.Status)
    reason = models.CharField(max_length=500, blank=True)
    entered_at = models.DateTimeField()
    left_at = models.DateTimeField()
    duration = models.DurationField()
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", null=True
    )

    class Meta:
        ordering = ["entered_at"]
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

    def __str__(self):
        return f"{self.status} for {self.duration}"

    @classmethod
    def follow(cls, lead: Lead, before: "tuple", actor) -> None:
        """Keep what a new status of a lead ended, or took back.

        Args:
            before: the status that the lead had, the moment it came to it, and why.
        """
        status, entered_at, reason = before
        if lead.status_since <= entered_at:
            lead.stays.filter(left_at__gt=lead.status_since).delete()
            return
        cls.objects.create(
            organization_id=lead.organization_id,
            lead=lead,
            status=status,
            reason=reason,
            entered_at=entered_at,
            left_at=lead.status_since,
            duration=lead.status_since - entered_at,
            ended_by=actor,
        )
