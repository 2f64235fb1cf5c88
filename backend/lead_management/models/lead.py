from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from contact_management.models import Reachable
from core.exceptions import Conflict
from core.fields import CurrencyField, MoneyField
from core.importing.cells import is_yes, moment_of
from core.indexes import CollectionsIndex
from core.models import Record, unique_among_live
from lead_management.headers import LEAD_CHOICES, LEAD_HEADERS

from .stay import Staying


class Lead(Staying, Reachable):
    """Somebody who may become a customer, and how far that has come."""

    class Source(models.TextChoices):
        WEBSITE = "website"
        REFERRAL = "referral"
        SOCIAL_MEDIA = "social_media"
        EMAIL_CAMPAIGN = "email_campaign"
        COLD_CALL = "cold_call"
        TRADE_SHOW = "trade_show"
        ADVERTISEMENT = "advertisement"
        OTHER = "other"

    class Status(models.TextChoices):
        NEW = "new"
        CONTACTED = "contacted"
        QUALIFIED = "qualified"
        UNQUALIFIED = "unqualified"
        CONVERTED = "converted"
        LOST = "lost"

    class Priority(models.TextChoices):
        LOW = "low"
        MEDIUM = "medium"
        HIGH = "high"
        URGENT = "urgent"

    first_name = models.CharField(max_length=100, blank=True)
    last_name = models.CharField(max_length=100, blank=True)
    email = models.EmailField(blank=True, help_text="Kept in lower case.")
    company_name = models.CharField(max_length=200, blank=True)
    job_title = models.CharField(max_length=200, blank=True)
    lead_source = models.CharField(max_length=20, choices=Source, blank=True)
    status = models.CharField(
        max_length=20,
        choices=Status,
        default=Status.NEW,
        help_text="Chosen at creation; then it is moved by `transition/`.",
    )
    status_since = models.DateTimeField(default=timezone.now, editable=False)
    status_reason = models.CharField(
        max_length=500, blank=True, help_text="Why it came to its status."
    )
    priority = models.CharField(
        max_length=10, choices=Priority, default=Priority.MEDIUM
    )
    lead_score = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text="From 0 to 100."
    )
    estimated_value = MoneyField(null=True, blank=True)
    currency = CurrencyField(
        blank=True, help_text="ISO 4217 code; the organization's if not given."
    )
    probability = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(100)],
        help_text="That it becomes a customer, in percent.",
    )
    last_contacted_at = models.DateTimeField(null=True, blank=True)
    next_follow_up_at = models.DateTimeField(null=True, blank=True)
    notes = models.TextField(max_length=50_000, blank=True)

    summary_fields = ("id", "first_name", "last_name", "email", "company_name")
    search_fields = (
        *("first_name", "last_name", "email", "company_name"),
        *("phone", "phone_e164", "other_phones", "city"),
    )
    derived_from = {"phone_e164": "phone", "status_since": "status"}
    undone_fields = (*Reachable.undone_fields, "status_since")
    place = "status"
    import_headers = LEAD_HEADERS
    import_choices = LEAD_CHOICES
    import_extras = dict.fromkeys(("is_converted", "status_since"), "status")
    import_match = (
        ("email",),
        ("last_name", "first_name", "company_name", "phone_e164", "phone"),
    )

    class Meta(Record.Meta):
        constraints = [
            unique_among_live("email", name="lead_email_unique"),
            models.CheckConstraint(
                condition=~Q(last_name="", company_name="", email=""),
                name="lead_has_a_name",
            ),
            models.CheckConstraint(
                condition=Q(lead_score__lte=100), name="lead_score_at_most_100"
            ),
        ]
        indexes = [
            *Record.Meta.indexes,
            models.Index(
                fields=["organization", "status", "-created_at", "-id"],
                name="lead_status",
                condition=Q(deleted_at=None),
            ),
            models.Index(
                fields=["organization", "next_follow_up_at"],
                name="lead_follow_up",
                condition=Q(deleted_at=None, next_follow_up_at__isnull=False),
            ),
            # Of the reports: they count without looking at the leads themselves.
            models.Index(
                fields=[
                    *("organization", "created_at", "id", "owner"),
                    *("status", "lead_source", "last_contacted_at", "status_since"),
                ],
                name="lead_reports",
                condition=Q(deleted_at=None),
            ),
            CollectionsIndex(
                fields=["tags", "external_ids", "other_phones"],
                name="lead_collections",
            ),
        ]

    def __str__(self):
        name = f"{self.first_name} {self.last_name}".strip()
        return name or self.company_name or self.email

    @classmethod
    def after_writes(cls, updates, changes):
        cls.stays.rel.related_model.follow(updates, changes)

    def take_extras(self, draft, zone):
        """What another program tells of the status of a lead that was worked there.

        Its moment is for a new lead alone: one that is there has its own.
        """
        extras = draft.extras
        try:
            if "is_converted" in extras and is_yes(extras["is_converted"]):
                self.status = self.Status.CONVERTED
                draft.given["status"] = draft.extra_columns["is_converted"]
        except ValidationError as error:
            raise ValidationError({"is_converted": error}) from None
        if "status_since" not in extras:
            return
        try:
            self.status_since = moment_of(extras["status_since"], zone)
        except ValidationError as error:
            raise ValidationError({"status_since": error}) from None
        if self.status_since > timezone.now():
            detail = "This is yet to come."
            raise ValidationError({"status_since": ValidationError(detail, "future")})

    def arrival(self, reason: str) -> dict:
        """What comes with a new status: its moment, and why."""
        return {"status_since": self.next_moment(), "status_reason": reason}

    def guard(self, actor, changed):
        if self._state.adding:
            return
        is_edit = not changed & {"status", "deleted_at"}
        if self.status == self.Status.CONVERTED and is_edit:
            raise Conflict("A converted lead is not changed any more.", "converted")

    def clean(self):
        super().clean()
        if self.lacks_moment():
            # Only a move, and undo, give the moment with the status.
            detail = "The status is changed by a transition."
            raise ValidationError({"status": ValidationError(detail, "read_only")})
        self.email = self.email.lower()
        if self.estimated_value is not None and not self.currency:
            self.currency = self.organization.currency
        if not (self.last_name or self.company_name or self.email):
            raise ValidationError(
                "Give at least one of last name, company name and e-mail.",
                code="name_required",
            )
