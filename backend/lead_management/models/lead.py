from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import F, FilteredRelation, Q, Subquery
from django.utils import timezone

from contact_management.models import REACHED_BY, Company, Contact, Reachable
from core import access
from core.exceptions import Conflict
from core.fields import CurrencyField, MoneyField, computed
from core.importing.cells import is_yes, moment_of
from core.indexes import CollectionsIndex, ValuesIndex, order_indexes
from core.models import Record, RecordQuerySet, unique_among_live
from lead_management.headers import LEAD_CHOICES, LEAD_HEADERS

from .stay import Staying

# The statuses of leads that somebody has to work on: the others are over.
OPEN = ("new", "contacted", "qualified")


class LeadQuerySet(RecordQuerySet):
    def open(self) -> "LeadQuerySet":
        """Live leads that somebody has to work on."""
        return self.live().filter(status__in=OPEN)

    def with_scores(self, organization_id) -> "LeadQuerySet":
        """With `lead_score`: what the published scoring model says of each.

        Which model that is, is part of the same statement: whatever is published
        meanwhile, its rows are scored by one.
        """
        if "lead_score" in self.query.annotations:
            return self
        from .lead_score import LeadScore

        models = LeadScore.published_models(organization_id)
        published = Q(scores__scoring_model=Subquery(models.values("pk")))
        return self.annotate(
            published_score=FilteredRelation("scores", condition=published),
            lead_score=F("published_score__total"),
        )


# What a conversion makes of a lead, and the field that keeps it.
CONVERTED_INTO = {
    "contact": "converted_contact",
    "company": "converted_company",
    "deal": "converted_deal",
}

# Cleared when what the lead became is deleted; nobody else writes them by themselves.
OF_CONVERSION = frozenset(CONVERTED_INTO.values())


def outcome_of_conversion(model) -> models.ForeignKey:
    return models.ForeignKey(
        model,
        models.SET_NULL,
        related_name="converted_leads",
        null=True,
        editable=False,
        db_index=False,
        help_text="What the lead was converted into.",
    )


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
    score_override = models.PositiveSmallIntegerField(
        null=True,
        editable=False,
        validators=[MaxValueValidator(100)],
        help_text="What somebody set in the place of the score.",
    )
    score_override_reason = models.CharField(max_length=500, default="", editable=False)
    score_override_until = models.DateTimeField(null=True, editable=False)
    last_contacted_at = models.DateTimeField(null=True, blank=True)
    next_follow_up_at = models.DateTimeField(null=True, blank=True)
    notes = models.TextField(max_length=50_000, blank=True)
    converted_contact = outcome_of_conversion(Contact)
    converted_company = outcome_of_conversion(Company)
    converted_deal = outcome_of_conversion("Deal")

    objects = LeadQuerySet.as_manager()

    mention_fields = ("notes",)
    summary_fields = ("id", "first_name", "last_name", "email", "company_name")
    search_fields = (
        *("first_name", "last_name", "email", "company_name"),
        *("phone", "phone_e164", "other_phones", "city"),
    )
    computed_fields = {
        "lead_score": computed(
            "lead_score",
            models.PositiveSmallIntegerField(
                null=True,
                help_text="From 0 to 100, by the scoring model that is published.",
            ),
        )
    }
    # Of rows that `with_scores` did not read.
    lead_score = None
    OVERRIDE = ("score_override", "score_override_reason", "score_override_until")
    derived_from = {
        "phone_e164": "phone",
        **dict.fromkeys(("status_since", *CONVERTED_INTO.values()), "status"),
        **dict.fromkeys(OVERRIDE, "lead_score"),
    }
    undone_fields = (
        *(*Reachable.undone_fields, "status_since"),
        *(*CONVERTED_INTO.values(), *OVERRIDE),
    )
    is_assigned_by_rules = True
    # In the timelines of what it became.
    happens_at = "status_since"
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
        ]
        indexes = [
            *Record.Meta.indexes,
            *order_indexes(
                *("lead", "last_name", "first_name", "email", "company_name"),
                *("job_title", "city", "country", "status", "priority"),
                *("lead_source", "status_since", "updated_at"),
                *("estimated_value", "-estimated_value", "probability"),
                *("-probability", "last_contacted_at", "-last_contacted_at"),
                *("next_follow_up_at", "-next_follow_up_at"),
            ),
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
            models.Index(
                fields=["organization", "owner"],
                name="lead_open_of_owner",
                condition=Q(deleted_at=None, status__in=OPEN),
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
            ValuesIndex(fields=REACHED_BY, name="lead_values"),
            *(
                models.Index(
                    fields=[name],
                    name=f"lead_{name}",
                    condition=Q((f"{name}__isnull", False)),
                )
                for name in CONVERTED_INTO.values()
            ),
        ]

    @property
    def is_open(self) -> bool:
        return self.status in OPEN and self.deleted_at is None

    @classmethod
    def check_auto_assign(cls, wish, user):
        """A rule can be named by who sees it."""
        from .assignment import AssignmentRule

        if isinstance(wish, str):
            seen = AssignmentRule.objects.visible_to(user)
            seen = seen.active_in(user.organization_id)
            if not seen.filter(pk=wish).exists():
                raise ValidationError("There is no such rule.", code="does_not_exist")

    def __str__(self):
        name = f"{self.first_name} {self.last_name}".strip()
        return name or self.company_name or self.email

    @classmethod
    def after_writes(cls, updates, changes):
        from lead_management.assignment.decisions import assign_new

        from .lead_score import LeadScore
        from .lead_stay import LeadStay

        LeadStay.follow(updates, changes)
        new = [lead for lead, before in updates if before is None and lead.auto_assign]
        if new:
            assign_new(new, changes)
        LeadScore.follow(updates, changes)

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

    @property
    def is_overridden(self) -> bool:
        """Whether what somebody set in the place of the score still holds."""
        until = self.score_override_until
        return until is not None and until > timezone.now()

    def arrival(self, reason: str) -> dict:
        """What comes with a new status: its moment, and why."""
        return {"status_since": self.next_moment(), "status_reason": reason}

    def guard(self, actor, changed):
        """A converted lead stays as it is, until its conversion is undone.

        Nor is it deleted as long as its contact is there, for its activities would go
        with it, and what the contact came from.
        """
        if self._state.adding or "status" in changed or changed <= OF_CONVERSION:
            return
        is_free = "deleted_at" in changed and self.converted_contact_id is None
        if self.status == self.Status.CONVERTED and not is_free:
            raise self.converted_conflict(actor)

    def converted_conflict(self, actor) -> Conflict:
        """That the lead is converted, and into what, as far as the actor sees it."""
        hidden = access.hidden_fields(actor, self.record_type())
        became = {
            target: getattr(self, f"{name}_id")
            for target, name in CONVERTED_INTO.items()
            if name not in hidden
        }
        detail = "The lead is converted, and not changed any more."
        return Conflict(detail, "converted", **became)

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
