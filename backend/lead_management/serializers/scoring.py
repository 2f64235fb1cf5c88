from datetime import timedelta

from django.utils import timezone
from rest_framework import serializers

from core.history import ActorSerializer
from core.serializers import (
    RecordSerializer,
    StrictSerializer,
)
from lead_management.scoring.rules import MAX_RULES, Group, RuleSerializer

from .moments import LocalDateTimeField

LONGEST_OVERRIDE = timedelta(days=365)


class ScoringModelInput(RecordSerializer):
    rules = RuleSerializer(
        many=True,
        required=False,
        max_length=MAX_RULES,
        help_text="What gives points, and takes points.",
    )
    grades = serializers.DictField(
        child=serializers.IntegerField(),
        required=False,
        help_text="The least score of each grade, from the best one down to 0.",
    )


class ScoringModelSummary(serializers.Serializer):
    id = serializers.UUIDField()
    number = serializers.IntegerField()
    name = serializers.CharField()
    status = serializers.CharField()


class MoverSerializer(serializers.Serializer):
    lead = serializers.UUIDField()
    before = serializers.IntegerField()
    after = serializers.IntegerField()


class DecileSerializer(serializers.Serializer):
    decile = serializers.IntegerField(help_text="1 has the highest scores.")
    leads = serializers.FloatField()
    converted = serializers.FloatField()
    share = serializers.FloatField(help_text="Of its leads that were converted.")
    lift = serializers.FloatField(
        allow_null=True, help_text="The share, by that among all that ended."
    )


class BeforeAfterSerializer(serializers.Serializer):
    before = serializers.FloatField(allow_null=True)
    after = serializers.FloatField(allow_null=True)


class SimulationSerializer(serializers.Serializer):
    """What a draft would make of the leads there are."""

    job = serializers.UUIDField()
    at = serializers.DateTimeField()
    version = serializers.IntegerField(help_text="Of the draft that was simulated.")
    compared_to = serializers.IntegerField(
        allow_null=True, help_text="Number of the model that was published then."
    )
    leads = serializers.IntegerField()
    grades = serializers.DictField(
        child=serializers.DictField(child=serializers.IntegerField()),
        help_text="How many leads have each grade, `before` and `after`.",
    )
    moved = serializers.DictField(
        child=serializers.IntegerField(), allow_null=True, help_text="up, down, same"
    )
    movers = MoverSerializer(
        many=True, help_text="Those that would move most, of the leads that you see."
    )
    converted = serializers.IntegerField(help_text="Leads that ended so.")
    not_converted = serializers.IntegerField(
        help_text="Leads that ended otherwise: lost or unqualified."
    )
    auc = BeforeAfterSerializer(
        help_text="Area under the ROC curve: how likely a converted lead has a higher"
        " score than one that is not; one half is chance."
    )
    deciles = DecileSerializer(many=True)


class OverrideInput(StrictSerializer):
    score = serializers.IntegerField(min_value=0, max_value=100)
    reason = serializers.CharField(max_length=500)
    until = LocalDateTimeField(help_text="From then on the computed score is shown.")

    def validate_until(self, until):
        now = timezone.now()
        if not now < until <= now + LONGEST_OVERRIDE:
            raise serializers.ValidationError(
                f"Give a moment within the next {LONGEST_OVERRIDE.days} days.",
                "out_of_range",
            )
        return until


class OverrideSerializer(serializers.Serializer):
    score = serializers.IntegerField()
    reason = serializers.CharField()
    until = serializers.DateTimeField()
    set_by = ActorSerializer(allow_null=True)


class GroupSerializer(serializers.Serializer):
    group = serializers.ChoiceField(Group.choices)
    points = serializers.FloatField(help_text="The sum of its contributions.")
    counted = serializers.FloatField(help_text="What counts of it under the cap.")


class ContributionSerializer(serializers.Serializer):
    group = serializers.ChoiceField(Group.choices)
    rule = serializers.CharField(
        allow_null=True, help_text="Null where it asks what you do not see."
    )
    points = serializers.FloatField(help_text="What is left of them by now.")
    at = serializers.DateTimeField(allow_null=True, help_text="Of the activity.")


class ScoreSerializer(serializers.Serializer):
    """The score of a lead with all that it is made of; null while nothing scores it."""

    total = serializers.IntegerField(allow_null=True, help_text="As lists show it.")
    grade = serializers.CharField(allow_null=True)
    computed_total = serializers.IntegerField(
        allow_null=True, help_text="What it is without the override."
    )
    override = OverrideSerializer(allow_null=True)
    groups = GroupSerializer(many=True)
    contributions = ContributionSerializer(many=True)
    scoring_model = ScoringModelSummary(allow_null=True)
    computed_at = serializers.DateTimeField(allow_null=True)
    is_current = serializers.BooleanField(
        help_text="False while something that changed is yet to be counted."
    )
