from django.conf import settings
from rest_framework import serializers

from core.models import Organization
from core.serializers import RecordSerializer, StrictSerializer, VisibleRelatedField
from user_management.models import ApiKey, Role, Team, User
from user_management.preferences import complete_notifications
from user_management.scopes import scopes


class NamedOrganizationSerializer(serializers.ModelSerializer):
    class Meta:
        model = Organization
        fields = ("id", "name", "country")


class NamedRoleSerializer(serializers.ModelSerializer):
    class Meta:
        model = Role
        fields = ("id", "name", "rights")


class NamedTeamSerializer(serializers.ModelSerializer):
    class Meta:
        model = Team
        fields = ("id", "name")


class ApiKeySerializer(RecordSerializer):
    """A key that is there: it can be renamed, but never do more or last longer."""

    scopes = serializers.ListField(
        child=serializers.ChoiceField(sorted(scopes())), read_only=True
    )

    class Meta:
        model = ApiKey
        fields = (
            *("id", "name", "scopes", "expiry", "prefix", "owner", "last_used_at"),
            *("revoked_at", "version", "created_at", "updated_at"),
        )
        read_only_fields = ("expiry",)


class NewApiKeySerializer(ApiKeySerializer):
    scopes = serializers.ListField(
        child=serializers.ChoiceField(sorted(scopes())),
        allow_empty=False,
        help_text="What it may do, as far as the role of its owner allows it too.",
    )

    class Meta(ApiKeySerializer.Meta):
        read_only_fields = ()


class MadeApiKeySerializer(ApiKeySerializer):
    key = serializers.CharField(
        allow_null=True,
        help_text="The key itself, in this answer alone: null where it comes again.",
    )

    class Meta(ApiKeySerializer.Meta):
        fields = (*ApiKeySerializer.Meta.fields, "key")


class HandOverSerializer(StrictSerializer):
    to = VisibleRelatedField(
        queryset=User.objects.all(), help_text="Who gets the records."
    )
    deactivate = serializers.BooleanField(
        default=False, help_text="The person leaves and may not sign in any more."
    )


class AcceptSerializer(StrictSerializer):
    """What an invited person sends."""

    password = serializers.CharField(
        write_only=True, trim_whitespace=False, max_length=1000
    )


class InvitationSerializer(serializers.Serializer):
    """What an invited person sees before they accept."""

    email = serializers.EmailField()
    first_name = serializers.CharField(source="user.first_name")
    last_name = serializers.CharField(source="user.last_name")
    organization = serializers.CharField(source="user.organization.name")
    expires_at = serializers.DateTimeField()


class AvatarSerializer(StrictSerializer):
    file = serializers.FileField(
        max_length=255, help_text="PNG, JPEG or WebP; the middle square is shown."
    )

    def validate_file(self, file):
        limit = settings.AVATAR_MAX_BYTES
        if file.size > limit:
            raise serializers.ValidationError(
                f"At most {limit // 2**20} MiB.", "too_large"
            )
        return file


class MeSerializer(StrictSerializer, serializers.ModelSerializer):
    """The signed-in user: who they are and what they may do."""

    organization = NamedOrganizationSerializer(read_only=True)
    role = NamedRoleSerializer(read_only=True)
    team = NamedTeamSerializer(read_only=True, allow_null=True)

    class Meta:
        model = User
        fields = (
            *("id", "email", "first_name", "last_name", "phone", "phone_e164"),
            *("department", "job_title", "bio", "avatar", "timezone", "language"),
            *("notifications", "dashboard"),
            *("organization", "role", "team", "manager", "is_staff"),
            *("version", "created_at", "updated_at"),
        )
        read_only_fields = ("email", "manager", "is_staff")

    def to_representation(self, user):
        shown = super().to_representation(user)
        # PostgreSQL gives the keys of an object back in an order of its own, and with
        # it the answer would have another ETag.
        shown["notifications"] = complete_notifications(user.notifications)
        return shown
