from collections.abc import Sequence

from django.db import connection, models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from core.among import Among
from core.models import Changes

from .lead import Lead
from .scoring_model import MAX_SCORE, ScoringModel

BATCH_ROWS = 1000
Status = ScoringModel.Status


class LeadScoreQuerySet(models.QuerySet):
    def current(self) -> "LeadScoreQuerySet":
        """Those by the model that is published, or is about to be."""
        return self.filter(scoring_model__status__in=ScoringModel.CURRENT)

    def due(self) -> "LeadScoreQuerySet":
        """Those that wait, but for the first scores by a version that is not shown yet:
        whoever publishes it makes them.
        """
        now = timezone.now()
        free = Q(claimed_until=None) | Q(claimed_until__lte=now)
        first = {"scoring_model__status": Status.COMPUTING, "computed_at": None}
        return self.filter(free, due_at__lte=now).exclude(**first)


class LeadScore(models.Model):
    """The score of a lead by one version of the scoring model.

    The lists show, filter and order by the rows of the published version; those of the
    next one are made beside them. A row says itself when it is to be computed anew:
    whatever changes a lead or its activities makes it due, in the same transaction, and
    so is what changes by itself, with time. Scores are no part of the lead's row: its
    version stays, and nobody who edits it waits for them.
    """

    lead = models.ForeignKey(
        Lead, models.CASCADE, related_name="scores", db_index=False
    )
    scoring_model = models.ForeignKey(
        ScoringModel, models.CASCADE, related_name="scores", db_index=False
    )
    total = models.PositiveSmallIntegerField(
        default=0, help_text="What is shown: an override, or the computed score."
    )
    computed_total = models.PositiveSmallIntegerField(default=0)
    contributions = models.JSONField(
        default=list, help_text="[place of the rule, points, moment of the activity]"
    )
    computed_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(
        null=True, help_text="When it changes by itself; in the past: it is waiting."
    )

    claimed_until = models.DateTimeField(
        null=True, help_text="A worker computes it; if it dies, another one then does."
    )

    objects = LeadScoreQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["lead", "scoring_model"], name="leadscore_unique"
            ),
            models.CheckConstraint(
                condition=Q(total__lte=MAX_SCORE, computed_total__lte=MAX_SCORE),
                name="leadscore_at_most_100",
            ),
        ]
        indexes = [
            models.Index(
                fields=["scoring_model", "-total", "-lead"], name="leadscore_highest"
            ),
            models.Index(
                fields=["scoring_model", "due_at"],
                name="leadscore_due",
                condition=Q(due_at__isnull=False),
            ),
        ]

    def __str__(self):
        return f"{self.total}"

    @classmethod
    def record_type(cls) -> str:
        """The name that caches know scores by."""
        return cls._meta.model_name

    @staticmethod
    def published_models(organization_id) -> models.QuerySet:
        """The one model that the organization's leads are shown by, or none."""
        return ScoringModel.objects.filter(
            organization=organization_id, status=Status.PUBLISHED
        )

    @classmethod
    def begin(cls, scoring_model: ScoringModel, leads: models.QuerySet) -> int:
        """Make rows that wait to be computed; those that are there stay.

        One statement for all, which Django cannot say.

        Returns:
            How many were made.
        """
        blank = cls(scoring_model=scoring_model, due_at=timezone.now())
        fields = [f for f in cls._meta.concrete_fields if f.name not in ("id", "lead")]
        values = {
            f"new_{f.attname}": models.Value(
                getattr(blank, f.attname), getattr(f, "target_field", f)
            )
            for f in fields
        }
        selected = leads.annotate(**values).values_list("pk", *values)
        statement, params = selected.query.sql_with_params()
        names = ", ".join(["lead_id", *(f.column for f in fields)])
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {cls._meta.db_table} ({names}) {statement}"
                " ON CONFLICT DO NOTHING",
                params,
            )
            return cursor.rowcount

    @classmethod
    def without(cls, scoring_model: ScoringModel) -> models.QuerySet:
        """The leads that have no row of this version."""
        rows = cls.objects.filter(scoring_model=scoring_model, lead=OuterRef("pk"))
        leads = Lead.objects.live().filter(organization=scoring_model.organization_id)
        return leads.filter(~Exists(rows))

    @classmethod
    def follow(cls, updates, changes: Changes) -> None:
        """Let the scores of leads that were just written follow: what is new has one at
        once, so that no list ordered by it leaves the lead out.

        Args:
            updates: as `Journaled.after_writes` has them.
        """
        new = [
            lead.pk
            for lead, before in updates
            if before is None or before.get("deleted_at")
        ]
        if new:
            organization = changes.change_set.organization_id
            models = ScoringModel.objects.filter(organization=organization)
            for model in models.filter(status__in=ScoringModel.CURRENT):
                cls.begin(model, Lead.objects.filter(Among("pk", new)))
        cls.make_due([lead.pk for lead, _ in updates], changes)

    @classmethod
    def make_due(cls, lead_ids, changes: Changes) -> None:
        """Let the scores of leads be computed again, once the changes are there."""
        before = changes.touched.get(cls.record_type())
        new = set(lead_ids).difference(before.ids if before else ())
        rows = cls.objects.current().filter(Among("lead", new))
        if new and rows.update(due_at=timezone.now(), claimed_until=None):
            changes.touch(cls.record_type()).ids |= new
            if not before:
                from lead_management.scoring.rescoring import tell_workers

                tell_workers(changes.change_set.organization_id)

    @classmethod
    def store(cls, rows: "Sequence[LeadScore]", since: dict) -> "list[LeadScore]":
        """Write what was computed, but where something changed since it was begun.

        What changed is due again, or will be once whoever has it locked has committed:
        so nobody who edits a lead waits while scores are computed, and no change is
        lost.

        Args:
            since: when each row was due as it was read, by its id.

        Returns:
            The rows that were written.
        """
        locked = cls.objects.filter(pk__in=since).order_by("pk")
        locked = locked.select_for_update(of=("self",), skip_locked=True)
        now = dict(locked.values_list("pk", "due_at"))
        rows = [row for row in rows if row.pk in now and now[row.pk] == since[row.pk]]
        cls.objects.bulk_create(
            rows,
            BATCH_ROWS,
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=[
                *("total", "computed_total", "contributions"),
                *("computed_at", "due_at", "claimed_until"),
            ],
        )
        return rows
