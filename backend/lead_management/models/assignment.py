"""Who gets a lead: the rules of an organization, and what they decided."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.utils import timezone

from core import access, saved_filters
from core.ids import new_id
from core.models import Journaled, JournaledQuerySet

from .lead import Lead

MAX_POSITION = 10_000


class RuleQuerySet(JournaledQuerySet):
    """Rules are nobody's own: whoever has a right on them has it on all."""

    def within(self, user, verb):
        record_type = self.model.record_type()
        if access.scope_of(user, record_type, verb) != access.Scope.ALL:
            return self.none()
        return self.filter(organization=user.organization_id)

    def active_in(self, organization) -> "RuleQuerySet":
        """The rules that decide there, in their order: the first match wins."""
        rules = self.filter(organization=organization, is_active=True)
        return rules.order_by("position", "id")


class AssignmentRule(Journaled):
    """Which leads go to whom."""

    class Method(models.TextChoices):
        USER = "user", "to a person"
        ROUND_ROBIN = "round_robin", "in turn to the people of a team"
        LEAST_OPEN = "least_open", "to who has the fewest open leads in a team"

    class Fallback(models.TextChoices):
        """What becomes of a lead that nobody whom the rule names can take."""

        QUEUE = "queue", "it has no owner"
        KEEP = "keep", "it stays with its owner: whoever made it"
        USER = "user", "it goes to a person, whatever they have to do"
        TEAM = "team", "it goes to who has the fewest open leads in another team"

    name = models.CharField(max_length=100)
    position = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(MAX_POSITION)],
        help_text="The first rule that a lead matches decides.",
    )
    is_active = models.BooleanField(default=True)
    filter = models.JSONField(
        default=dict,
        blank=True,
        help_text="Parameters of the list of leads, such as"
        ' `{"lead_source__in": ["website", "referral"], "country": "DE"}`; `{}`: all.',
    )
    method = models.CharField(max_length=20, choices=Method)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        help_text="With the method `user`.",
    )
    team = models.ForeignKey(
        "user_management.Team",
        models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        help_text="With the other methods; the teams below it too.",
    )
    fallback = models.CharField(
        max_length=10,
        choices=Fallback,
        default=Fallback.QUEUE,
        help_text="What to do where nobody can take a lead.",
    )
    fallback_user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
    )
    fallback_team = models.ForeignKey(
        "user_management.Team",
        models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
    )
    last_assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="+",
        null=True,
        editable=False,
        help_text="Whose turn it was last.",
    )

    objects = RuleQuerySet.as_manager()
    # The program's own note, which is no change that anybody made.
    unjournaled = ("last_assignee",)
    summary_fields = ("id", "name")
    key_scopes = ("read",)

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"], name="assignmentrule_name_unique"
            )
        ]

    def __str__(self):
        return self.name

    def uncreated(self):
        """What it decided stays in the log: it is switched off, not deleted."""
        return {"is_active": False}

    def clean(self):
        super().clean()
        to_user = self.method == self.Method.USER
        needed = {
            "user": to_user,
            "team": not to_user,
            "fallback_user": self.fallback == self.Fallback.USER,
            "fallback_team": self.fallback == self.Fallback.TEAM,
        }
        errors = {
            name: ValidationError("This field is required.", "required")
            if is_needed
            else ValidationError("Nothing of this rule needs it.", "not_needed")
            for name, is_needed in needed.items()
            if bool(getattr(self, f"{name}_id")) != is_needed
        }
        try:
            self._check_filter()
        except ValidationError as error:
            errors["filter"] = error
        if errors:
            raise ValidationError(errors)

    def _check_filter(self):
        saved_filters.require(Lead, self.filter, self.organization)
        if "me" in self.filter.values():
            detail = "A rule has no 'me': it is nobody's own."
            raise ValidationError(detail, code="not_allowed")


class DecisionQuerySet(models.QuerySet):
    def visible_to(self, user) -> "DecisionQuerySet":
        """What was decided about leads that the user sees, and whose owner."""
        rules = access.scope_of(user, AssignmentRule.record_type(), access.Verb.VIEW)
        if rules != access.Scope.ALL:
            return self.none()
        if "owner" in access.hidden_fields(user, Lead.record_type()):
            return self.none()
        return self.filter(
            organization=user.organization_id,
            lead__in=Lead.objects.visible_to(user).values("pk"),
        )


class AssignmentDecision(models.Model):
    """Who got a lead, by which rule, and why. The program writes it with the lead."""

    class Outcome(models.TextChoices):
        ASSIGNED = "assigned", "as the rule says"
        FALLBACK = "fallback", "by the fall-back of the rule"
        QUEUED = "queued", "to nobody"
        KEPT = "kept", "it stays with its owner"
        UNMATCHED = "unmatched", "no rule matches: it stays with its owner"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(
        "core.Organization", models.PROTECT, related_name="+", db_index=False
    )
    lead = models.ForeignKey(
        Lead, models.CASCADE, related_name="decisions", db_index=False
    )
    rule = models.ForeignKey(
        AssignmentRule, models.PROTECT, related_name="+", null=True, db_index=False
    )
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="+",
        null=True,
        db_index=False,
        help_text="Who got it; null if nobody did.",
    )
    outcome = models.CharField(max_length=20, choices=Outcome)
    explanation = models.TextField(help_text="The reasons, in sentences.")
    not_matched = models.JSONField(
        default=list, help_text="The rules before it: `rule`, and `reason`."
    )
    passed_over = models.JSONField(
        default=list, help_text="Who could not take it: `user`, and `reason`."
    )
    # No foreign key: what the change set held may be erased before this is.
    change_set = models.UUIDField(help_text="The change set that it is part of.")
    created_at = models.DateTimeField(default=timezone.now)

    objects = DecisionQuerySet.as_manager()
    happens_at = "created_at"

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                fields=["organization", "-created_at", "-id"],
                name="assignmentdecision_newest",
            ),
            models.Index(
                fields=["lead", "-created_at", "-id"], name="assignmentdecision_lead"
            ),
        ]

    def __str__(self):
        return f"{self.lead}: {self.get_outcome_display()}"

    @classmethod
    def record_type(cls) -> str:
        return cls._meta.model_name
