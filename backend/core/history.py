"""The past of a record, read from the journal."""

from django.db.models import F, Q
from rest_framework import serializers

from core import access
from core.custom_fields.definitions import gathered, spread
from core.models import Change, ChangeSet, Journaled, Record
from core.models.values import snapshot
from core.registry import journaled_types
from core.serializers import StrictSerializer

BLANK = (None, "", [], {})


class ActorSerializer(StrictSerializer):
    id = serializers.UUIDField()
    email = serializers.EmailField()
    first_name = serializers.CharField()
    last_name = serializers.CharField()


class ApiKeySummarySerializer(StrictSerializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    prefix = serializers.CharField()


class ChangeSetReferenceSerializer(serializers.ModelSerializer):
    actor = ActorSerializer(allow_null=True)
    api_key = ApiKeySummarySerializer(
        allow_null=True, help_text="The key through which the actor made the change."
    )

    class Meta:
        model = ChangeSet
        fields = (
            *("id", "actor", "api_key", "source", "reason", "request_id", "undoes"),
        )


class EntrySerializer(serializers.ModelSerializer):
    """One change of a record. The OpenAPI shape of what `select` gives."""

    before = serializers.DictField(help_text="The changed fields before.")
    after = serializers.DictField(help_text="The changed fields after.")
    change_set = ChangeSetReferenceSerializer()

    class Meta:
        model = Change
        fields = (
            *("id", "verb", "version", "before", "after", "created_at", "change_set"),
        )


def changes_of(record: Journaled):
    return Change.objects.filter(
        record_id=record.pk, record_type=record.record_type()
    ).select_related("change_set__actor", "change_set__api_key")


def seen_by(user) -> Q:
    """The condition on changes that the user sees what was changed, deleted or not."""
    seen = Q(pk__in=[])
    for record_type, model in journaled_types().items():
        if issubclass(model, Record):
            rows = model.objects.within(user, access.Verb.VIEW)
        else:
            rows = model.objects.visible_to(user)
        seen |= Q(record_type=record_type, record_id__in=rows.values("pk"))
    return seen


def select(record: Journaled, user, queryset, extra=()) -> list[tuple[dict, tuple]]:
    """The rows of a page of `changes_of`, for Pagination.paginate."""
    return [
        (entry(change, record, user), tuple(getattr(change, name) for name in extra))
        for change in queryset
    ]


def entry(change: Change, record: Journaled, user) -> dict:
    """What the user may see of a change."""
    before, after = change.before or {}, change.after
    if change.verb == Change.Verb.CREATE:
        after = created_values(record, change)
    rights = access.field_rights(user, change.record_type)
    before, after = rights.shown_change(before, after)
    return {
        "id": change.pk,
        "verb": change.verb,
        "version": change.version,
        "before": before,
        "after": after,
        "created_at": change.created_at,
        "change_set": reference(change.change_set),
    }


def summary_of(row) -> dict | None:
    """What is shown of a user or an API key in the place of its id."""
    return row and {name: getattr(row, name) for name in row.summary_fields}


def reference(change_set: ChangeSet) -> dict:
    return {
        "id": change_set.pk,
        "actor": summary_of(change_set.actor),
        "api_key": summary_of(change_set.api_key),
        "source": change_set.source,
        "reason": change_set.reason,
        "request_id": change_set.request_id,
        "undoes": change_set.undoes_id,
    }


def created_values(record: Journaled, creation: Change) -> dict:
    """What the record was made with: its values of now, with each later change undone.

    Blank values are left out.
    """
    values = snapshot(record)
    later = Change.objects.filter(
        record_id=record.pk,
        record_type=creation.record_type,
        version__gt=creation.version,
    )
    later = later.order_by(F("version").desc())
    for before, after in later.values_list("before", "after"):
        values.update(gathered(spread(before, after), values))
    return {name: value for name, value in values.items() if value not in BLANK}
