from collections import defaultdict
from datetime import timedelta
from functools import cached_property
from zoneinfo import available_timezones

from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone
from knox.settings import CONSTANTS
from rest_framework.exceptions import PermissionDenied

from core.access import Scope, Verb, is_beyond_key, reaches, scope_of
from core.exceptions import Conflict
from core.field_rights import NO_LIMITS, FieldRights, field_rights, is_limitable
from core.ids import new_id
from core.models import Journaled, JournaledQuerySet
from core.models.journal import snapshot
from core.phones import e164
from core.registry import record_types
from user_management import preferences, scopes
from user_management.roles import ANY_RECORD, SYSTEM_TYPES

MAX_FIELDS = 200
API_KEY_DAYS = 90
MAX_API_KEY_DAYS = 365
# How often it is written down that a key is used.
USE_NOTED_EVERY = timedelta(minutes=1)


class LastAdministrator(Conflict):
    default_detail = "The organization needs an active administrator."
    default_code = "last_administrator"


class OrganizationQuerySet(JournaledQuerySet):
    """What everybody in an organization sees of it: people, teams and roles.

    A program sees them if a scope of its API key says so.
    """

    def visible_to(self, user):
        if not user.is_authenticated:
            return self.none()
        if is_beyond_key(user, self.model.record_type(), Verb.VIEW):
            return self.none()
        return self.filter(organization=user.organization_id)


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
            for name in (*SYSTEM_TYPES, *record_types())
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
        verbs = self.rights.get(record_type)
        if verbs is None and record_type in record_types():
            verbs = self.rights.get(ANY_RECORD)
        return Scope((verbs or {}).get(verb, Scope.NONE))


class Team(Journaled):
    """People who work together; with the scope "team" they see each other's records."""

    name = models.CharField(max_length=100)
    parent = models.ForeignKey(
        "self",
        models.PROTECT,
        related_name="children",
        null=True,
        blank=True,
        help_text="The team above. The scope 'team' covers the teams below one's own.",
    )

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

    def clean(self):
        super().clean()
        if self.parent_id in self.ids_below():
            raise ValidationError(
                {
                    "parent": ValidationError(
                        "A team cannot be below itself.", "circular"
                    )
                }
            )

    def ids_below(self) -> set:
        """The ids of this team and of all teams below it."""
        children = defaultdict(list)
        teams = Team.objects.filter(organization=self.organization_id)
        for pk, parent in teams.values_list("pk", "parent"):
            children[parent].append(pk)
        found = set()
        waiting = [self.pk]
        while waiting:
            pk = waiting.pop()
            if pk not in found:
                found.add(pk)
                waiting += children[pk]
        return found


class UserManager(BaseUserManager.from_queryset(OrganizationQuerySet)):
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
    # Whoever may do everything has a role that says so.
    is_superuser = False

    # The key that a request or a job came with in this user's name, if it did.
    api_key = None

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
        if password_changed:
            from user_management import security

            security.note_password(self)
            security.end_keys(self)

    def clean(self):
        self.email = self.email.lower()
        self.phone_e164 = e164(self.phone, self.organization.country)
        errors = {}
        if self.timezone not in available_timezones():
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
        """Whether the managers above lead back to this user, or in a circle."""
        seen = {self.pk}
        above = self.manager
        while above:
            if above.pk in seen:
                return True
            seen.add(above.pk)
            above = above.manager
        return False

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

    def get_full_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()

    def get_short_name(self) -> str:
        return self.first_name or self.email

    def scope(self, record_type: str, verb: str) -> Scope:
        """What the role gives; with an API key, only as far as its scopes go."""
        if is_beyond_key(self, record_type, verb):
            return Scope.NONE
        return self.role.scope(record_type, verb)

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


def administrators(organization) -> models.QuerySet:
    """The active people who may manage people, locked in one order for all.

    So that two cannot take the right from each other.
    """
    people = User.objects.select_for_update(of=("self",)).order_by("pk")
    return people.filter(
        organization=organization,
        is_active=True,
        role__rights__user__edit=Scope.ALL,
    )


class ApiKeyQuerySet(JournaledQuerySet):
    def live(self) -> "ApiKeyQuerySet":
        """Keys that were not revoked and have not expired."""
        return self.filter(revoked_at=None, expiry__gt=timezone.now())


def in_90_days():
    return timezone.now() + timedelta(days=API_KEY_DAYS)


class ApiKey(Journaled):
    """What a program signs in with, in its owner's name and within its scopes.

    The key itself is told once, when it is made; kept is what it begins with, to
    recognise it, and a digest, to check it. A key that ended stays: the journal points
    at it.
    """

    owner = models.ForeignKey(
        "user_management.User",
        models.PROTECT,
        related_name="api_keys",
        editable=False,
    )
    name = models.CharField(max_length=100, help_text="What it is for.")
    scopes = models.JSONField(help_text="What it may do, such as `contacts:read`.")
    expiry = models.DateTimeField(
        default=in_90_days,
        help_text="When it ends: in 90 days if not given, in a year at most.",
    )
    prefix = models.CharField(
        max_length=CONSTANTS.TOKEN_KEY_LENGTH,
        editable=False,
        db_index=True,
        help_text="How the key begins, to recognise it.",
    )
    digest = models.CharField(max_length=CONSTANTS.DIGEST_LENGTH, editable=False)
    last_used_at = models.DateTimeField(
        null=True, editable=False, help_text="To the minute."
    )
    # Not editable: undo brings no key back.
    revoked_at = models.DateTimeField(null=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()
    unjournaled = ("digest", "last_used_at")
    summary_fields = ("id", "name", "prefix")

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "API key"
        verbose_name_plural = "API keys"

    def __str__(self):
        return f"{self.name} ({self.prefix}...)"

    def clean(self):
        super().clean()
        if self._state.adding:
            self._check_scopes()
            self._check_expiry()

    def _check_scopes(self):
        known = scopes.scopes()
        given = self.scopes if isinstance(self.scopes, list) else []
        if not given:
            error = ValidationError("Give a list of scopes.", "required")
        elif unknown := [name for name in given if name not in known]:
            error = ValidationError(f"There is no scope '{unknown[0]}'.", "invalid")
        else:
            self.scopes = sorted(set(given))
            return
        raise ValidationError({"scopes": error})

    def _check_expiry(self):
        latest = timezone.now() + timedelta(days=MAX_API_KEY_DAYS)
        if not timezone.now() < self.expiry <= latest:
            raise ValidationError(
                {
                    "expiry": ValidationError(
                        f"Within the next {MAX_API_KEY_DAYS} days.", "invalid"
                    )
                }
            )

    def belongs_to(self):
        return self.owner

    @property
    def is_live(self) -> bool:
        """Whether it can be used; one without scopes is no key at all."""
        return (
            self.revoked_at is None
            and self.expiry > timezone.now()
            and isinstance(self.scopes, list)
            and bool(self.scopes)
        )

    def note_use(self) -> None:
        """Write down that it is used now; at most once a minute, and no journal."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at > USE_NOTED_EVERY:
            self.last_used_at = now
            self.save(update_fields=["last_used_at"])

    def covers(self, record_type: str, verb: str) -> bool:
        """Whether the key goes so far; the role of its owner has its say besides."""
        return self.is_live and scopes.covers(self.scopes, record_type, verb)


def revoke_keys(owner: User, changes) -> None:
    """End all keys of somebody, whatever the actor may do with keys."""
    updates = []
    for key in owner.api_keys.live().select_for_update(of=("self",)):
        before = snapshot(key)
        key.revoked_at = timezone.now()
        updates.append((key, before))
    changes.bulk_update(ApiKey, updates)


class LetterQuerySet(models.QuerySet):
    def end(self) -> int:
        """Make links of no use, once: of several who try, one gets a 1."""
        open_ones = self.filter(ended_at=None).exclude(kind=Letter.Kind.EMAIL_CHANGED)
        return open_ones.update(ended_at=timezone.now())

    def due(self):
        now = timezone.now()
        return self.filter(
            sent_at=None, ended_at=None, due_at__lte=now, expires_at__gt=now
        )


class Letter(models.Model):
    """An e-mail that a worker sends, and the link in it (user_management.letters).

    The row is the truth: it waits here until the mail server has taken it.
    """

    class Kind(models.TextChoices):
        INVITATION = "invitation"
        EMAIL_CHANGE = "email_change"
        EMAIL_CHANGED = "email_changed"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(User, models.PROTECT, related_name="letters")
    kind = models.CharField(max_length=20, choices=Kind)
    email = models.EmailField(help_text="Where it goes.")
    link = models.CharField(
        max_length=500, blank=True, help_text="With a place for the key."
    )
    created_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(
        default=timezone.now, help_text="When a worker may try, or try again."
    )
    sent_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(
        null=True, help_text="When the link was used, replaced or withdrawn."
    )

    objects = LetterQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                fields=["due_at"],
                name="letter_due",
                condition=Q(sent_at=None, ended_at=None),
            )
        ]

    def __str__(self):
        return f"{self.kind} to {self.email}"


class Attempts(models.Model):
    """How often something was tried in a window of time (user_management.limits)."""

    key = models.CharField(max_length=64, primary_key=True)
    count = models.PositiveIntegerField(default=0)
    ends_at = models.DateTimeField(db_index=True)

    def __str__(self):
        return f"{self.count} until {self.ends_at}"
