from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from contact_management.models import Company, Contact, NamesCompany
from core import locks
from core.exceptions import Conflict
from core.fields import CurrencyField, ExternalIdsField, MoneyField, TagsField
from core.importing.cells import moment_of
from core.indexes import CollectionsIndex, order_indexes
from core.models import Record, unique_among_live
from lead_management.headers import DEAL_HEADERS, OUTCOMES

from .pipeline import CERTAIN, Kind, Pipeline, Stage, lock_name
from .stay import Stay, Staying

# What an import can say of the stage.
NAMING = ("stage_name", "pipeline_name", "outcome")
AS_IMPORTED = "Imported; the file tells no reason."


class Deal(NamesCompany, Staying, Record):
    """A sale that may come about: what it is worth, and how far it has come.

    It is moved by giving it another stage, by whatever way it is written. What follows
    from the stage is worked out here, so that it holds for all of these ways; what was
    given stays as it was given, so that undo finds it again.
    """

    name = models.CharField(max_length=200)
    amount = MoneyField(null=True, blank=True)
    currency = CurrencyField(
        blank=True, help_text="ISO 4217 code; the organization's if not given."
    )
    pipeline = models.ForeignKey(
        Pipeline,
        models.PROTECT,
        related_name="deals",
        editable=False,
        help_text="That of its stage.",
    )
    stage = models.ForeignKey(
        Stage,
        models.PROTECT,
        related_name="deals",
        blank=True,
        db_index=False,
        help_text="A new value moves the deal; the first stage of the first pipeline if"
        " not given. One that is won or lost takes a `reason`.",
    )
    stage_since = models.DateTimeField(default=timezone.now, editable=False)
    probability = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(100)],
        help_text="That it is won, in percent; null: that of its stage.",
    )
    expected_close_on = models.DateField(null=True, blank=True)
    company = models.ForeignKey(
        Company,
        models.SET_NULL,
        related_name="deals",
        null=True,
        blank=True,
        db_index=False,
    )
    company_name = models.CharField(
        max_length=200, blank=True, help_text="As it was given, whoever that is."
    )
    notes = models.TextField(max_length=50_000, blank=True)
    tags = TagsField()
    external_ids = ExternalIdsField()
    reason = models.CharField(
        max_length=500, blank=True, help_text="Why it was won or lost."
    )
    closed_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was won or lost; now if not given."
    )

    mention_fields = ("notes",)
    summary_fields = ("id", "name")
    search_fields = ("name", "company_name")
    import_headers = DEAL_HEADERS
    import_extras = {
        **dict.fromkeys(NAMING, "stage"),
        **NamesCompany.import_extras,
    }
    derived_from = {"pipeline": "stage", "stage_since": "stage"}
    undone_fields = (*Record.undone_fields, "stage_since")
    place = "stage"

    class Meta(Record.Meta):
        constraints = [
            models.CheckConstraint(
                condition=Q(amount=None) | Q(amount__gte=0),
                name="deal_amount_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(probability=None) | Q(probability__lte=100),
                name="deal_probability_at_most_100",
            ),
        ]
        indexes = [
            *Record.Meta.indexes,
            *order_indexes(
                *("deal", "name", "company_name", "stage_since", "updated_at"),
                *("amount", "-amount", "expected_close_on", "-expected_close_on"),
                *("probability", "-probability", "closed_at", "-closed_at"),
            ),
            # Of the board: the newest of each column, and the sums of all.
            models.Index(
                fields=["stage", "-created_at", "-id"],
                name="deal_stage",
                condition=Q(deleted_at=None),
            ),
            models.Index(fields=["company", "-created_at", "-id"], name="deal_company"),
            CollectionsIndex(fields=["tags", "external_ids"], name="deal_collections"),
        ]

    def __str__(self):
        return self.name

    def with_consequences(self, values):
        """A deal that moves is won or lost anew, if it is."""
        stage = values.get("stage")
        if stage and stage.pk != self.stage_id:
            values = {"reason": "", "closed_at": None, **values}
        return values

    def take_extras(self, draft, zone):
        """The stage that the row names.

        Other programs seldom tell why a deal was won or lost, and what they expected
        of one that is over is when it ended.
        """
        said = {name: draft.extras[name] for name in NAMING if name in draft.extras}
        stage = named_stage(self.organization, **said) if said else None
        if stage is None:
            return
        self.stage = stage
        draft.given["stage"] = next(draft.extra_columns[name] for name in said)
        if stage.is_over:
            self.reason = self.reason or AS_IMPORTED
            if not self.closed_at and self.expected_close_on:
                ended = moment_of(str(self.expected_close_on), zone)
                self.closed_at = min(ended, timezone.now())
            if self.closed_at:
                self.stage_since = min(self.closed_at, timezone.now())

    def clean(self):
        super().clean()
        stage = self._find_stage()
        self.stage = stage
        self.pipeline_id = stage.pipeline_id
        if self.lacks_moment():
            self.stage_since = self.next_moment()
        if not self.currency:
            self.currency = self.organization.currency
        if not stage.is_over:
            self.reason, self.closed_at = "", None
            return
        self.probability = None
        self.closed_at = self.closed_at or timezone.now()
        if not self.reason.strip():
            raise ValidationError(
                {
                    "reason": ValidationError(
                        f"Say why the deal is {stage.kind}.", code="required"
                    )
                }
            )

    def _find_stage(self) -> Stage:
        def refuse(detail, code):
            raise ValidationError({"stage": ValidationError(detail, code)})

        known = stages_of(self.organization)
        if self.stage_id is None:
            for stage in known.values():
                if stage.kind == Kind.OPEN and stage.pipeline.is_active:
                    return stage
            refuse("There is no active pipeline.", "required")
        stage = known.get(self.stage_id)
        if stage is None:
            refuse("There is no such stage.", "does_not_exist")
        if stage.pipeline_id != self.pipeline_id and not stage.pipeline.is_active:
            refuse("Its pipeline takes no further deals.", "inactive")
        return stage

    @classmethod
    def after_writes(cls, updates, changes):
        new = [deal for deal, before in updates if before is None]
        moved = [deal for deal, _ in DealStay.moved(updates)]
        if stages := {deal.stage_id for deal in (*new, *moved)}:
            require_there(stages, changes.change_set.organization_id)
        DealStay.follow(updates, changes)


def stages_of(organization) -> dict[UUID, Stage]:
    """The stages that deals can stand in, by id and in their order.

    Asked once for each organization in memory, whose life is that of one request, or
    of one slice of a job: an import asks it for every row.
    """
    known = vars(organization).get("stages_of_deals")
    if known is None:
        stages = Stage.objects.filter(organization=organization, is_removed=False)
        known = {stage.pk: stage for stage in stages.select_related("pipeline")}
        organization.stages_of_deals = known
    return known


def named_stage(
    organization, stage_name="", pipeline_name="", outcome=""
) -> Stage | None:
    """The stage that an imported row tells; None where all it says is that it is open.

    Where only a kind is told, by the outcome or as "closed won", it is the first stage
    of that kind.

    Raises:
        ValidationError: by what names none, or several.
    """

    def refuse(name, detail, code):
        raise ValidationError({name: ValidationError(detail, code)})

    kind = OUTCOMES.get(outcome.casefold())
    if outcome and kind is None:
        refuse("outcome", "Give open, won or lost.", "invalid_choice")
    stages = [
        stage
        for stage in stages_of(organization).values()
        if is_called(stage.pipeline, pipeline_name)
        or (not pipeline_name and stage.pipeline.is_active)
    ]
    if not stages:
        refuse("pipeline_name", "There is no such pipeline.", "does_not_exist")
    named = [stage for stage in stages if is_called(stage, stage_name)]
    if len(named) > 1:
        refuse("stage_name", "Several pipelines have it: name one.", "ambiguous")
    if stage_name and not named:
        kind = OUTCOMES.get(stage_name.casefold(), kind)
        if kind not in CERTAIN:
            known = ", ".join(dict.fromkeys(stage.name for stage in stages))
            refuse("stage_name", f"Give one of: {known}.", "does_not_exist")
    if named and kind not in CERTAIN:
        return named[0]
    if not (kind in CERTAIN or pipeline_name):
        return None
    kind = kind if kind in CERTAIN else Kind.OPEN
    pipeline = named[0].pipeline_id if named else stages[0].pipeline_id
    of_kind = [s for s in stages if s.kind == kind and s.pipeline_id == pipeline]
    return named[0] if named and named[0] in of_kind else of_kind[0]


def is_called(row: Stage | Pipeline, text: str) -> bool:
    return text.casefold() in (row.name.casefold(), str(row.pk))


def require_there(stage_ids, organization_id) -> None:
    """Raise Conflict where one of the stages was taken away in the meantime.

    Until the end of the transaction none is.
    """
    locks.together(lock_name(organization_id))
    there = Stage.objects.filter(pk__in=stage_ids, is_removed=False)
    if there.count() < len(stage_ids):
        detail = "The stage was removed in the meantime."
        error = {"field": "stage", "code": "stage_removed", "detail": detail}
        raise Conflict(detail, "stage_removed", errors=[error])


class DealStay(Stay):
    """A stay of a deal in a stage."""

    deal = models.ForeignKey(Deal, models.CASCADE, related_name="stays")
    stage = models.ForeignKey(Stage, models.PROTECT, related_name="+", db_index=False)

    subject = "deal"
    place = "stage"
    why = "reason"

    class Meta(Stay.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["deal", "entered_at"], name="deal_stay_unique"
            )
        ]
        indexes = [models.Index(fields=["stage", "left_at"], name="deal_stay_left")]


class DealContact(Record):
    """A person who has a part in a deal, and which."""

    deal = models.ForeignKey(Deal, models.CASCADE, related_name="contacts")
    contact = models.ForeignKey(Contact, models.CASCADE, related_name="deals")
    role = models.CharField(
        max_length=100, blank=True, help_text="Such as decision maker, or champion."
    )

    summary_fields = ("id", "role", "deal_id", "contact_id")

    class Meta(Record.Meta):
        constraints = [
            unique_among_live(
                "deal", "contact", name="dealcontact_unique", unless_blank=False
            )
        ]

    def __str__(self):
        return f"{self.deal}: {self.contact}"
