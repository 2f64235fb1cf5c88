"""What the user should know."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from core import access
from core.filters import YesNoFilter
from core.models import Notification
from core.notifications import actors_of, subjects_of
from core.serializers import StrictSerializer
from core.views.base import ReadOnlyViewSet

MAX_IDS = 200


class NotificationSerializer(serializers.ModelSerializer):
    subject = serializers.SerializerMethodField(
        help_text="Its summary; null if you do not see it any more."
    )

    actor = serializers.SerializerMethodField(
        help_text="Who did it, as far as you see them; null where nobody did."
    )

    class Meta:
        model = Notification
        fields = (
            *("id", "event", "code", "actor"),
            *("subject_type", "subject_id", "subject", "count"),
            *("at", "created_at", "read_at"),
        )

    def get_subject(self, notification) -> dict | None:
        seen = self.context["subjects"][notification.subject_type]
        return seen.get(notification.subject_id)

    def get_actor(self, notification) -> dict | None:
        return self.context["actors"].get(notification.actor_id)


class ReadSerializer(StrictSerializer):
    ids = serializers.ListField(
        child=serializers.UUIDField(),
        required=False,
        allow_empty=False,
        max_length=MAX_IDS,
        help_text="Of one's own notifications; all, if not given.",
    )


class ReadCountSerializer(serializers.Serializer):
    read = serializers.IntegerField(help_text="How many were not read before.")


class NotificationViewSet(ReadOnlyViewSet):
    """One's own, the newest first."""

    model = Notification
    serializer_class = NotificationSerializer
    filter_fields = ("event", "code", "subject_type", "created_at", "read_at")
    more_filters = {"unread": YesNoFilter("read_at", "isnull")}

    def context_of(self, rows):
        """What the user sees of the records, with one query for each type."""
        user = self.request.user
        told = {"subjects": subjects_of(rows, user), "actors": actors_of(rows, user)}
        return {**super().context_of(rows), **told}

    @extend_schema(request=ReadSerializer, responses=ReadCountSerializer)
    @action(detail=False, methods=["post"], filter_backends=(), pagination_class=None)
    def read(self, request):
        """Mark notifications as read."""
        self.refuse_parameters("dry_run")
        verb = access.Verb.EDIT
        if access.is_beyond_key(request.user, self.record_type, verb):
            raise access.RightMissing(request.user, self.record_type, verb)
        asked = ReadSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        unread = self.get_queryset().filter(read_at=None)
        if "ids" in asked.validated_data:
            unread = unread.filter(pk__in=asked.validated_data["ids"])
        return Response({"read": unread.update(read_at=timezone.now())})
