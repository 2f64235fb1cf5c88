from functools import cached_property

from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.db import models
from rest_framework.exceptions import PermissionDenied

from core.access import Scope, Verb, is_beyond_key, reaches, scope_of
from core.circles import closes_circle
from core.exceptions import Conflict
from core.field_rights import FieldRights
from core.models import Journaled, Letter, SharedQuerySet
from core.models.values import snapshot
from core.phones import e164
from core.timezones import timezones
from user_management import preferences

from .api_key import revoke_keys
from .role import LastAdministrator, Role, administrators
from .team import Team


class UserManager(BaseUserManager.from_queryset(SharedQuerySet)):
    def get_by_natural_key(self, email):
        return self.get(email=email.lower())


class User(AbstractBaseUser, Journaled):
    """Somebody who signs in. The e-mail address is the login, unique everywhere.

    The profile stands here too: a list of people with what it shows of each stays one
    query on one table.
    """

    email = models.EmailField()
    first_name = models.CharField(max_length=100, blank=True)
    last_name = models.CharField(max_length=100, blank=True)
    role = models.ForeignKey(Role, models.PROTECT, related_name="users")
    team = models.ForeignKey(
        Team, models.PROTECT, related_name="users", null=True, blank=True
    )
    manager = models.ForeignKey(
        "self", models.PROTECT, related_name="reports", null=True, blank=True
    )
    phone = models.CharField(max_length=50, blank=True, help_text="As it was given.")
    phone_e164 = models.CharField(
        "phone (E.164)", max_length=20, blank=True, editable=False
    )
    department = models.CharField(max_length=100, blank=True)
    job_title = models.CharField(max_length=200, blank=True)
    bio = models.TextField(max_length=2000, blank=True)
    avatar = models.CharField(
        max_length=64,
        blank=True,
        editable=False,
        help_text="The hash of the picture at `avatar/`; blank if there is none.",
    )
    timezone = models.CharField(max_length=50, default="UTC")
    language = models.CharField(max_length=10, default="en")
    notifications = models.JSONField(
        default=preferences.default_notifications,
        blank=True,
        help_text=preferences.NOTIFICATIONS_HELP,
    )
    dashboard = models.JSONField(
        default=dict, blank=True, help_text="An object that is the frontend's own."
    )
    is_active = models.BooleanField(
        default=True, help_text="People who leave are deactivated, never deleted."
    )
    is_invited = models.BooleanField(
        default=False,
        editable=False,
        help_text="Was asked to join by e-mail and has not accepted yet.",
    )
    is_staff = models.BooleanField(default=False, help_text="May use this admin.")

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = ["organization", "role"]
    unjournaled = ("password", "last_login")
    summary_fields = ("id", "email", "first_name", "last_name")
    key_scopes = ("read",)
    # Whoever may do everything has a role that says so.
    is_superuser = False

    # The key that a request or a job came with in this user's name, if it did.
    api_key = None
    # That the user's credentials and rights are what they are here, where it is known.
    proof = None

    # What nobody changes of themselves: it decides who they are and what they may do.
    granted_fields = frozenset(
        ("email", "role", "team", "manager", "is_active", "is_invited", "is_staff")
    )

    class Meta:
        ordering = ["email"]
        constraints = [
            models.UniqueConstraint(
                fields=["email"],
                name="user_email_unique",
                violation_error_code="unique",
                violation_error_message="A user with this e-mail exists.",
            )
        ]

    def __str__(self):
        return self.get_full_name() or self.email

    def save(self, *args, update_fields=None, **kwargs):
        """Let Django save a user whose password alone changed, which it does whole."""
        if update_fields is None and not self._state.adding:
            stored = type(self).objects.get(pk=self.pk)
            if snapshot(stored) == snapshot(self):
                update_fields = self.unjournaled
        # Django keeps the new password here until it is saved.
        password_changed = self._password and "password" in (update_fields or ())
        super().save(*args, update_fields=update_fields, **kwargs)
        from user_management import remembered, security

        remembered.doubt(self)
        if password_changed:
            security.note_password(self)
            security.end_keys(self)

    def clean(self):
        self.email = self.email.lower()
        self.phone_e164 = e164(self.phone, self.organization.country)
        errors = {}
        if self.timezone not in timezones():
            errors["timezone"] = ValidationError("Unknown time zone.", "invalid")
        if self.language not in dict(settings.LANGUAGES):
            errors["language"] = ValidationError("Unknown language.", "invalid")
        for name in ("role", "team", "manager"):
            other = getattr(self, name)
            if other and other.organization_id != self.organization_id:
                errors[name] = ValidationError("Unknown.", "does_not_exist")
        if "manager" not in errors and self._is_above_itself():
            errors["manager"] = ValidationError(
                "Nobody reports to themselves, not over others either.", "circular"
            )
        for name, complete in (
            ("notifications", preferences.complete_notifications),
            ("dashboard", preferences.check_dashboard),
        ):
            try:
                setattr(self, name, complete(getattr(self, name)))
            except ValidationError as error:
                errors[name] = error
        if errors:
            raise ValidationError(errors)

    def _is_above_itself(self) -> bool:
        """Whether a new manager stands below this user; nobody is below a new one."""
        if not self.manager_id or self._state.adding:
            return False
        same = User.objects.filter(pk=self.pk, manager=self.manager_id)
        return not same.exists() and closes_circle(self, "manager")

    def uncreated(self):
        """People are never deleted: an invitation is withdrawn, an account closed."""
        return {"is_active": False, "is_invited": False}

    def after_write(self, changed, changes):
        """What somebody could do as who they were before ends with it.

        The sessions of who leaves, or has another address; the keys of who leaves; the
        links sent to an old address; what sign-in knows of it. Coming back brings none
        of them back.
        """
        left = "is_active" in changed and not self.is_active
        if left or "email" in changed:
            for session in UserSession.objects.filter(user=self.pk):
                session.end()
        if left:
            revoke_keys(self, changes)
        if "email" in changed:
            EmailAddress.objects.filter(user=self.pk).delete()
        if left or {"email", "is_invited"}.intersection(changed):
            Letter.objects.filter(user=self.pk).end()

    def belongs_to(self):
        return self

    def guard(self, actor, changed):
        """Nobody raises rights, their own or others', beyond what they have.

        And the last administrator of an organization stays one.
        """
        if not changed & self.granted_fields:
            return
        verb = Verb.CREATE if self._state.adding else Verb.EDIT
        if actor.scope("user", verb) != Scope.ALL:
            raise PermissionDenied("Only an administrator may change this.")
        # Whoever has somebody's e-mail can become them.
        if changed & {"role", "email"} and not self.role.is_within(actor.role):
            raise PermissionDenied("This role may do more than your own.")
        if self.is_active and self.is_invited:
            raise Conflict("The invitation was not accepted yet.", "invited")
        if not self._leaves_an_administrator():
            raise LastAdministrator()

    def _leaves_an_administrator(self) -> bool:
        """Whether somebody may manage people once this user is as they are here."""
        manages = self.is_active and self.role.scope("user", Verb.EDIT) == Scope.ALL
        ids = list(administrators(self.organization_id).values_list("pk", flat=True))
        return manages or any(pk != self.pk for pk in ids)

    @cached_property
    def team_ids(self) -> set:
        """The ids of one's own team and of those below it."""
        return self.team.ids_below() if self.team_id else set()

    @property
    def rights_key(self) -> str:
        """Users with equal keys may do the same, but to what is their own."""
        key = self.api_key and self.api_key.pk
        return f"role {self.role_id}, team {self.team_id}, API key {key}"

    def get_full_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()

    def get_short_name(self) -> str:
        return self.first_name or self.email

    def scope(self, record_type: str, verb: str) -> Scope:
        """What the role gives; with an API key, only as far as its scopes go."""
        if is_beyond_key(self, record_type, verb):
            return Scope.NONE
        return self.role.scope(record_type, verb)

    def wants(self, event: str, channel: str) -> bool:
        """Whether they chose to be told of such events in this way."""
        default = (event, channel) not in preferences.NOT_BY_DEFAULT
        return self.notifications.get(event, {}).get(channel, default)

    def field_rights(self, record_type: str) -> FieldRights:
        return self.role.fields(record_type)

    def signed_in_at(self, request) -> float:
        """When the person of the request's session last proved who they are.

        Returns:
            Seconds since the epoch; 0 where there is no session that knows.
        """
        from user_management.auth import signed_in_at

        return signed_in_at(self, request)

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
