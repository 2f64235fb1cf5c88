"""Serializers check what comes in; what goes out is core.representation's work."""

from collections.abc import Mapping
from functools import lru_cache

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from core.field_rights import CUSTOM
from core.fields import (
    DomainField,
    EmailsField,
    ExternalIdsField,
    LinkField,
    PhonesField,
    TagsField,
)
from core.plans import find
from core.renderers import dumps

CUSTOM_FIELDS = (
    "By key: what `/api/custom-fields/` defines for this record type, or any JSON while"
    " it defines nothing. PATCH changes the keys that it sends; null takes one away."
)


class StrictSerializer(serializers.Serializer):
    """Refuses fields that it does not know, and new values for read-only ones.

    A read-only field may be sent with the value that it has, so that what was read can
    be sent back whole. A PATCH leaves out fields of a record, not of an object in it.
    """

    def to_internal_value(self, data):
        if isinstance(data, dict):
            self._require_shape(data)
        return super().to_internal_value(data)

    def _require_shape(self, data):
        errors = {}
        if self.parent is not None and self.root.partial:
            errors = {
                name: serializers.ErrorDetail(
                    field.error_messages["required"], "required"
                )
                for name, field in self.fields.items()
                if field.required and name not in data
            }
        for name in data:
            field = self.fields.get(name)
            if field is None:
                errors[name] = serializers.ErrorDetail(
                    "Unknown field.", "unknown_field"
                )
            elif field.read_only and not self._is_current(name, data[name]):
                errors[name] = serializers.ErrorDetail("Read-only.", "read_only")
        if errors:
            raise serializers.ValidationError(errors)

    def _is_current(self, name, value) -> bool:
        current = self.context.get("current") or {}
        return name in current and dumps(current[name]) == dumps(value)


@extend_schema_field(
    {"oneOf": [{"type": "boolean"}, {"format": "uuid", "type": "string"}]}
)
class AutoAssignField(serializers.Field):
    """Whether rules choose an owner: true, false, or the id of the rule that does."""

    def to_internal_value(self, data):
        # In a form there are only texts.
        if isinstance(data, bool) or data in ("true", "false"):
            return data in (True, "true")
        try:
            return str(serializers.UUIDField().to_internal_value(data))
        except serializers.ValidationError:
            raise serializers.ValidationError(
                "Give true, false, or the id of a rule.", "invalid"
            ) from None


class VisibleRelatedField(serializers.PrimaryKeyRelatedField):
    """The id of a record that the user may see; others are said not to exist."""

    def __init__(self, **kwargs):
        super().__init__(pk_field=serializers.UUIDField(), **kwargs)

    def run_validation(self, data=empty):
        # DRF would take an empty text for null, and the record from its owner.
        if data == "":
            self.pk_field.run_validation(data)
        return super().run_validation(data)

    def get_queryset(self):
        return self.queryset.model.objects.visible_to(self.context["request"].user)

    def to_internal_value(self, data):
        pk = self.pk_field.to_internal_value(data)
        user, model = self.context["request"].user, self.queryset.model
        record = find(user, model, "seen", self.get_queryset, pk)
        if record is None:
            self.fail("does_not_exist", pk_value=pk)
        return record


class LabelledSerializer(StrictSerializer):
    value = serializers.CharField()
    label = serializers.CharField(required=False, allow_blank=True)


class LabelledPhoneSerializer(LabelledSerializer):
    e164 = serializers.CharField(read_only=True)

    def _is_current(self, name, value):
        # Worked out anew from the value, so whatever was read may be sent back.
        return True


class LabelledListField(serializers.ListField):
    child = LabelledSerializer()


class LabelledPhonesListField(LabelledListField):
    child = LabelledPhoneSerializer()


class RecordSerializer(StrictSerializer, serializers.ModelSerializer):
    """Built from a view's `model` and `fields`.

    Rules that concern one record are the model's (`clean`), unique values are the
    database's: neither is checked a second time here.
    """

    serializer_related_field = VisibleRelatedField
    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        LinkField: serializers.CharField,
        DomainField: serializers.CharField,
        EmailsField: LabelledListField,
        PhonesField: LabelledPhonesListField,
        TagsField: serializers.ListField,
        ExternalIdsField: serializers.DictField,
    }

    def get_field_names(self, declared_fields, info):
        """To check a body takes the fields that it sends, and those that want to be.

        A record type has many fields, and making them would be half of a check.
        """
        names = super().get_field_names(declared_fields, info)
        sent = getattr(self, "initial_data", None)
        if not isinstance(sent, Mapping):
            return names
        wanted = {*sent, *declared_fields, *_wanted(type(self))}
        return [name for name in names if name in wanted]

    def build_standard_field(self, field_name, model_field):
        field_class, kwargs = super().build_standard_field(field_name, model_field)
        kwargs["validators"] = [
            validator
            for validator in kwargs.get("validators", [])
            if not hasattr(validator, "queryset")
        ]
        if not kwargs["validators"]:
            del kwargs["validators"]
        if field_name == CUSTOM:
            kwargs["help_text"] = CUSTOM_FIELDS
        if issubclass(field_class, LabelledListField):
            kwargs = {"required": False, "read_only": kwargs.get("read_only", False)}
        elif field_class in (serializers.ListField, serializers.DictField):
            kwargs = {
                "child": serializers.CharField(),
                "required": False,
                "read_only": kwargs.get("read_only", False),
            }
        return field_class, kwargs

    def build_property_field(self, field_name, model_class):
        """What is computed shows as what its field says, and is only read."""
        field = model_class.computed_fields[field_name]
        return self.build_standard_field(field_name, field)

    def get_validators(self):
        return []


@lru_cache(maxsize=1024)  # roles that see few fields have classes of their own
def _wanted(serializer: type[RecordSerializer]) -> frozenset[str]:
    """The fields that do something even where a body does not send them."""
    return frozenset(
        name
        for name, field in serializer().fields.items()
        if field.required or field.default is not empty
    )


def narrowed_serializer(base, names) -> type[RecordSerializer]:
    """The serializer class with some of its fields alone."""
    names = tuple(dict.fromkeys((*names, *base._declared_fields)))
    meta = type("Meta", (base.Meta,), {"fields": names})
    return type(base.__name__, (base,), {"Meta": meta})


def record_serializer(model, names, base=RecordSerializer) -> type[RecordSerializer]:
    """The serializer class of a model with these fields, and those that `base` adds."""
    names = (*names, *base._declared_fields)
    meta = type("Meta", (), {"model": model, "fields": names})
    return type(f"{model.__name__}Serializer", (base,), {"Meta": meta})
