from django.contrib.auth import get_user_model
from rest_framework import serializers

from contact_management.models import Contact
from core.serializers import (
    StrictSerializer,
)

from .moments import LocalSerializer


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
