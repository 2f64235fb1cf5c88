from datetime import timedelta
from zoneinfo import ZoneInfo

from django.contrib.auth import get_user_model
from django.db import models
from django.utils import timezone
from rest_framework import serializers

from contact_management.models import Contact
from core.history import ActorSerializer
from core.serializers import RecordSerializer, StrictSerializer
from lead_management.models import Kind, Lead, LeadProcess
from lead_management.scoring.rules import MAX_RULES, Group, RuleSerializer

LONGEST_OVERRIDE = timedelta(days=365)


class LocalDateTimeField(serializers.DateTimeField):
    """A moment; without an offset it is of the time zone of whoever sends it."""

    def enforce_timezone(self, value):
        if timezone.is_naive(value):
            zone = ZoneInfo(self.context["request"].user.timezone)
            value = timezone.make_aware(value, zone)
        return super().enforce_timezone(value)


class LocalSerializer(RecordSerializer):
    serializer_field_mapping = {
        **RecordSerializer.serializer_field_mapping,
        models.DateTimeField: LocalDateTimeField,
    }


class LeadInput(LocalSerializer):
    """Takes the status of a new lead, where the process lets leads begin in it."""

    def get_fields(self):
        fields = super().get_fields()
        if "status" in fields and (self.partial or "current" in self.context):
            fields["status"].read_only = True
        return fields

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


class ParticipantSerializer(StrictSerializer):
    contact = serializers.UUIDField(required=False)
    user = serializers.UUIDField(required=False)

    def validate(self, values):
        if len(values) != 1:
            detail = "Give the id of a `contact` or of a `user`."
            raise serializers.ValidationError({"contact": detail}, "invalid")
        return {kind: str(pk) for kind, pk in values.items()}


class ActivityInput(LocalSerializer):
    """Takes as participants whom the sender sees."""

    participants = ParticipantSerializer(many=True, required=False, max_length=50)

    def validate_participants(self, participants):
        """Those who are not seen are said not to exist, like those who do not."""
        user = self.context["request"].user
        for kind, model in (("contact", Contact), ("user", get_user_model())):
            asked = {one[kind] for one in participants if kind in one}
            if not asked:
                continue
            seen = model.objects.visible_to(user).filter(pk__in=asked)
            kept = self._kept(kind)
            if asked - kept - {str(pk) for pk in seen.values_list("pk", flat=True)}:
                raise serializers.ValidationError(
                    f"There is no such {kind}.", "does_not_exist"
                )
        return participants

    def _kept(self, kind) -> set[str]:
        """Who stands there already: what was read can be sent back whole."""
        current = (self.context.get("current") or {}).get("participants") or ()
        return {one[kind] for one in current if kind in one}


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
