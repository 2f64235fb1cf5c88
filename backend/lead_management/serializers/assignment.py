from rest_framework import serializers

from core.serializers import (
    AutoAssignField,
    RecordSerializer,
    StrictSerializer,
)
from lead_management.assignment.roster import Reason
from lead_management.models import (
    AssignmentDecision,
    Lead,
)

MAX_TRIED = 100


class AvailabilityInput(RecordSerializer):
    """Whose it is, is said once."""

    def get_fields(self):
        fields = super().get_fields()
        if "user" in fields:
            fields["user"].required = False
            if "current" in self.context:
                fields["user"].read_only = True
        return fields


class AssignSerializer(StrictSerializer):
    auto_assign = AutoAssignField(
        default=True, help_text="True, or the id of the rule that is to be taken."
    )

    def validate_auto_assign(self, wish):
        if wish is False:
            raise serializers.ValidationError("Give true, or a rule's id.", "invalid")
        Lead.check_auto_assign(wish, self.context["request"].user)
        return wish


class RuleTrialSerializer(AssignSerializer):
    lead = serializers.DictField(
        required=False, help_text="The body of a POST to `/api/leads/`."
    )
    leads = serializers.ListField(
        child=serializers.UUIDField(),
        required=False,
        allow_empty=False,
        max_length=MAX_TRIED,
        help_text="Ids of leads that are there.",
    )

    def validate(self, wish):
        if ("lead" in wish) == ("leads" in wish):
            detail = "Give a lead, or ids of leads."
            raise serializers.ValidationError({"lead": detail}, "required")
        return wish


class NotMatchedSerializer(serializers.Serializer):
    rule = serializers.UUIDField()
    reason = serializers.CharField()


class PassedOverSerializer(serializers.Serializer):
    user = serializers.UUIDField()
    reason = serializers.ChoiceField(Reason.choices)


class DecisionSerializer(serializers.ModelSerializer):
    """Who got a lead, or would get it, and why."""

    not_matched = NotMatchedSerializer(many=True, help_text="The rules before it.")
    passed_over = PassedOverSerializer(many=True, help_text="Who could not take it.")

    class Meta:
        model = AssignmentDecision
        fields = (
            *("id", "lead", "rule", "assignee", "outcome", "explanation"),
            *("not_matched", "passed_over", "change_set", "created_at"),
        )


class TriedDecisionSerializer(DecisionSerializer):
    """As it would be; `lead` is null for a draft."""

    lead = serializers.UUIDField(source="lead_id", allow_null=True)

    class Meta(DecisionSerializer.Meta):
        fields = (
            *("lead", "rule", "assignee", "outcome", "explanation"),
            *("not_matched", "passed_over"),
        )


class RuleTrialAnswerSerializer(serializers.Serializer):
    decisions = TriedDecisionSerializer(
        many=True, help_text="None where there is no rule, or the lead is not open."
    )
