from django.core.exceptions import ValidationError
from django.db import models

from core import locks
from core.exceptions import Conflict
from core.ids import new_id
from core.jsonvalues import check
from core.models import Journaled, SharedQuerySet

MAX_STAGES = 50
MAX_NAME = 100


class Kind(models.TextChoices):
    """What a stage means for the deals in it."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"


# What is over has its probability.
CERTAIN = {Kind.WON: 100, Kind.LOST: 0}

INITIAL_NAME = "Sales"
INITIAL_STAGES = (
    ("Qualification", Kind.OPEN, 10),
    ("Needs analysis", Kind.OPEN, 25),
    ("Proposal", Kind.OPEN, 50),
    ("Negotiation", Kind.OPEN, 75),
    ("Won", Kind.WON, 100),
    ("Lost", Kind.LOST, 0),
)


def initial_stages() -> list[dict]:
    return [
        {"name": name, "kind": str(kind), "probability": probability}
        for name, kind, probability in INITIAL_STAGES
    ]


class PipelineQuerySet(SharedQuerySet):
    def default_of(self, organization_id) -> "Pipeline | None":
        """The pipeline of deals that name no stage: the first that is active."""
        pipelines = self.filter(organization=organization_id, is_active=True)
        return pipelines.order_by("position", "id").first()


class Pipeline(Journaled):
    """The stages that deals go through, in their order.

    They stand here as one list, so that the journal tells each change of it in one
    piece, and undo, versions and `If-Match` hold for the whole. Deals refer to rows of
    `Stage`, which are made of the list whenever it is written.
    """

    name = models.CharField(max_length=100)
    position = models.PositiveSmallIntegerField(
        default=0,
        help_text="Where it stands among the pipelines. New deals that name no stage go"
        " to the first one that is active.",
    )
    is_active = models.BooleanField(
        default=True, help_text="One that is not takes no further deals."
    )
    stages = models.JSONField(default=initial_stages, blank=True)

    objects = PipelineQuerySet.as_manager()
    summary_fields = ("id", "name")
    key_scopes = ("read",)

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"], name="pipeline_name_unique"
            )
        ]

    def __str__(self):
        return self.name

    @classmethod
    def founding_rows(cls):
        return [cls(name=INITIAL_NAME)]

    def uncreated(self):
        """Deals may stand in it: it is closed, not deleted."""
        return {"is_active": False}

    def clean(self):
        super().clean()
        self.stages = completed(self.stages)
        if not self._state.adding:
            self._require_unused()

    def _require_unused(self):
        """Raise Conflict where deals stand in a stage that goes, or gets another kind.

        Deleted ones too, for they may come back.
        """
        kinds = {stage["id"]: stage["kind"] for stage in self.stages}
        stages = Stage.objects.filter(pipeline=self, is_removed=False)
        changed = [s for s in stages if s.kind != kinds.get(str(s.pk))]
        if not changed:
            return
        locks.one_at_a_time(lock_name(self.organization_id))
        deals = models.Count("deals")
        deleted = models.Count("deals", models.Q(deals__deleted_at__isnull=False))
        used = Stage.objects.filter(pk__in=[s.pk for s in changed])
        used = used.annotate(count=deals, deleted=deleted).filter(count__gt=0)
        if stage := used.order_by("position").first():
            what = "changed in kind" if str(stage.pk) in kinds else "removed"
            detail = (
                f"The stage '{stage.name}' cannot be {what}: deals stand in it:"
                f" {stage.count}, of which deleted: {stage.deleted}."
            )
            error = {"field": "stages", "code": "in_use", "detail": detail}
            raise Conflict(detail, "in_use", errors=[error], deals=stage.count)

    @classmethod
    def after_writes(cls, updates, changes):
        for pipeline, before in updates:
            if before is None or before.get("stages") != pipeline.stages:
                pipeline._write_stages()

    def _write_stages(self):
        """Make the rows of the stages as the list has them.

        One that is removed stays as a row: deals were in it.
        """
        rows = {str(row.pk): row for row in Stage.objects.filter(pipeline=self)}
        new = []
        for row in rows.values():
            row.is_removed = True
        for position, stage in enumerate(self.stages):
            row = rows.get(stage["id"])
            if row is None:
                row = Stage(pk=stage["id"], pipeline=self)
                row.organization_id = self.organization_id
                new.append(row)
            row.name, row.kind = stage["name"], stage["kind"]
            row.probability, row.position = stage["probability"], position
            row.is_removed = False
        written = ("name", "kind", "probability", "position", "is_removed")
        Stage._base_manager.bulk_update(rows.values(), written)
        Stage._base_manager.bulk_create(new)


def lock_name(organization_id) -> str:
    """What who takes a stage away locks alone, and who puts deals in together."""
    return f"stages: {organization_id}"


def completed(stages) -> list[dict]:
    """The list of stages as it is kept: each with its id and its probability.

    Raises:
        ValidationError: of `stages`.
    """

    def refuse(detail, code="invalid"):
        raise ValidationError({"stages": ValidationError(detail, code)})

    if not isinstance(stages, list) or not all(isinstance(s, dict) for s in stages):
        refuse("Give a list of objects.")
    if len(stages) > MAX_STAGES:
        refuse(f"At most {MAX_STAGES} stages.", "max_length")
    kept = []
    for stage in stages:
        name, kind = stage.get("name"), stage.get("kind", Kind.OPEN)
        if not isinstance(name, str) or not 0 < len(name.strip()) <= MAX_NAME:
            refuse(f"Give each stage a name of at most {MAX_NAME} characters.")
        try:
            check(name)
        except ValueError as error:
            refuse(str(error))
        if kind not in Kind.values:
            refuse(f"'{name}': the kind is one of {', '.join(Kind.values)}.")
        probability = stage.get("probability", CERTAIN.get(kind))
        if type(probability) is not int or not 0 <= probability <= 100:
            refuse(f"'{name}': give a probability from 0 to 100.")
        if probability != CERTAIN.get(kind, probability):
            refuse(f"'{name}': what is {kind} has the probability {CERTAIN[kind]}.")
        kept.append(
            {
                "id": str(stage.get("id") or new_id()),
                "name": name.strip(),
                "kind": str(kind),
                "probability": probability,
            }
        )
    for what in ("id", "name"):
        if len({stage[what].casefold() for stage in kept}) < len(kept):
            refuse(f"Two stages have the same {what}.", "unique")
    if missing := set(Kind.values) - {stage["kind"] for stage in kept}:
        refuse(f"There is no stage that is {', '.join(sorted(missing))}.")
    return kept


class StageQuerySet(SharedQuerySet):
    def visible_to(self, user):
        return super().visible_to(user).filter(is_removed=False)


class Stage(models.Model):
    """A stage of a pipeline as a row, for deals, lists and reports to refer to.

    Nobody writes it but its pipeline, which is also what rights and caches know it as.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    organization = models.ForeignKey(
        "core.Organization", models.PROTECT, related_name="+", editable=False
    )
    pipeline = models.ForeignKey(
        Pipeline, models.PROTECT, related_name="stage_rows", editable=False
    )
    name = models.CharField(max_length=MAX_NAME)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.OPEN)
    probability = models.PositiveSmallIntegerField()
    position = models.PositiveSmallIntegerField()
    is_removed = models.BooleanField(default=False, editable=False)

    objects = StageQuerySet.as_manager()
    summary_fields = ("id", "name", "kind", "probability")

    class Meta:
        ordering = ["pipeline__position", "pipeline", "position"]

    def __str__(self):
        return self.name

    @classmethod
    def record_type(cls) -> str:
        return Pipeline.record_type()

    @property
    def is_over(self) -> bool:
        """Whether deals in it are won or lost."""
        return self.kind != Kind.OPEN
