from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Max, Q

from core import locks
from core.exceptions import Conflict
from core.models import Journaled, SharedQuerySet
from core.saved_filters import nobody_of
from lead_management.scoring.grades import checked_grades, default_grades, grade_of
from lead_management.scoring.rules import checked_rules

MAX_SCORE = 100
LONGEST_HALF_LIFE = 3650


class ScoringModel(Journaled):
    """One version of the rules by which leads of an organization are scored.

    A draft is written, simulated and published. Publishing computes the scores of all
    leads beside those that are shown (`LeadScore`), and then one transaction puts the
    new version in the place of the old. What was published once is not changed any
    more, so that a score can always be explained.
    """

    class Status(models.TextChoices):
        DRAFT = "draft"
        COMPUTING = "computing"
        PUBLISHED = "published"
        RETIRED = "retired"

    # Those that leads have scores by.
    CURRENT = (Status.COMPUTING, Status.PUBLISHED)

    number = models.PositiveIntegerField(
        editable=False, default=0, help_text="The first version is 1."
    )
    name = models.CharField(max_length=100)
    description = models.TextField(max_length=2000, blank=True)
    rules = models.JSONField(
        default=list, blank=True, help_text="What gives points, and takes points."
    )
    fit_cap = models.PositiveSmallIntegerField(
        default=60,
        validators=[MaxValueValidator(MAX_SCORE)],
        help_text="The most that the rules about the lead's fields give, or take.",
    )
    engagement_cap = models.PositiveSmallIntegerField(
        default=40,
        validators=[MaxValueValidator(MAX_SCORE)],
        help_text="The most that the rules about activities give, or take.",
    )
    half_life_days = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_HALF_LIFE)],
        help_text="After so long an activity is worth half its points; empty: it keeps"
        " them.",
    )
    grades = models.JSONField(
        default=default_grades,
        blank=True,
        help_text="The least score of each grade, from the best one down to 0.",
    )
    status = models.CharField(
        max_length=10, choices=Status, default=Status.DRAFT, editable=False
    )
    published_at = models.DateTimeField(null=True, editable=False)
    simulation = models.JSONField(
        null=True, editable=False, help_text="What the last simulation found."
    )

    objects = SharedQuerySet.as_manager()
    unjournaled = ("simulation",)
    summary_fields = ("id", "number", "name", "status")
    key_scopes = ("read",)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "number"], name="scoringmodel_number_unique"
            ),
            models.UniqueConstraint(
                fields=["organization"],
                condition=Q(status="published"),
                name="scoringmodel_one_published",
            ),
            models.UniqueConstraint(
                fields=["organization"],
                condition=Q(status="computing"),
                name="scoringmodel_one_computing",
            ),
        ]

    def __str__(self):
        return f"{self.number}: {self.name}"

    def before_write(self):
        if self._state.adding:
            locks.one_at_a_time(f"scoring models: {self.organization_id}")
            others = ScoringModel.objects.filter(organization=self.organization_id)
            self.number = (others.aggregate(Max("number"))["number__max"] or 0) + 1
        return ()

    def uncreated(self):
        """A draft is put away; what leads were scored by stays."""
        if self.status in (self.Status.DRAFT, self.Status.RETIRED):
            return {"status": self.Status.RETIRED}
        return None

    def guard(self, actor, changed):
        if self._state.adding or changed <= {"status", "published_at"}:
            return
        if self.status != self.Status.DRAFT:
            raise Conflict(
                f"This version is {self.status}: only a draft is changed.", "not_draft"
            )

    def clean(self):
        super().clean()
        if self.status == self.Status.DRAFT or self._state.adding:
            self.rules = checked_rules(self.rules, nobody_of(self.organization))
        self.grades = checked_grades(self.grades)
        if self.status not in (self.Status.DRAFT, self.Status.RETIRED) and not (
            self.rules
        ):
            error = ValidationError("Without rules there is no score.", code="required")
            raise ValidationError({"rules": error})

    def grade_of(self, total: int) -> str:
        return grade_of(self.grades, total)
