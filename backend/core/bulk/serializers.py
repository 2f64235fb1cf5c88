"""What a bulk change looks like in a request, for each record type."""

from functools import lru_cache

from django.core.exceptions import ValidationError as ModelError
from rest_framework import serializers

from core.bulk.changes import BulkChange, Deletion, Edit
from core.exceptions import bad_parameter
from core.field_rights import CUSTOM
from core.fields import tags_field_of
from core.problems import from_django
from core.routers import view_for
from core.serializers import StrictSerializer, VisibleRelatedField

MAX_IDS = 10_000
EDITS = ("set", "owner", "add_tags", "remove_tags")


class ChangeSerializer(StrictSerializer):
    """One change. What `set`, `owner` and the tags say is done together; deleting, and
    what a record type adds of its own, stand alone."""

    view = None

    set = serializers.DictField(
        required=False,
        allow_empty=False,
        help_text="New values of fields, as in a PATCH.",
    )
    delete = serializers.BooleanField(required=False)

    def validate_set(self, values):
        """The field values of a record of this type."""
        view = self.context["view"]
        for name in values:
            if (
                name
                in view.serializer_class().fields.keys() - view.representation.fields
            ):
                raise bad_parameter(name, "Not in bulk.", "not_in_bulk")
        serializer = view.serializer_class(
            data=values, partial=True, context=self.context
        )
        serializer.is_valid(raise_exception=True)
        # It is merged into what each record has, before the record is validated.
        if not isinstance(serializer.validated_data.get(CUSTOM, {}), dict):
            raise bad_parameter(CUSTOM, "Give an object.", "not_an_object")
        return dict(serializer.validated_data)

    def validate_delete(self, wish):
        if not wish:
            raise serializers.ValidationError("Give true, or leave it out.", "invalid")
        return wish

    def validate_owner(self, owner):
        self._require_seen("owner")
        return owner

    def validate_add_tags(self, names):
        return self._tags(names)

    def validate_remove_tags(self, names):
        return self._tags(names)

    def _tags(self, names):
        field = self.view.model._meta.get_field(tags_field_of(self.view.model))
        self._require_seen(field.name)
        try:
            return field.clean(names, None)
        except ModelError as error:
            raise from_django(error) from None

    def _require_seen(self, name):
        """A change of a field that the user does not see would tell what is in it."""
        if name not in self.context["view"].representation.fields:
            raise serializers.ValidationError("Unknown field.", "unknown_field")

    def validate(self, wish):
        if not wish:
            raise serializers.ValidationError("Say what to change.", "required")
        for name in wish:
            if name not in EDITS and len(wish) > 1:
                raise bad_parameter(name, "This stands alone.", "not_combinable")
        if "owner" in wish.get("set", ()) and "owner" in wish:
            raise bad_parameter("owner", "The owner stands in `set` too.", "repeated")
        return self._change(wish)

    def _change(self, wish) -> BulkChange:
        for name, change_class in self.view.bulk_changes.items():
            if name in wish:
                return change_class(wish[name], self.context["request"].user)
        if "delete" in wish:
            return Deletion()
        values = dict(wish.get("set", {}))
        if "owner" in wish:
            values["owner"] = wish["owner"]
        return Edit(
            values,
            tags_field_of(self.view.model),
            wish.get("add_tags", ()),
            wish.get("remove_tags", ()),
        )


class BulkRequestSerializer(StrictSerializer):
    """One change, and the records that it is for: those of `filter`, or `ids`."""

    filter = serializers.DictField(
        required=False,
        help_text="The parameters of the list, such as"
        ' `{"status": "active", "owner": "me"}`; `{}` means all.',
    )
    ids = serializers.ListField(
        child=serializers.UUIDField(),
        required=False,
        allow_empty=False,
        max_length=MAX_IDS,
    )
    dry_run = serializers.BooleanField(
        default=False, help_text="Only say how many would be changed."
    )

    def validate(self, wish):
        if ("filter" in wish) == ("ids" in wish):
            raise bad_parameter("filter", "Give a filter, or ids.", "required")
        return wish


@lru_cache
def change_serializer(view) -> type[ChangeSerializer]:
    """The changes that a view's records can take in bulk."""
    model = view.model
    people = model._meta.get_field("owner").related_model.objects.all()
    declared = {
        "view": view,
        "owner": VisibleRelatedField(
            queryset=people, required=False, allow_null=True, help_text="Who gets them."
        ),
        **{name: change.field() for name, change in view.bulk_changes.items()},
    }
    if tags_field_of(model):
        for name in ("add_tags", "remove_tags"):
            declared[name] = serializers.ListField(
                child=serializers.CharField(), required=False, allow_empty=False
            )
    return type(f"{model.__name__}ChangeSerializer", (ChangeSerializer,), declared)


@lru_cache
def bulk_serializer(view) -> type[BulkRequestSerializer]:
    """The body of a view's bulk request."""
    declared = {"change": change_serializer(view)()}
    name = f"{view.model.__name__}BulkRequestSerializer"
    return type(name, (BulkRequestSerializer,), declared)


def change_from(model, change: dict, user) -> BulkChange:
    """What a change that was asked for is, with the user's rights of now.

    Raises:
        ValidationError: with the fields that are wrong.
    """
    view = view_for(model, user)
    serializer = change_serializer(type(view))(
        data=change, context={"request": view.request, "view": view}
    )
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data
