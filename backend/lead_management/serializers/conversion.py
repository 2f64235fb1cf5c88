from functools import cached_property

from django.contrib.auth import get_user_model
from rest_framework import serializers

from contact_management.models import Company, Contact
from core.exceptions import bad_parameter
from core.field_rights import PREFIX
from core.routers import view_for
from core.serializers import (
    StrictSerializer,
    VisibleRelatedField,
)
from lead_management.conversion import TYPES, Wish
from lead_management.models import (
    Deal,
    Pipeline,
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
