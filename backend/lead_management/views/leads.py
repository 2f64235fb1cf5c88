from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.response import Response

from contact_management.filters import AnyPhoneFilter
from contact_management.models import ADDRESS, PHONES
from core import access
from core.models import ChangeSet
from core.views import RecordViewSet, SettingsViewSet
from core.views.base import boolean
from lead_management.assignment.decisions import assign_again
from lead_management.conversion import convert, told
from lead_management.models import CONVERTED_INTO, Lead, LeadProcess
from lead_management.serializers import (
    AssignSerializer,
    ConversionInput,
    ConversionSerializer,
    LeadInput,
    LeadStaySerializer,
    TransitionSerializer,
)
from lead_management.services import AssignByRules, Transition, move
from lead_management.views.scoring import SCORE_FILTERS, ScoresMixin
from lead_management.views.stays import StaysMixin


@extend_schema_view(stays=extend_schema(responses=LeadStaySerializer(many=True)))
class LeadViewSet(ScoresMixin, StaysMixin, RecordViewSet):
    model = Lead
    fields = (
        *("first_name", "last_name", "email"),
        *PHONES,
        *("company_name", "job_title", "website"),
        *ADDRESS,
        *("lead_source", "status", "status_since", "status_reason", "priority"),
        *("lead_score", "estimated_value", "currency", "probability"),
        *("last_contacted_at", "next_follow_up_at"),
        *("notes", "tags", "external_ids"),
        *CONVERTED_INTO.values(),
    )
    more_filters = {"any_phone": AnyPhoneFilter(), **SCORE_FILTERS}
    bulk_changes = {"assign": AssignByRules, "transition": Transition}
    serializer_base = LeadInput

    def write(self, changes, record, values):
        """Who names an owner wants no rule to choose one."""
        wish = values.pop("auto_assign", True)
        if record._state.adding and not values.get("owner"):
            record.auto_assign = wish
        super().write(changes, record, values)

    @extend_schema(request=AssignSerializer)
    @action(detail=True, methods=["post"])
    def assign(self, request, pk):
        """Give the lead to whom the rules choose now."""
        self.refuse_parameters("fields", "expand", "dry_run")
        if "owner" in self.field_rights.hidden:
            raise Http404
        lead = self._locked(access.Verb.EDIT, self.get_queryset)
        asked = AssignSerializer(
            data=request.data, context=self.get_serializer_context()
        )
        asked.is_valid(raise_exception=True)
        with self.change_set() as changes:
            assign_again(lead, changes, asked.validated_data["auto_assign"])
        return self._answer(lead)

    @extend_schema(request=TransitionSerializer)
    @action(detail=True, methods=["post"])
    def transition(self, request, pk):
        """Bring the lead into another status, as the process allows it."""
        self.refuse_parameters("fields", "expand", "dry_run")
        self._require_place_shown()
        lead = self._locked(access.Verb.EDIT, self.get_queryset)
        asked = TransitionSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        with self.change_set() as changes:
            move(changes, lead, **asked.validated_data)
        return self._answer(lead)

    @extend_schema(request=ConversionInput, responses=ConversionSerializer)
    @action(detail=True, methods=["post"])
    def convert(self, request, pk):
        """Make a contact of the lead, and if wanted a company and a deal.

        What is new takes its values from the lead; of what was there before, only empty
        fields are filled. The lead is read-only from then on: its edits, and a second
        conversion, are a 409 `converted` with the ids of what it became. Where a
        contact or a company is there that has to be unique, the answer is a 409
        `exists` with its id, unless `match` takes it.
        """
        self.refuse_parameters("dry_run")
        self._require_place_shown()
        # What needs no lock is done before it, so that others wait for it a short time.
        lead = self.get_object()
        access.require(request.user, lead, access.Verb.EDIT)
        if lead.status == Lead.Status.CONVERTED:
            raise lead.converted_conflict(request.user)
        context = self.get_serializer_context()
        asked = ConversionInput(data=request.data, context=context)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data
        lead = self._locked(access.Verb.EDIT, self.get_queryset)
        with self.change_set(ChangeSet.Source.CONVERSION) as changes:
            conversion = convert(
                changes, lead, asked.wishes, values.get("owner"), values["reason"]
            )
        made = None if boolean(request, "dry_run") else changes.change_set.pk
        answer = told(self.answer_of(lead), conversion, changes)
        return Response({**answer, "change_set": made})


class LeadProcessViewSet(SettingsViewSet):
    """How leads of the organization go through their statuses.

    Changed by those with the right `organization: edit`.
    """

    model = LeadProcess
    fields = ("statuses", "untouched_after_days")
