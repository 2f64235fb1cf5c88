from rest_framework import serializers

from core.serializers import (
    RecordSerializer,
    StrictSerializer,
)
from lead_management.models import (
    Kind,
)

from .leads import StaySerializer


class StageInput(StrictSerializer):
    """A stage in the list of its pipeline; its place there is its place in it."""

    id = serializers.UUIDField(
        required=False, help_text="Of a stage that is there; without it one is made."
    )
    name = serializers.CharField(max_length=100)
    kind = serializers.ChoiceField(Kind.choices, default=Kind.OPEN)
    probability = serializers.IntegerField(
        min_value=0,
        max_value=100,
        required=False,
        help_text="In percent. What is won has 100, what is lost 0.",
    )


class PipelineInput(RecordSerializer):
    stages = StageInput(
        many=True,
        required=False,
        help_text="All of them, in their order: one left out is removed, if no deals"
        " stand in it. Those of a new pipeline are made, if not given.",
    )

    def validate_stages(self, stages):
        """An id is one of this pipeline's own; of others nothing is said."""
        current = self.context.get("current") or {}
        own = {stage["id"] for stage in current.get("stages", ())}
        errors = [
            {"id": serializers.ErrorDetail("There is no such stage.", "does_not_exist")}
            if "id" in stage and str(stage["id"]) not in own
            else {}
            for stage in stages
        ]
        if any(errors):
            raise serializers.ValidationError(errors)
        return [
            {**stage, "id": str(stage["id"])} if "id" in stage else dict(stage)
            for stage in stages
        ]


class StageSummary(StrictSerializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(Kind.choices)
    probability = serializers.IntegerField()


class DealStaySerializer(StaySerializer):
    stage = StageSummary()


class SumSerializer(StrictSerializer):
    currency = serializers.CharField()
    amount = serializers.DecimalField(max_digits=20, decimal_places=2)
    weighted = serializers.DecimalField(
        max_digits=20, decimal_places=2, help_text="By the probability of each deal."
    )


class NamedPipelineSerializer(StrictSerializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
