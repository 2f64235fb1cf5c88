from rest_framework import serializers

from core.history import ActorSerializer
from core.serializers import (
    AutoAssignField,
    StrictSerializer,
)
from lead_management.models import (
    Lead,
    LeadProcess,
)

from .moments import LocalSerializer


class LeadInput(LocalSerializer):
    """Takes the status of a new lead, where the process lets leads begin in it.

    And whether the rules of the organization choose its owner, if none is given.
    """

    auto_assign = AutoAssignField(
        write_only=True,
        required=False,
        help_text="Whether rules choose the owner of a new lead that names none: true,"
        " as if not given, or the id of the one that does.",
    )

    def get_fields(self):
        fields = super().get_fields()
        if self.partial or "current" in self.context:
            del fields["auto_assign"]
            if "status" in fields:
                fields["status"].read_only = True
        return fields

    def validate_auto_assign(self, wish):
        Lead.check_auto_assign(wish, self.context["request"].user)
        return wish

    def validate_status(self, status):
        initial = LeadProcess.of(self.context["request"].user.organization).initial()
        if status not in initial:
            raise serializers.ValidationError(
                f"Leads begin in: {', '.join(initial)}.", "not_initial"
            )
        return status


class TransitionSerializer(StrictSerializer):
    status = serializers.ChoiceField(Lead.Status.choices)
    reason = serializers.CharField(
        max_length=500, required=False, allow_blank=True, default=""
    )


class StaySerializer(serializers.Serializer):
    """A stay somewhere; the last is the present one, and has no end."""

    reason = serializers.CharField(help_text="Why it came there.")
    entered_at = serializers.DateTimeField()
    left_at = serializers.DateTimeField(allow_null=True)
    seconds = serializers.FloatField(help_text="How long it was, or has been so far.")
    ended_by = ActorSerializer(allow_null=True)


class LeadStaySerializer(StaySerializer):
    status = serializers.ChoiceField(Lead.Status.choices)
