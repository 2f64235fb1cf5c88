from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action

from contact_management.views import ADDRESS, PHONES, AnyPhoneFilter
from core import access
from core.views import RecordViewSet, SettingsViewSet
from lead_management import stays
from lead_management.models import Lead, LeadProcess
from lead_management.serializers import (
    LeadInput,
    LeadStaySerializer,
    TransitionSerializer,
)
from lead_management.services import Transition, move
from lead_management.views.scoring import SCORE_FILTERS, ScoresMixin


class LeadViewSet(ScoresMixin, RecordViewSet):
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
    )
    more_filters = {"any_phone": AnyPhoneFilter(), **SCORE_FILTERS}
    bulk_changes = {"transition": Transition}
    serializer_base = LeadInput

    @extend_schema(request=TransitionSerializer)
    @action(detail=True, methods=["post"])
    def transition(self, request, pk):
        """Bring the lead into another status, as the process allows it."""
        self.refuse_parameters("fields", "expand", "dry_run")
        self._require_status_shown()
        lead = self._locked(access.Verb.EDIT, self.get_queryset())
        asked = TransitionSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        with self.change_set() as changes:
            move(changes, lead, **asked.validated_data)
        return self._answer(lead)

    @extend_schema(responses=LeadStaySerializer(many=True))
    @action(detail=True, filter_backends=(), pagination_class=None)
    def stays(self, request, pk):
        """How long the lead was in each status, the first one first."""
        self.refuse_parameters()
        self._require_status_shown()
        lead = self.get_object()
        return self.conditional(stays.told(lead, self.field_rights.hidden))

    def _require_status_shown(self):
        """To whom the status is hidden, what is about it is not there."""
        if "status" in self.field_rights.hidden:
            raise Http404


class LeadProcessViewSet(SettingsViewSet):
    """How leads of the organization go through their statuses.

    Changed by those with the right `organization: edit`.
    """

    model = LeadProcess
    fields = ("statuses", "untouched_after_days")
