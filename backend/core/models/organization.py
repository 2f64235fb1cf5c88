import datetime
import uuid

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.dispatch import Signal
from django.utils import timezone
from django_countries import countries

from core.currencies import CURRENCIES
from core.timezones import timezones

from .record import Journaled, JournaledQuerySet

# Sent when an organization has another time zone, in the transaction of that: with
# `organization` and `before`, the name of the one until then. A signal, as what follows
# from it is the work of apps that this one does not know.
timezone_changed = Signal()

SHORTEST_RETENTION_DAYS = 30
LONGEST_DAYS = 36_500


class OrganizationQuerySet(JournaledQuerySet):
    """Everybody sees the organization that they belong to, and no other."""

    def within(self, user, verb):
        if not user.is_authenticated:
            return self.none()
        return self.filter(pk=user.organization_id)


class Organization(Journaled):
    """A tenant. Every record belongs to one, and nobody sees into another."""

    # That this, and what is defined in it, is what it is here, where it is known.
    proof = None

    name = models.CharField(max_length=200)
    country = models.CharField(
        max_length=2,
        default="US",
        help_text="ISO 3166-1 code; phone numbers without one are of here.",
    )
    currency = models.CharField(
        max_length=3,
        default="USD",
        help_text="ISO 4217 code; amounts without one are in this currency.",
    )
    timezone = models.CharField(
        max_length=50, default="UTC", help_text="Of the IANA data base: Europe/Paris."
    )
    audit_retention_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[
            MinValueValidator(SHORTEST_RETENTION_DAYS),
            MaxValueValidator(LONGEST_DAYS),
        ],
        help_text="How long the audit log is kept; empty: for ever. What is older is"
        " erased, and cannot be undone any more.",
    )
    purge_after_days = models.PositiveIntegerField(
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_DAYS)],
        help_text="How long deleted records can be restored, and the rows that a job"
        " could not do be fetched.",
    )
    erased_before = models.DateTimeField(
        null=True,
        editable=False,
        help_text="What was logged before this has been, or is being, erased.",
    )

    objects = OrganizationQuerySet.as_manager()
    # The program's own note, which is no change that anybody made.
    unjournaled = ("erased_before",)
    summary_fields = ("id", "name")
    # The way to the organization of a row: here the row itself.
    organization_path = "pk"

    class Meta:
        ordering = ["name"]

    def __str__(self):
        return self.name

    @property
    def organization(self):
        """Itself, as for everything that the journal follows."""
        return self

    @organization.setter
    def organization(self, organization):
        self.organization_id = organization.pk

    @property
    def organization_id(self):
        return self.pk

    @organization_id.setter
    def organization_id(self, pk):
        if pk != self.pk:
            raise ValueError("An organization belongs to no other.")

    @classmethod
    def after_writes(cls, updates, changes):
        for organization, before in updates:
            zone = (before or {}).get("timezone", organization.timezone)
            if zone != organization.timezone:
                timezone_changed.send(cls, organization=organization, before=zone)

    def kept_since(self) -> datetime.datetime | None:
        """The first moment whose log is kept, the start of a day; None: all is."""
        if self.audit_retention_days is None:
            return None
        today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
        return today - datetime.timedelta(days=self.audit_retention_days)

    def clean(self):
        super().clean()
        known = {
            "country": (dict(countries), "Give an ISO 3166-1 code, such as US."),
            "currency": (CURRENCIES, "Give an ISO 4217 code, such as USD."),
            "timezone": (timezones(), "Unknown time zone."),
        }
        errors = {
            name: ValidationError(message, code="invalid")
            for name, (values, message) in known.items()
            if getattr(self, name) not in values
        }
        if errors:
            raise ValidationError(errors)


class OrganizationSettingsQuerySet(JournaledQuerySet):
    def within(self, user, verb):
        if not user.is_authenticated:
            return self.none()
        return self.filter(organization=user.organization_id)


class OrganizationSettings(Journaled):
    """Settings of an organization in one field of work: one row, or the defaults.

    All of its people see them; the right `organization: edit` is that to change them.
    """

    objects = OrganizationSettingsQuerySet.as_manager()

    class Meta:
        abstract = True

    @classmethod
    def of(cls, organization) -> "OrganizationSettings":
        """The settings of an organization; not saved yet where nobody changed any."""
        return cls.objects.filter(organization=organization).first() or cls(
            # The same id whoever makes the row: there is never a second one.
            id=uuid.uuid5(organization.pk, cls.record_type()),
            organization=organization,
            created_at=organization.created_at,
            updated_at=organization.created_at,
        )
