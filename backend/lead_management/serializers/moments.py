from zoneinfo import ZoneInfo

from django.db import models
from django.utils import timezone
from rest_framework import serializers

from core.serializers import (
    RecordSerializer,
)


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
