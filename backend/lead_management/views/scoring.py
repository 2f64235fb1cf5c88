"""Scores of leads in lists and one by one, and the models that they are made by."""

import django_filters as filters
from django.db.models import F
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.response import Response

from core import access
from core.exceptions import Conflict
from core.filters import InFilter, IntegerFilter
from core.origin import origin
from core.views import JournaledViewSet
from core.views.base import REASON_HEADER
from core.views.jobs import JobSerializer
from lead_management.models import Lead, LeadScore, ScoringModel
from lead_management.scoring import publication, simulation
from lead_management.scoring.explanation import explained
from lead_management.scoring.rescoring import rescore_now
from lead_management.serializers import (
    OverrideInput,
    ScoreSerializer,
    ScoringModelInput,
    SimulationSerializer,
)

SCORE = "lead_score"
BOUNDS = {"min_value": 0, "max_value": 100}
# What is shown of scores changes with either.
SCORE_TYPES = (LeadScore.record_type(), ScoringModel.record_type())


class ScoreFilter(IntegerFilter):
    """Asks the score by the published model, of any rows of leads."""

    record_types = SCORE_TYPES

    def filter(self, queryset, value):
        if value is None:
            return queryset
        organization = self.parent.request.user.organization_id
        return super().filter(queryset.with_scores(organization), value)


class ScoreInFilter(InFilter, ScoreFilter):
    pass


SCORE_FILTERS: dict[str, filters.Filter] = {
    SCORE: ScoreFilter(SCORE, **BOUNDS),
    f"{SCORE}__in": ScoreInFilter(SCORE, **BOUNDS),
    **{
        f"{SCORE}__{lookup}": ScoreFilter(SCORE, lookup, **BOUNDS)
        for lookup in ("gt", "gte", "lt", "lte")
    },
}


class ScoresMixin:
    """For the view of leads: their scores, and why."""

    def get_queryset(self):
        return super().get_queryset().with_scores(self.request.user.organization_id)

    def get_everything(self):
        return super().get_everything().with_scores(self.request.user.organization_id)

    @property
    def is_planned(self):
        """Not by score: how depends on whether there are scores yet."""
        ordering = self.request.query_params.get("ordering", "")
        return super().is_planned and SCORE not in ordering

    def ordered(self, queryset, ordering):
        """By score, from the index of the scores: so each has to have one."""
        queryset, ordering = super().ordered(queryset, ordering)
        organization = self.request.user.organization_id
        if (
            SCORE not in dict(ordering)
            or not LeadScore.published_models(organization).exists()
        ):
            return queryset, ordering
        queryset = queryset.with_scores(organization).filter(lead_score__gte=0)
        queryset = queryset.annotate(scored_id=F("published_score__lead"))
        names = {"id": "scored_id"}
        return queryset, [(names.get(name, name), down) for name, down in ordering]

    def _made_from(self):
        types, keys = super()._made_from()
        return types.union(SCORE_TYPES), keys

    @property
    def types_of_one(self):
        return super().types_of_one | {LeadScore.record_type()}

    @extend_schema(responses=ScoreSerializer)
    @action(detail=True, filter_backends=(), pagination_class=None)
    def score(self, request, pk):
        """The score, what gave and took points, by which rules, and when."""
        self.refuse_parameters()
        self._require_score_shown()
        lead = self.get_object()
        return self.conditional(self._explained(lead), lead.version)

    @extend_schema(request=OverrideInput, responses=ScoreSerializer)
    @action(detail=True, methods=["put"], url_path="score/override")
    def override(self, request, pk):
        """Show another score for a while; the computed one comes back by itself."""
        lead = self._overridable()
        asked = OverrideInput(data=request.data, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        self._require_scored(lead)
        names = ("score", "reason", "until")
        return self._override(lead, [asked.validated_data[name] for name in names])

    @extend_schema(responses={200: ScoreSerializer})
    @override.mapping.delete
    def end_override(self, request, pk):
        """Show the computed score again."""
        lead = self._overridable()
        self._require_scored(lead)
        if not lead.is_overridden:
            raise Conflict("This score is as it was computed.", "not_overridden")
        return self._override(lead, [None, "", None])

    def _overridable(self) -> Lead:
        self.refuse_parameters("dry_run")
        self._require_score_shown()
        return self._locked(access.Verb.EDIT, self.get_queryset)

    @staticmethod
    def _require_scored(lead: Lead) -> None:
        published = LeadScore.published_models(lead.organization_id)
        if not lead.scores.filter(scoring_model__in=published).exists():
            raise Conflict("No scoring model is published.", "not_scored")

    def _override(self, lead: Lead, values: list) -> Response:
        with self.change_set() as changes:
            changes.save(lead, **dict(zip(Lead.OVERRIDE, values, strict=True)))
            rescore_now(lead)
            answer = self._explained(lead)
        return Response(ScoreSerializer(answer).data)

    def _explained(self, lead: Lead) -> dict:
        return explained(lead, self.request.user)

    def _require_score_shown(self):
        """To whom the score is hidden, what is about it is not there."""
        if SCORE in self.field_rights.hidden:
            raise Http404


class ScoringModelViewSet(JournaledViewSet):
    """The versions of the rules by which leads are scored. Managers change them.

    A draft is written, simulated and published. What was published is not changed any
    more: another version takes its place.
    """

    model = ScoringModel
    fields = (
        *("number", "name", "description", "rules", "fit_cap", "engagement_cap"),
        *("half_life_days", "grades", "status", "published_at"),
    )
    serializer_base = ScoringModelInput
    default_ordering = "-number"

    def _defaults(self, serializer):
        """A PUT that leaves rules or grades out does not remove them."""
        defaults = super()._defaults(serializer)
        return {n: v for n, v in defaults.items() if n not in ("rules", "grades")}

    @extend_schema(responses={204: None})
    def destroy(self, request, pk):
        """Put a draft away."""
        self.refuse_parameters("dry_run")
        model = self._draft()
        with self.change_set() as changes:
            changes.save(model, status=ScoringModel.Status.RETIRED)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses={202: JobSerializer})
    @action(detail=True, methods=["post"])
    def simulate(self, request, pk):
        """Find out what it would make of the leads there are: `simulation/` tells."""
        self.refuse_parameters("dry_run")
        self.refuse_body()
        model = self._locked(access.Verb.EDIT, self.get_queryset)
        return self._accepted(simulation.start(request.user, model, **self._origin()))

    @extend_schema(responses=SimulationSerializer)
    @action(detail=True, filter_backends=(), pagination_class=None)
    def simulation(self, request, pk):
        """What the last simulation found."""
        self.refuse_parameters()
        found = self.get_object().simulation
        if found is None:
            raise Http404
        leads = Lead.objects.visible_to(request.user)
        ids = [mover["lead"] for mover in found["movers"]]
        if SCORE in access.hidden_fields(request.user, Lead.record_type()):
            ids = []
        seen = {str(pk) for pk in leads.filter(pk__in=ids).values_list("pk", flat=True)}
        movers = [mover for mover in found["movers"] if mover["lead"] in seen]
        return self.conditional({**found, "movers": movers})

    @extend_schema(request=None, responses={202: JobSerializer})
    @action(detail=True, methods=["post"])
    def publish(self, request, pk):
        """Score all leads by it, in the background, and then show these scores."""
        self.refuse_parameters("dry_run")
        self.refuse_body()
        model = self._draft()
        with self.change_set() as changes:
            job = publication.start(changes, model, **self._origin())
        return self._accepted(job)

    def _draft(self) -> ScoringModel:
        model = self._locked(access.Verb.EDIT, self.get_queryset)
        if model.status != ScoringModel.Status.DRAFT:
            raise Conflict(f"This version is {model.status}.", "not_draft")
        return model

    def _origin(self) -> dict[str, str]:
        reason = self.request.headers.get(REASON_HEADER, "")[:500]
        return {"reason": reason, **origin(self.request)}

    def _accepted(self, job) -> Response:
        response = Response(JobSerializer(job).data, status.HTTP_202_ACCEPTED)
        path = f"/api/jobs/{job.pk}/"
        response["Location"] = self.request.build_absolute_uri(path)
        return response
