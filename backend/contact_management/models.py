from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet

from contact_management.headers import COMPANY_HEADERS, CONTACT_HEADERS
from contact_management.normalisation import country_code, label_of, numbered
from core import access, saved_filters
from core.circles import closes_circle
from core.fields import (
    MAX_LABEL_LENGTH,
    DomainField,
    EmailsField,
    ExternalIdsField,
    LabelledField,
    LinkField,
    PhonesField,
    TagsField,
    is_labelled,
    tags_field_of,
)
from core.importing.mapping import split_tags
from core.indexes import CollectionsIndex, ValuesIndex, order_indexes
from core.models import Record, RecordQuerySet, unique_among_live
from core.models.record import DELETED_INDEX
from core.phones import e164
from core.registry import record_types

PHONES = ("phone", "phone_e164", "phone_label", "other_phones")
ADDRESS = (
    *("address_line_1", "address_line_2", "city", "state", "postal_code", "country"),
)
# The parts of an address in a vCard: a box and a second line come before the street.
VCARD_ADDRESS = (
    *("", "address_line_2", "address_line_1"),
    *("city", "state", "postal_code", "country"),
)
# Texts of them that no list is ordered by.
REACHED_BY = ["phone", "phone_e164", "address_line_1", "postal_code", "state"]


class Reachable(Record):
    """What people and companies have in common: how they are reached and known."""

    phone = models.CharField(max_length=50, blank=True, help_text="As it was given.")
    phone_e164 = models.CharField(
        "phone (E.164)", max_length=20, blank=True, editable=False
    )
    phone_label = models.CharField(max_length=MAX_LABEL_LENGTH, blank=True)
    other_phones = PhonesField()
    website = LinkField(max_length=500, blank=True)
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
    tags = TagsField()
    external_ids = ExternalIdsField()

    # The texts that hold a phone; each has its E.164 beside it.
    phone_fields = ("phone",)
    # Where further values of a field go.
    further_fields = {"phone": "other_phones"}
    derived_from = {"phone_e164": "phone"}

    class Meta(Record.Meta):
        abstract = True

    def import_further(self, field, value, column):
        """Numbers and addresses are kept beside the first, tags and notes join them."""
        name = self.further_fields.get(field, field)
        try:
            kind = self._meta.get_field(name)
        except FieldDoesNotExist:
            return None
        if isinstance(kind, LabelledField):
            further = [{"value": value, "label": label_of(column)}]
        elif isinstance(kind, TagsField):
            further = split_tags(value)
        elif type(kind) is models.TextField:
            further = f"\n{value}"
        else:
            return None
        setattr(self, name, getattr(self, name) + further)
        return name

    def clean(self):
        super().clean()
        self.country = country_code(self.country)
        region = self.country if len(self.country) == 2 else self.organization.country
        taken = set()
        for name in self.phone_fields:
            text = getattr(self, name)
            number = e164(text, region)
            setattr(self, f"{name}_e164", number)
            taken |= {text, number}
        if is_labelled(self.other_phones):
            self.other_phones = numbered(self.other_phones, region, taken)


class Company(Reachable):
    """A company that the organization knows, and that contacts work for."""

    name = models.CharField(max_length=200)
    domain = DomainField(
        blank=True, help_text="Of its web site and e-mail addresses: example.com."
    )
    industry = models.CharField(max_length=100, blank=True)
    size = models.PositiveIntegerField(
        null=True, blank=True, help_text="The number of employees."
    )
    parent = models.ForeignKey(
        "self",
        models.SET_NULL,
        related_name="subsidiaries",
        null=True,
        blank=True,
        help_text="The company that this one belongs to.",
    )
    description = models.TextField(max_length=50_000, blank=True)

    mention_fields = ("description",)
    summary_fields = ("id", "name", "domain")
    search_fields = (
        *("name", "domain", "phone", "phone_e164", "other_phones", "city"),
    )
    import_headers = COMPANY_HEADERS
    import_match = (("domain",), ("name",))
    vcard = {
        "KIND": "org",
        "FN": ("name",),
        "ORG": ("name",),
        "TEL": ("phone", "phone_label", "other_phones"),
        "ADR": VCARD_ADDRESS,
        "URL": "website",
        "NOTE": "description",
        "CATEGORIES": "tags",
    }

    class Meta(Record.Meta):
        verbose_name_plural = "companies"
        constraints = [unique_among_live("domain", name="company_domain_unique")]
        indexes = [
            *Record.Meta.indexes,
            *order_indexes(
                *("company", "name", "domain", "industry", "city", "country"),
                *("size", "-size", "updated_at"),
            ),
            CollectionsIndex(
                fields=["external_ids", "other_phones", "tags"],
                name="company_collections",
            ),
            ValuesIndex(fields=REACHED_BY, name="company_values"),
        ]

    def __str__(self):
        return self.name

    # What it is below in the database; of one that was just made, nothing is known.
    _stored_parent_id = None

    @classmethod
    def from_db(cls, db, field_names, values):
        company = super().from_db(db, field_names, values)
        company._stored_parent_id = company.__dict__.get("parent_id")
        return company

    def clean(self):
        super().clean()
        moved = self.parent_id != self._stored_parent_id
        if moved and closes_circle(self, "parent"):
            error = ValidationError("A company cannot be above itself.", "circular")
            raise ValidationError({"parent": error})


class NamesCompany:
    """Mixin: imported rows can tell the company by its domain or an external id."""

    import_extras = {"company_domain": "company", "company_external_id.": "company"}

    @classmethod
    def prepare_import(cls, changes, drafts):
        from contact_management.services import set_companies

        set_companies(changes, [draft for draft in drafts if draft.extras])


class Contact(NamesCompany, Reachable):
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
    email_label = models.CharField(max_length=MAX_LABEL_LENGTH, blank=True)
    other_emails = EmailsField()
    mobile = models.CharField(max_length=50, blank=True, help_text="As it was given.")
    mobile_e164 = models.CharField(
        "mobile (E.164)", max_length=20, blank=True, editable=False
    )
    company = models.ForeignKey(
        "Company",
        models.CASCADE,
        related_name="contacts",
        null=True,
        blank=True,
        db_index=False,
        help_text="The first of the companies; affiliations tell the others.",
    )
    company_name = models.CharField(max_length=200, blank=True)
    job_title = models.CharField(max_length=200, blank=True)
    department = models.CharField(max_length=100, blank=True)
    contact_type = models.CharField(max_length=20, choices=Type, default=Type.PROSPECT)
    source = models.CharField(max_length=100, blank=True)
    status = models.CharField(max_length=20, choices=Status, default=Status.ACTIVE)
    linkedin = LinkField(max_length=500, blank=True)
    notes = models.TextField(max_length=50_000, blank=True)

    mention_fields = ("notes",)
    summary_fields = ("id", "first_name", "last_name", "email", "company_name")
    search_fields = (
        *("first_name", "last_name", "email", "other_emails", "company_name"),
        *("phone", "phone_e164", "mobile", "mobile_e164", "other_phones", "city"),
    )
    derived_from = {"phone_e164": "phone", "mobile_e164": "mobile"}
    further_fields = {
        **dict.fromkeys(("phone", "mobile"), "other_phones"),
        "email": "other_emails",
    }
    import_headers = CONTACT_HEADERS
    import_match = (
        ("email",),
        (
            *("last_name", "first_name", "company_name"),
            *("phone_e164", "phone", "mobile_e164", "mobile"),
        ),
    )
    vcard = {
        "KIND": "individual",
        "N": ("last_name", "first_name", "", "salutation", ""),
        "FN": ("first_name last_name", "company_name", "email"),
        "EMAIL": ("email", "email_label", "other_emails"),
        "TEL": ("phone", "phone_label", "other_phones"),
        "TEL;TYPE=cell": "mobile",
        "ORG": ("company_name", "department"),
        "TITLE": "job_title",
        "ADR": VCARD_ADDRESS,
        "URL": "website",
        "NOTE": "notes",
        "CATEGORIES": "tags",
    }

    phone_fields = ("phone", "mobile")

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
            *order_indexes(
                *("contact", "last_name", "first_name", "email", "company_name"),
                *("job_title", "city", "country", "status", "contact_type", "source"),
                "updated_at",
            ),
            models.Index(
                fields=["company", "-created_at", "-id"], name="contact_company"
            ),
            CollectionsIndex(
                fields=["external_ids", "other_emails", "other_phones", "tags"],
                name="contact_collections",
            ),
            ValuesIndex(
                fields=[*REACHED_BY, "mobile", "mobile_e164", "department"],
                name="contact_values",
            ),
        ]

    def settle_import(self, given):
        """Somebody who goes by a single name has it as the last one."""
        if not (self.last_name or self.company_name or self.email) and self.first_name:
            self.last_name, self.first_name = self.first_name, ""
            given.setdefault("last_name", given["first_name"])

    def __str__(self):
        name = f"{self.first_name} {self.last_name}".strip()
        return name or self.company_name or self.email

    def clean(self):
        super().clean()
        self.email = self.email.lower()
        if is_labelled(self.other_emails):
            self.other_emails = [
                e for e in self.other_emails if e["value"] != self.email
            ]
        if not (self.last_name or self.company_name or self.email):
            raise ValidationError(
                "Give at least one of last name, company name and e-mail.",
                code="name_required",
            )


class Affiliation(Record):
    """A further company of a contact, beside the one that stands on the contact."""

    contact = models.ForeignKey(Contact, models.CASCADE, related_name="affiliations")
    company = models.ForeignKey(Company, models.CASCADE, related_name="affiliations")
    job_title = models.CharField(max_length=200, blank=True)

    summary_fields = ("id", "job_title", "contact_id", "company_id")

    class Meta(Record.Meta):
        constraints = [
            unique_among_live(
                "contact", "company", name="affiliation_unique", unless_blank=False
            )
        ]

    def __str__(self):
        return f"{self.contact}: {self.company}"


class ContactGroup(Record):
    """Contacts that belong together: added one by one, or found by a filter.

    Who may edit the group decides who its members are; everybody sees of them what
    they see of contacts.
    """

    class Kind(models.TextChoices):
        STATIC = "static"
        DYNAMIC = "dynamic"

    name = models.CharField(max_length=100)
    description = models.TextField(max_length=2000, blank=True)
    kind = models.CharField(
        max_length=10,
        choices=Kind,
        default=Kind.STATIC,
        help_text="Static: members are added. Dynamic: those of the filter.",
    )
    filter = models.JSONField(
        default=dict,
        blank=True,
        help_text='Parameters of the list of contacts, such as `{"owner": "me"}`.',
    )

    summary_fields = ("id", "name", "kind")

    class Meta(Record.Meta):
        constraints = [unique_among_live("name", name="contactgroup_name_unique")]

    def __str__(self):
        return self.name

    @property
    def is_dynamic(self) -> bool:
        return self.kind == self.Kind.DYNAMIC

    def clean(self):
        super().clean()
        try:
            self._check_filter()
        except ValidationError as error:
            raise ValidationError({"filter": error}) from None

    def _check_filter(self):
        is_object = isinstance(self.filter, dict)
        if is_object and self.is_dynamic != bool(self.filter):
            raise ValidationError(
                "A dynamic group has a filter, and a static one has none.",
                code="required" if self.is_dynamic else "not_dynamic",
            )
        if is_object and "group" in self.filter:
            raise ValidationError("A group cannot be made of groups.", code="nested")
        saved_filters.require(Contact, self.filter, self.organization)

    def members(self, contacts: QuerySet, user) -> QuerySet:
        """Those of the contacts that are members, as the user sees it.

        Raises:
            ValidationError: the filter is not the user's to use, or none any more.
        """
        if self.is_dynamic:
            return saved_filters.narrowed(contacts, self.filter, user)
        memberships = GroupMembership.objects.live().filter(group=self)
        return contacts.filter(Exists(memberships.filter(contact=OuterRef("pk"))))


class GroupMembershipQuerySet(RecordQuerySet):
    owner_path = "group__owner"


class GroupMembership(Record):
    """That a contact is in a static group."""

    group = models.ForeignKey(
        ContactGroup, models.PROTECT, related_name="+", db_index=False
    )
    contact = models.ForeignKey(Contact, models.PROTECT, related_name="+")

    objects = GroupMembershipQuerySet.as_manager()

    summary_fields = ("id", "group", "contact")
    is_importable = False
    is_link = True

    class Meta(Record.Meta):
        # Nobody lists or searches memberships: they are looked up by their constraint.
        indexes = [DELETED_INDEX]
        constraints = [
            models.UniqueConstraint(
                fields=["group", "contact"],
                condition=Q(deleted_at=None),
                name="groupmembership_unique",
            )
        ]

    @classmethod
    def plural(cls):
        return ContactGroup.plural()

    def belongs_to(self):
        return self.group.owner


class Tag(Record):
    """A name that records are sorted by, with its colour."""

    name = models.CharField(max_length=100)
    color = models.CharField(max_length=30, blank=True)

    summary_fields = ("id", "name", "color")

    class Meta(Record.Meta):
        constraints = [unique_among_live("name", name="tag_name_unique")]

    def clean(self):
        super().clean()
        self.name = self.name.strip()
        if not self.name:
            raise ValidationError({"name": ValidationError("Empty.", code="blank")})

    def guard(self, actor, changed):
        super().guard(actor, changed)
        if "name" in changed:
            self._guard_records(actor)

    def _guard_records(self, actor):
        """Who renames a tag must be allowed to edit all that carry it."""
        old = type(self)._base_manager.filter(pk=self.pk).first()
        for name, model in tagged_types().items() if old else ():
            scope = access.scope_of(actor, name, access.Verb.EDIT)
            if scope != access.Scope.ALL:
                carrying = tagged(model, self.organization_id, old.name)
                own = model.objects.within(actor, access.Verb.EDIT)
                if carrying.exclude(pk__in=own.values("pk")).exists():
                    raise access.RightMissing(actor, name, access.Verb.EDIT)

    def follow_up(self, changes, before):
        """Records hold the names themselves: they get the new one. A deletion leaves
        them as they are."""
        from contact_management.services import rename_on_records

        if self.name != before["name"]:
            rename_on_records(self, before["name"], changes)


def tagged_types() -> dict[str, type[Record]]:
    """The record types that have tags, by name."""
    return {n: m for n, m in record_types().items() if tags_field_of(m)}


def tagged(model: type[Record], organization_id, name: str) -> QuerySet:
    """All records of a type that carry a tag, deleted ones too."""
    return model.objects.filter(
        **{f"{tags_field_of(model)}__has": name}, organization=organization_id
    )
