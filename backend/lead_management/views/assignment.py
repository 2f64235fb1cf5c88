from django.core.exceptions import ValidationError as InvalidRecord
from django.db import IntegrityError
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response

from core import access
from core.exceptions import bad_parameter
from core.models import ChangeSet
from core.problems import as_api_exception, below
from core.routers import view_of
from core.views import JournaledViewSet, RecordViewSet
from core.views.base import ReadOnlyViewSet
from lead_management.assignment.decisions import decide
from lead_management.models import (
    Absence,
    AssignmentDecision,
    AssignmentRule,
    Availability,
    Lead,
)
from lead_management.serializers import (
    AvailabilityInput,
    DecisionSerializer,
    LocalSerializer,
    RuleTrialAnswerSerializer,
    RuleTrialSerializer,
    TriedDecisionSerializer,
)


class AssignmentRuleViewSet(JournaledViewSet):
    """Which new leads go to whom: the first active rule that a lead matches decides."""

    model = AssignmentRule
    fields = (
        *("name", "position", "is_active", "filter", "method", "user", "team"),
        *("fallback", "fallback_user", "fallback_team"),
    )
    default_ordering = "position"
    http_method_names = ("get", "head", "post", "put", "patch")

    @extend_schema(
        request=RuleTrialSerializer, responses={200: RuleTrialAnswerSerializer}
    )
    @action(
        detail=False,
        methods=["post"],
        url_path="dry-run",
        filter_backends=(),
        pagination_class=None,
    )
    def dry_run(self, request):
        """Who would get a lead, or leads that are there, and why; nothing changes.

        Leads are taken in the order of the ids, as if each were assigned after the one
        before it.
        """
        self.refuse_parameters("dry_run")
        access.require_some(request.user, self.record_type, access.Verb.VIEW)
        asked = RuleTrialSerializer(
            data=request.data, context=self.get_serializer_context()
        )
        asked.is_valid(raise_exception=True)
        wish = asked.validated_data
        # Turns that this takes are given back with it.
        with ChangeSet.open(
            actor=request.user, source=ChangeSet.Source.API, trial=True
        ) as changes:
            if "owner" in access.hidden_fields(request.user, Lead.record_type()):
                rows = []
            elif "lead" in wish:
                rows = self._of_draft(changes, wish["lead"], wish["auto_assign"])
            else:
                rows = self._of_leads(wish["leads"], wish["auto_assign"])
            told = TriedDecisionSerializer(rows, many=True).data
        return Response({"decisions": told})

    def _of_draft(self, changes, body: dict, wish) -> list[AssignmentDecision]:
        """What is decided about a lead that is made of the body."""
        user = self.request.user
        access.require_some(user, Lead.record_type(), access.Verb.CREATE)
        view = view_of(Lead)(request=self.request, action="create", format_kwarg=None)
        view.narrow()
        lead = Lead(organization=user.organization)
        try:
            values = view.values_of({**body, "auto_assign": wish})
            view.write(changes, lead, values)
        except (InvalidRecord, ValidationError, IntegrityError) as error:
            refusal = as_api_exception(error, {"view": view, "request": self.request})
            raise below(refusal, "lead") from None
        rows = list(AssignmentDecision.objects.filter(lead=lead))
        for row in rows:
            row.lead_id = None
        return rows

    def _of_leads(self, ids, wish) -> list[AssignmentDecision]:
        user = self.request.user
        seen = Lead.objects.visible_to(user).in_bulk(ids)
        if len(seen) < len(set(ids)):
            raise bad_parameter("leads", "There is no such lead.", "does_not_exist")
        leads = [seen[pk] for pk in dict.fromkeys(ids) if seen[pk].is_open]
        return [d.as_row() for d in decide(leads, user.organization, wish)]


class AssignmentDecisionViewSet(ReadOnlyViewSet):
    """The log of who got which lead, by which rule, and why."""

    model = AssignmentDecision
    serializer_class = DecisionSerializer
    filter_fields = ("lead", "rule", "assignee", "outcome", "created_at")


class AvailabilityViewSet(JournaledViewSet):
    """How many open leads people may have, and when they work.

    Everybody sets their own hours; how many leads somebody may have, managers do.
    """

    model = Availability
    fields = ("user", "max_open_leads", "working_hours")
    serializer_base = AvailabilityInput
    http_method_names = ("get", "head", "post", "put", "patch")

    def write(self, changes, record, values):
        if record._state.adding:
            values.setdefault("user", self.request.user)
        super().write(changes, record, values)


class AbsenceViewSet(RecordViewSet):
    """When people take no leads; an absence is its owner's."""

    model = Absence
    fields = ("starts_at", "ends_at", "note")
    serializer_base = LocalSerializer
    default_ordering = "-starts_at"
