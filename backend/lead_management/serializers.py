from functools import cached_property
from zoneinfo import ZoneInfo

from django.contrib.auth import get_user_model
from django.db import models
from django.utils import timezone
from rest_framework import serializers

from contact_management.models import Company, Contact
from core.exceptions import bad_parameter
from core.field_rights import PREFIX
from core.history import ActorSerializer
from core.routers import view_for
from core.serializers import (
    AutoAssignField,
    RecordSerializer,
    StrictSerializer,
    VisibleRelatedField,
)
from lead_management.assignment.roster import Reason
from lead_management.conversion import TYPES, Wish
from lead_management.models import (
    AssignmentDecision,
    Deal,
    Kind,
    Lead,
    LeadProcess,
    Pipeline,
)

MAX_TRIED = 100


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


class TargetInput(StrictSerializer):
    """What a lead becomes: the record with the `id`, or a new one."""

    values = serializers.DictField(
        default=dict,
        help_text="Fields, as in a PATCH, in the place of what the lead tells.",
    )
    overwrite = serializers.ListField(
        child=serializers.CharField(),
        default=list,
        help_text="Fields of a record that was there before, which get the new value"
        " even where they have one. Others are filled where they are empty.",
    )

    model = None
    # What the conversion itself decides, or another part of the body.
    settled = frozenset(("owner", "company", "company_domain", "company_external_id"))

    @cached_property
    def view(self):
        user = self.context["request"].user
        return view_for(self.model, user, format_kwarg=None)

    def validate_values(self, values):
        for name in sorted(self.settled & values.keys()):
            detail = "Not among these: the conversion has a place for it."
            raise bad_parameter(name, detail, "not_allowed")
        return self.view.values_of(values, partial=True)

    def validate_overwrite(self, names):
        fields = self.view.serializer_class().fields
        known = {name for name, field in fields.items() if not field.read_only}
        known -= self.settled - {"company"}
        hidden = self.view.field_rights.hidden_keys
        for name in names:
            key = name.removeprefix(PREFIX)
            if name not in known and (key == name or key in hidden):
                raise serializers.ValidationError(
                    f"There is no '{name}' here.", "unknown_field"
                )
        return names


class MatchedTargetInput(TargetInput):
    match = serializers.BooleanField(
        default=False,
        help_text="Take the one that is there with the same external id, or else the"
        " same e-mail address (contact) or domain (company); never by a name.",
    )

    def validate(self, values):
        if values["match"] and "id" in values:
            detail = "Give either this or `id`."
            raise bad_parameter("match", detail, "both_given")
        return values


class ContactTargetInput(MatchedTargetInput):
    model = Contact
    id = VisibleRelatedField(queryset=Contact.objects.all(), required=False)


class CompanyTargetInput(MatchedTargetInput):
    model = Company
    id = VisibleRelatedField(queryset=Company.objects.all(), required=False)


class DealTargetInput(TargetInput):
    model = Deal
    id = VisibleRelatedField(queryset=Deal.objects.all(), required=False)
    pipeline = VisibleRelatedField(
        queryset=Pipeline.objects.all(),
        required=False,
        help_text="A new deal begins in its first stage.",
    )

    def validate(self, values):
        if "pipeline" in values and ("id" in values or "stage" in values["values"]):
            detail = "Give one of this, `id` and the stage."
            raise bad_parameter("pipeline", detail, "both_given")
        return values


class ConversionInput(StrictSerializer):
    """What a lead is to become. Without a company or a deal it becomes none."""

    contact = ContactTargetInput(required=False, help_text="If not given, a new one.")
    company = CompanyTargetInput(required=False, allow_null=True)
    deal = DealTargetInput(required=False, allow_null=True)
    owner = VisibleRelatedField(
        queryset=get_user_model().objects.all(),
        required=False,
        help_text="Of what is new; that of the lead if not given.",
    )
    reason = serializers.CharField(
        max_length=500, required=False, allow_blank=True, default=""
    )

    @property
    def wishes(self) -> dict[str, Wish]:
        asked = {"contact": {}, **self.validated_data}
        return {
            name: Wish(**asked[name]) for name in TYPES if asked.get(name) is not None
        }


class OutcomeSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    is_new = serializers.BooleanField()
    before = serializers.DictField(help_text="The fields that it filled, before.")
    after = serializers.DictField(help_text="The same after; of a new one all.")


class ConversionSerializer(serializers.Serializer):
    """What became of a lead."""

    lead = serializers.DictField(help_text="As it is now.")
    contact = OutcomeSerializer()
    company = OutcomeSerializer(allow_null=True)
    deal = OutcomeSerializer(allow_null=True)
    activities = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="How many of its activities are seen there now, by their kind.",
    )
    change_set = serializers.UUIDField(
        allow_null=True, help_text="To undo all of it; null after a dry run."
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


class AvailabilityInput(RecordSerializer):
    """Whose it is, is said once."""

    def get_fields(self):
        fields = super().get_fields()
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
