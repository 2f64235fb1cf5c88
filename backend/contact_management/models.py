from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from contact_management.headers import CONTACT_HEADERS
from contact_management.normalisation import country_code
from core.fields import ExternalIdsField, LinkField, TagsField
from core.models import Record, unique_among_live
from core.phones import e164


class Contact(Record):
    """A person, or a company's address, that the organization knows."""

    class Type(models.TextChoices):
        CUSTOMER = "customer"
        PROSPECT = "prospect"
        VENDOR = "vendor"
        PARTNER = "partner"

    class Status(models.TextChoices):
        ACTIVE = "active"
        INACTIVE = "inactive"
        DO_NOT_CONTACT = "do_not_contact"

    salutation = models.CharField(max_length=30, blank=True)
    first_name = models.CharField(max_length=100, blank=True)
    last_name = models.CharField(max_length=100, blank=True)
    email = models.EmailField(blank=True, help_text="Kept in lower case.")
    phone = models.CharField(max_length=50, blank=True, help_text="As it was given.")
    phone_e164 = models.CharField(
        "phone (E.164)", max_length=20, blank=True, editable=False
    )
    mobile = models.CharField(max_length=50, blank=True, help_text="As it was given.")
    mobile_e164 = models.CharField(
        "mobile (E.164)", max_length=20, blank=True, editable=False
    )
    company_name = models.CharField(max_length=200, blank=True)
    job_title = models.CharField(max_length=200, blank=True)
    department = models.CharField(max_length=100, blank=True)
    address_line_1 = models.CharField(max_length=200, blank=True)
    address_line_2 = models.CharField(max_length=200, blank=True)
    city = models.CharField(max_length=100, blank=True)
    state = models.CharField(max_length=100, blank=True)
    postal_code = models.CharField(max_length=20, blank=True)
    country = models.CharField(
        max_length=100,
        blank=True,
        help_text="The ISO 3166-1 code where the name is known, else as it was given.",
    )
    contact_type = models.CharField(max_length=20, choices=Type, default=Type.PROSPECT)
    source = models.CharField(max_length=100, blank=True)
    status = models.CharField(max_length=20, choices=Status, default=Status.ACTIVE)
    website = LinkField(max_length=500, blank=True)
    linkedin = LinkField(max_length=500, blank=True)
    notes = models.TextField(max_length=50_000, blank=True)
    tags = TagsField()
    external_ids = ExternalIdsField()

    summary_fields = ("id", "first_name", "last_name", "email", "company_name")
    search_fields = (
        *("first_name", "last_name", "email", "company_name"),
        *("phone", "phone_e164", "mobile", "mobile_e164", "city"),
    )
    derived_from = {"phone_e164": "phone", "mobile_e164": "mobile"}
    import_headers = CONTACT_HEADERS
    import_match = (
        ("email",),
        ("last_name", "first_name", "company_name", "phone_e164", "phone"),
    )

    class Meta(Record.Meta):
        constraints = [
            unique_among_live("email", name="contact_email_unique"),
            models.CheckConstraint(
                condition=~Q(last_name="", company_name="", email=""),
                name="contact_has_a_name",
            ),
        ]
        indexes = [
            *Record.Meta.indexes,
            models.Index(
                fields=["organization", "last_name"], name="contact_last_name"
            ),
        ]

    def __str__(self):
        name = f"{self.first_name} {self.last_name}".strip()
        return name or self.company_name or self.email

    def clean(self):
        super().clean()
        self.email = self.email.lower()
        self.country = country_code(self.country)
        region = self.country if len(self.country) == 2 else self.organization.country
        self.phone_e164 = e164(self.phone, region)
        self.mobile_e164 = e164(self.mobile, region)
        if not (self.last_name or self.company_name or self.email):
            raise ValidationError(
                "Give at least one of last name, company name and e-mail.",
                code="name_required",
            )


class Tag(Record):
    """A name that records are sorted by, with its colour."""

    name = models.CharField(max_length=100)
    color = models.CharField(max_length=30, blank=True)

    summary_fields = ("id", "name", "color")

    class Meta(Record.Meta):
        constraints = [unique_among_live("name", name="tag_name_unique")]
