"""The rules of a scoring model, and whether they are any.

A rule says what it is about in the parameters of a list (core.saved_filters): of the
list of leads where it is of the group `fit`, of the list of activities where it is of
`engagement`. So it knows every field that those know, custom fields among them.
"""

from django.core.exceptions import ValidationError
from django.db import models
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from core import saved_filters
from core.problems import flatten
from core.serializers import StrictSerializer

MAX_RULES = 100
MAX_POINTS = 100
# How many activities one rule counts at most: each is kept with the score.
MAX_COUNT = 50
DEFAULT_COUNT = 10
# What a rule cannot ask: scores are what comes of it, and a day is another tomorrow.
NEVER_ASKED = {"due"}
SCORE = "lead_score"


class Group(models.TextChoices):
    FIT = "fit", "Fit"
    ENGAGEMENT = "engagement", "Engagement"


class RuleSerializer(StrictSerializer):
    """Points for each lead that the list shows with `filter`, or for each activity."""

    name = serializers.CharField(max_length=100)
    group = serializers.ChoiceField(Group.choices)
    filter = serializers.DictField(
        help_text="Parameters of the list of leads (`fit`) or of activities"
        ' (`engagement`): `{"country": "DE"}`, `{"kind": "call"}`; `{}` is all of'
        " them."
    )
    points = serializers.IntegerField(min_value=-MAX_POINTS, max_value=MAX_POINTS)
    at_least = serializers.IntegerField(
        min_value=1,
        max_value=MAX_COUNT,
        required=False,
        help_text="Of `engagement`: fewer activities than this give nothing.",
    )
    at_most = serializers.IntegerField(
        min_value=1,
        max_value=MAX_COUNT,
        required=False,
        help_text="Of `engagement`: only so many, the newest, give points; 10 if not"
        " given.",
    )

    def validate(self, rule):
        if rule["group"] == Group.ENGAGEMENT:
            rule = {"at_least": 1, "at_most": DEFAULT_COUNT, **rule}
        else:
            for name in ("at_least", "at_most"):
                if name in rule:
                    detail = "Only a rule about activities counts."
                    raise serializers.ValidationError(
                        {name: ErrorDetail(detail, "not_counted")}
                    )
        try:
            rows_of(rule, self._user()).none()
        except serializers.ValidationError as error:
            raise serializers.ValidationError({"filter": error.detail}) from None
        return rule

    def _user(self):
        """Whoever writes it: a rule asks nothing that they do not see."""
        request = self.context.get("request")
        return request.user if request else self.context["user"]


def rows_of(rule: dict, user) -> models.QuerySet:
    """The leads or activities of the organization that a rule is about.

    Args:
        user: whose organization it is; of their rights only hidden fields count.

    Raises:
        serializers.ValidationError: with what is wrong in the filter.
    """
    from lead_management.models import Activity, Lead

    for name, value in rule["filter"].items():
        if name in NEVER_ASKED or name.partition("__")[0] == SCORE:
            detail = "A rule cannot ask this."
        elif value == "me":
            detail = "A rule is nobody's: give an id."
        else:
            continue
        raise serializers.ValidationError({name: ErrorDetail(detail, "not_allowed")})
    model = Lead if rule["group"] == Group.FIT else Activity
    rows = model.objects.live().filter(organization=user.organization_id)
    return saved_filters.narrowed(rows, rule["filter"], user)


def checked_rules(rules, user) -> list[dict]:
    """The rules as they are kept.

    Raises:
        ValidationError: with what is wrong, by `rules.<place>.<field>`.
    """
    if not isinstance(rules, list):
        raise ValidationError({"rules": ValidationError("Give a list.", "not_a_list")})
    serializer = RuleSerializer(
        data=rules, many=True, max_length=MAX_RULES, context={"user": user}
    )
    if not serializer.is_valid():
        errors = {}
        for error in flatten(serializer.errors, "rules"):
            wrong = ValidationError(error["detail"], error["code"])
            errors.setdefault(error["field"] or "rules", []).append(wrong)
        raise ValidationError(errors)
    kept = [dict(rule) for rule in serializer.validated_data]
    names = [rule["name"].casefold() for rule in kept]
    for place, name in enumerate(names):
        if name in names[:place]:
            error = ValidationError("Another rule has this name.", "unique")
            raise ValidationError({f"rules.{place}.name": error})
    return kept
