"""The admin of records for staff whose role hides fields, or lets them only be read."""

from django.db import models

from core import access
from core.field_rights import CUSTOM, PREFIX, FieldRights, without_keys
from core.models import Record


def rights_on(model: type[models.Model], user) -> FieldRights:
    return access.field_rights(user, model._meta.model_name)


def conceal(record: Record, user) -> Record:
    """Blank what the user may not see, of a record that is only shown.

    So its name, which may be made of such fields, does not tell them either.
    """
    rights = rights_on(type(record), user)
    if rights.hidden and not hasattr(record, "concealed"):
        record.concealed = {}
        for field in record._meta.concrete_fields:
            # What belongs to whom decides about rights, and is no part of a name.
            if field.name in rights.hidden and not field.is_relation:
                record.concealed[field.attname] = getattr(record, field.attname)
                setattr(record, field.attname, field.get_default())
        shown = without_keys(record.custom_fields, rights.hidden_keys)
        record.custom_fields = shown
        record.accept_custom_fields()
    for field in limited_relations(type(record), user):
        related = getattr(record, field.name)
        if related is not None:
            conceal(related, user)
    return record


def limited_relations(model, user) -> list[models.ForeignKey]:
    """The relations to records of which the user does not see all fields."""
    return [
        field
        for field in model._meta.concrete_fields
        if field.is_relation
        and field.related_model is not model
        and rights_on(field.related_model, user).hidden
    ]


class RevealedForm:
    """Validates a concealed record as what it is: a rule may need a hidden field."""

    def _post_clean(self):
        concealed = getattr(self.instance, "concealed", {})
        shown = {name: getattr(self.instance, name) for name in concealed}
        for name, value in concealed.items():
            setattr(self.instance, name, value)
        super()._post_clean()
        for name, value in shown.items():
            setattr(self.instance, name, value)


class LimitedAdmin:
    """Leaves hidden fields out of every page, and shows read-only ones as text."""

    def field_rights(self, request) -> FieldRights:
        return rights_on(self.model, request.user)

    def _shown(self, request, names, path=lambda name: name) -> list:
        """The entries of an option of the admin that are about no hidden field."""
        rights = self.field_rights(request)
        if not rights.hidden:
            return names
        return [
            name
            for name in names
            if not isinstance(path(name), str) or not rights.hides_path(path(name))
        ]

    def get_fieldsets(self, request, obj=None):
        fieldsets = super().get_fieldsets(request, obj)
        if not self.field_rights(request).hidden:
            return fieldsets
        shown = []
        for title, options in fieldsets:
            lines = [
                tuple(self._shown(request, line if type(line) is tuple else (line,)))
                for line in options["fields"]
            ]
            if lines := [line for line in lines if line]:
                shown.append((title, {**options, "fields": lines}))
        return shown

    def get_readonly_fields(self, request, obj=None):
        fields = super().get_readonly_fields(request, obj)
        read_only = self.field_rights(request).read_only.difference(fields)
        # An entry of the custom fields has a form field that says so itself.
        return (*fields, *sorted(n for n in read_only if not n.startswith(PREFIX)))

    def get_list_display(self, request):
        def ordered_by(name):
            method = getattr(self, name, None) if isinstance(name, str) else name
            return getattr(method, "admin_order_field", None) or name

        return self._shown(request, super().get_list_display(request), ordered_by)

    def get_list_filter(self, request):
        def field(entry):
            return entry[0] if isinstance(entry, tuple | list) else entry

        return self._shown(request, super().get_list_filter(request), field)

    def get_search_fields(self, request):
        return self._shown(request, super().get_search_fields(request))

    def get_ordering(self, request):
        return self._shown(request, super().get_ordering(request))

    def lookup_allowed(self, lookup, value, request):
        if self.field_rights(request).hides_path(lookup):
            return False
        return super().lookup_allowed(lookup, value, request)

    def formfield_for_foreignkey(self, db_field, request, **kwargs):
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if rights_on(db_field.related_model, request.user).hidden:
            field.label_from_instance = lambda record: str(
                conceal(record, request.user)
            )
        return field

    def get_object(self, request, object_id, from_field=None):
        record = super().get_object(request, object_id, from_field)
        return record and conceal(record, request.user)

    def get_changelist_instance(self, request):
        page = super().get_changelist_instance(request)
        if self.field_rights(request).hidden or limited_relations(
            self.model, request.user
        ):
            page.result_list = [conceal(r, request.user) for r in page.result_list]
        return page

    def written(self, request, stored: Record | None, values: dict) -> dict:
        """The values of a form, with the custom fields that it did not show."""
        rights = self.field_rights(request)
        if not (rights.locked_keys and CUSTOM in values):
            return values
        current = stored.custom_fields if stored else {}
        return {**values, CUSTOM: rights.kept(current, values[CUSTOM])}
