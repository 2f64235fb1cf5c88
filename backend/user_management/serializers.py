from rest_framework import serializers

from core.models import Organization
from core.serializers import StrictSerializer, VisibleRelatedField
from user_management.models import Role, Team, User


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


class HandOverSerializer(StrictSerializer):
    to = VisibleRelatedField(
        queryset=User.objects.all(), help_text="Who gets the records."
    )
    deactivate = serializers.BooleanField(
        default=False, help_text="The person leaves and may not sign in any more."
    )


class MeSerializer(StrictSerializer, serializers.ModelSerializer):
    """The signed-in user: who they are and what they may do."""

    organization = NamedOrganizationSerializer(read_only=True)
    role = NamedRoleSerializer(read_only=True)
    team = NamedTeamSerializer(read_only=True, allow_null=True)

    class Meta:
        model = User
        fields = (
            *("id", "email", "first_name", "last_name", "timezone", "language"),
            *("organization", "role", "team", "is_staff"),
            *("version", "created_at", "updated_at"),
        )
        read_only_fields = ("email", "is_staff")
