from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import models
from rest_framework.exceptions import PermissionDenied

from core.access import Scope, Verb
from core.exceptions import Conflict
from core.field_rights import NO_LIMITS, FieldRights, field_rights, is_limitable
from core.locks import one_at_a_time
from core.models import Journaled, SharedQuerySet
from core.registry import record_types, settings_types, system_types
from user_management.roles import ANY_RECORD, LOGS

MAX_FIELDS = 200


class LastAdministrator(Conflict):
    default_detail = "The organization needs an active administrator."
    default_code = "last_administrator"


class Role(Journaled):
    """What its holders may do: for each record type and verb, whose records."""

    name = models.CharField(max_length=100)
    rights = models.JSONField(
        default=dict,
        blank=True,
        help_text='{record type, or "*" for any other: {verb: none, own, team, all}}',
    )
    field_rights = models.JSONField(
        default=dict,
        blank=True,
        help_text='{record type: {"hidden": [fields], "read_only": [fields]}}; a field'
        " may be an entry of the custom fields: custom_fields.<key>.",
    )
    requires_two_factor = models.BooleanField(
        default=False,
        help_text="Until its holders have set up 2FA they can do nothing else.",
    )
    built_in = models.BooleanField(default=False, editable=False)

    objects = SharedQuerySet.as_manager()
    summary_fields = ("id", "name")
    key_scopes = ("read",)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"], name="role_name_unique"
            )
        ]

    def __str__(self):
        return self.name

    def clean(self):
        super().clean()
        if not isinstance(self.rights, dict):
            raise ValidationError({"rights": "Give an object."})
        known = {ANY_RECORD, *LOGS, *system_types(), *record_types()}
        for record_type, verbs in self.rights.items():
            if record_type not in known:
                raise ValidationError({"rights": f"There is no '{record_type}'."})
            if not isinstance(verbs, dict):
                raise ValidationError(
                    {"rights": f"Give an object for '{record_type}'."}
                )
            for verb, scope in verbs.items():
                if verb not in Verb.values or scope not in Scope.values:
                    raise ValidationError(
                        {"rights": f"'{record_type}': no such right: {verb}, {scope}."}
                    )

        self._clean_field_rights()

    def _clean_field_rights(self):
        def refuse(detail):
            raise ValidationError({"field_rights": detail})

        if not isinstance(self.field_rights, dict):
            refuse("Give an object.")
        for record_type, lists in self.field_rights.items():
            model = record_types().get(record_type)
            if model is None:
                refuse(f"There is no '{record_type}'.")
            if not isinstance(lists, dict):
                refuse(f"Give an object for '{record_type}'.")
            for kind, names in lists.items():
                if kind not in ("hidden", "read_only"):
                    refuse(f"'{record_type}': give hidden and read_only.")
                if not isinstance(names, list) or len(names) > MAX_FIELDS:
                    refuse(f"'{record_type}': give a list of at most {MAX_FIELDS}.")
                for name in names:
                    if not is_limitable(model, name):
                        refuse(f"'{record_type}' has no field '{name}' to limit.")

    def guard(self, actor, changed):
        """Nobody gives more rights than they have; built-in roles stay as they are."""
        if self.built_in:
            raise Conflict("Built-in roles cannot be changed: copy it.", "built_in")
        if not changed & {"rights", "field_rights"}:
            return
        if not self.is_within(actor.role):
            raise PermissionDenied("These rights are more than your own.")
        if self.scope("user", Verb.EDIT) != Scope.ALL:
            roles = administrators(self.organization_id).values_list("role", flat=True)
            if set(roles) == {self.pk}:
                raise LastAdministrator()

    def is_within(self, other: "Role") -> bool:
        """Whether this role allows nothing that the other does not."""
        reach = list(Scope)
        return all(
            reach.index(self.scope(name, verb)) <= reach.index(other.scope(name, verb))
            for name in (*LOGS, *system_types(), *record_types())
            for verb in Verb
        ) and all(
            self.fields(name).within(other.fields(name))
            for name in other.field_rights
            if any(self.scope(name, verb) != Scope.NONE for verb in Verb)
        )

    def fields(self, record_type: str) -> FieldRights:
        """Which fields of this type its holders do not see, or do not edit."""
        lists = self.field_rights and self.field_rights.get(record_type)
        if not lists:
            return NO_LIMITS
        return field_rights(
            record_types()[record_type],
            tuple(lists.get("hidden", ())),
            tuple(lists.get("read_only", ())),
        )

    def scope(self, record_type: str, verb: str) -> Scope:
        """Whose records of this type the verb covers."""
        if record_type in settings_types():
            record_type = "organization"
        verbs = self.rights.get(record_type)
        if verbs is None and record_type in record_types():
            verbs = self.rights.get(ANY_RECORD)
        return Scope((verbs or {}).get(verb, Scope.NONE))


def administrators(organization) -> models.QuerySet:
    """The active people who may manage people, which nobody else asks until the commit.

    So that two cannot take the right from each other, be it as that of a person or of a
    role: which row of which table would say so, nobody could lock beforehand.
    """
    one_at_a_time(f"administrators: {organization}")
    return get_user_model().objects.filter(
        organization=organization,
        is_active=True,
        role__rights__user__edit=Scope.ALL,
    )
