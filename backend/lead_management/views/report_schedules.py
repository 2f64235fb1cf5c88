from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.response import Response

from core import access
from core.serializers import StrictSerializer
from core.views import RecordViewSet
from lead_management.models import ReportSchedule
from lead_management.reports import mailing


class SentSerializer(StrictSerializer):
    letters = serializers.IntegerField(help_text="How many recipients get an e-mail.")


class ReportScheduleViewSet(RecordViewSet):
    """Reports that are mailed by themselves, to each recipient as far as they see."""

    model = ReportSchedule
    fields = (
        *("name", "report", "period", "every", "weekday", "day", "hour"),
        *("attachment", "recipients", "is_active"),
    )
    search_fields = ("name",)

    @extend_schema(request=None, responses={202: SentSerializer})
    @action(detail=True, methods=["post"])
    def send(self, request, pk):
        """Send it to its recipients now, whatever its time."""
        self.refuse_parameters("dry_run")
        self.refuse_body()
        if "recipients" in self.field_rights.hidden:
            raise Http404
        schedule = self._locked(access.Verb.EDIT, self.get_queryset)
        sent = {"letters": mailing.send(schedule)}
        return Response(sent, status=status.HTTP_202_ACCEPTED)
