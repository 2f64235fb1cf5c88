"""What contacts take beside their fields, and what is said of groups and tags."""

from rest_framework import serializers

from core.serializers import RecordSerializer, StrictSerializer

MAX_MEMBERS = 1000


class ContactInput(RecordSerializer):
    """Takes a contact's company by what tells it, beside by its id.

    Its name alone tells no company: two may be called the same.
    """

    company_domain = serializers.CharField(
        write_only=True,
        required=False,
        max_length=500,
        help_text="The company with this domain; else it is made.",
    )
    company_external_id = serializers.DictField(
        child=serializers.CharField(max_length=100),
        write_only=True,
        required=False,
        allow_empty=False,
        help_text='The company with this id, `{"source": "id"}`; else it is made.',
    )

    def validate(self, values):
        for name in ("company_domain", "company_external_id"):
            if name in values and "company" in values:
                raise serializers.ValidationError(
                    {name: "Give either this or `company`."}, "both_given"
                )
        return values


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
