from rest_framework import serializers

from core.serializers import RecordSerializer


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
