from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet
from rest_framework.exceptions import APIException

from contact_management.headers import CONTACT_HEADERS
from contact_management.normalisation import country_code, e164
from core import access, saved_filters
from core.fields import ExternalIdsField, LinkField, TagsField, tags_field_of
from core.models import Record, RecordQuerySet, unique_among_live
from core.problems import flatten
from core.registry import record_types


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
        if not isinstance(self.filter, dict):
            raise ValidationError("Give an object.", code="not_an_object")
        if self.is_dynamic != bool(self.filter):
            raise ValidationError(
                "A dynamic group has a filter, and a static one has none.",
                code="required" if self.is_dynamic else "not_dynamic",
            )
        if "group" in self.filter:
            raise ValidationError("A group cannot be made of groups.", code="nested")
        try:
            saved_filters.check(Contact, self.filter, self.organization)
        except APIException as refusal:
            raise ValidationError(
                [
                    ValidationError(f"{e['field']}: {e['detail']}", code=e["code"])
                    for e in flatten(refusal.detail)
                ]
            ) from None

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

    class Meta(Record.Meta):
        # Nobody lists or searches memberships: they are looked up by their constraint.
        indexes = []
        constraints = [
            models.UniqueConstraint(
                fields=["group", "contact"],
                condition=Q(deleted_at=None),
                name="groupmembership_unique",
            )
        ]

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
