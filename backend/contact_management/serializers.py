"""What is said about members of groups and about tags."""

from rest_framework import serializers

from core.serializers import StrictSerializer

MAX_MEMBERS = 1000


def contact_ids(help_text):
    return serializers.ListField(
        child=serializers.UUIDField(),
        default=list,
        max_length=MAX_MEMBERS,
        help_text=help_text,
    )


class MembersSerializer(StrictSerializer):
    """Contacts to add and to remove; for more than 1,000 there is `contacts/bulk/`."""

    add = contact_ids("Ids of contacts.")
    remove = contact_ids("Ids of contacts.")


class MembersChangedSerializer(serializers.Serializer):
    added = serializers.IntegerField()
    removed = serializers.IntegerField()
    unchanged = serializers.IntegerField(help_text="Were so already.")
    change_set = serializers.UUIDField(allow_null=True)


class MemberCountSerializer(serializers.Serializer):
    count = serializers.IntegerField()
    capped = serializers.BooleanField(help_text="Whether there are more than `count`.")


class TagUsesSerializer(serializers.Serializer):
    uses = serializers.DictField(
        child=serializers.IntegerField(), help_text="How many records, by their type."
    )
