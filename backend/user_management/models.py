from zoneinfo import available_timezones

from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.db import models

from core.access import Scope, Verb, reaches, scope_of
from core.models import Journaled, JournaledQuerySet
from core.models.journal import snapshot
from core.registry import record_types
from user_management.roles import ANY_RECORD, SYSTEM_TYPES


class OrganizationQuerySet(JournaledQuerySet):
    """What everybody in an organization sees of it: people, teams and roles."""

    def visible_to(self, user):
        if not user.is_authenticated:
            return self.none()
        return self.filter(organization=user.organization_id)


class Role(Journaled):
    """What its holders may do: for each record type and verb, whose records."""

    name = models.CharField(max_length=100)
    rights = models.JSONField(
        default=dict,
        help_text='{record type, or "*" for any other: {verb: none, own, team, all}}',
    )
    requires_two_factor = models.BooleanField(
        default=False,
        help_text="Until its holders have set up 2FA they can do nothing else.",
    )
    built_in = models.BooleanField(default=False, editable=False)

    objects = OrganizationQuerySet.as_manager()
    summary_fields = ("id", "name")

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
        known = {ANY_RECORD, *SYSTEM_TYPES, *record_types()}
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

    def scope(self, record_type: str, verb: str) -> Scope:
        """Whose records of this type the verb covers."""
        verbs = self.rights.get(record_type)
        if verbs is None and record_type in record_types():
            verbs = self.rights.get(ANY_RECORD)
        return Scope((verbs or {}).get(verb, Scope.NONE))


class Team(Journaled):
    """People who work together; with the scope "team" they see each other's records."""

    name = models.CharField(max_length=100)

    objects = OrganizationQuerySet.as_manager()
    summary_fields = ("id", "name")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"], name="team_name_unique"
            )
        ]

    def __str__(self):
        return self.name


class UserManager(BaseUserManager.from_queryset(OrganizationQuerySet)):
    def get_by_natural_key(self, email):
        return self.get(email=email.lower())


class User(AbstractBaseUser, Journaled):
    """Somebody who signs in. The e-mail address is the login, unique everywhere."""

    email = models.EmailField(
        unique=True, error_messages={"unique": "A user with this e-mail exists."}
    )
    first_name = models.CharField(max_length=100, blank=True)
    last_name = models.CharField(max_length=100, blank=True)
    role = models.ForeignKey(Role, models.PROTECT, related_name="users")
    team = models.ForeignKey(
        Team, models.PROTECT, related_name="users", null=True, blank=True
    )
    timezone = models.CharField(max_length=50, default="UTC")
    language = models.CharField(max_length=10, default="en")
    is_active = models.BooleanField(
        default=True, help_text="People who leave are deactivated, never deleted."
    )
    is_staff = models.BooleanField(default=False, help_text="May use this admin.")

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = ["organization", "role"]
    unjournaled = ("password", "last_login")
    summary_fields = ("id", "email", "first_name", "last_name")
    # Whoever may do everything has a role that says so.
    is_superuser = False

    class Meta:
        ordering = ["email"]

    def __str__(self):
        return self.get_full_name() or self.email

    def save(self, *args, update_fields=None, **kwargs):
        """Let Django save a user whose password alone changed, which it does whole."""
        if update_fields is None and not self._state.adding:
            stored = type(self).objects.get(pk=self.pk)
            if snapshot(stored) == snapshot(self):
                update_fields = self.unjournaled
        super().save(*args, update_fields=update_fields, **kwargs)

    def clean(self):
        self.email = self.email.lower()
        if self.timezone not in available_timezones():
            raise ValidationError(
                {"timezone": ValidationError("Unknown time zone.", code="invalid")}
            )
        for name in ("role", "team"):
            other = getattr(self, name)
            if other and other.organization_id != self.organization_id:
                raise ValidationError(
                    {name: ValidationError("Unknown.", code="does_not_exist")}
                )

    def after_write(self, changed):
        """End the sessions of who leaves: coming back must not bring them back."""
        if "is_active" in changed and not self.is_active:
            for session in UserSession.objects.filter(user=self.pk):
                session.end()

    def belongs_to(self):
        return self

    def get_full_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()

    def get_short_name(self) -> str:
        return self.first_name or self.email

    def scope(self, record_type: str, verb: str) -> Scope:
        return self.role.scope(record_type, verb)

    # The questions of the Django admin, answered from the role.

    def has_perm(self, permission: str, obj=None) -> bool:
        action, _, model = permission.partition(".")[2].partition("_")
        verb = {"add": Verb.CREATE, "change": Verb.EDIT}.get(action, action)
        if verb not in Verb.values:
            return False
        if obj is not None and hasattr(obj, "belongs_to") and obj.pk:
            return reaches(self, obj, verb)
        return scope_of(self, model, verb) != Scope.NONE

    def has_perms(self, permissions, obj=None) -> bool:
        return all(self.has_perm(permission, obj) for permission in permissions)

    def has_module_perms(self, app_label: str) -> bool:
        return any(
            scope_of(self, model._meta.model_name, Verb.VIEW) != Scope.NONE
            for model in apps.get_app_config(app_label).get_models()
        )


class Attempts(models.Model):
    """How often something was tried in a window of time (user_management.limits)."""

    key = models.CharField(max_length=64, primary_key=True)
    count = models.PositiveIntegerField(default=0)
    ends_at = models.DateTimeField(db_index=True)

    def __str__(self):
        return f"{self.count} until {self.ends_at}"
