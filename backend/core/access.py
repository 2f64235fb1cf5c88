"""Who may do what: verbs, scopes, and the questions that the other blocks ask.

A user answers `scope(record_type, verb)` with a `Scope`, from their role, and
`team_ids` with their own team and those below it, and `field_rights(record_type)` with
the fields that they may not see or not edit. Who came with an API key carries it as
`api_key` (None for others), and `scope` gives nothing that the key does not cover.
`proof` is the core.cache.Proof of all this, None where there is none; `rights_key` is
equal for users who may do the same, but to what is their own.
Everything that depends on rights asks here or through `RecordQuerySet.visible_to`.
"""

from django.contrib.auth import get_user_model
from django.db import models
from rest_framework.exceptions import PermissionDenied

from core.field_rights import NO_LIMITS, FieldRights


class Scope(models.TextChoices):
    """Whose records a right covers, from nobody's to the whole organization's."""

    NONE = "none"
    OWN = "own"
    TEAM = "team"
    ALL = "all"


class Verb(models.TextChoices):
    """What a right allows. `assign` says who may be made the owner of a record."""

    VIEW = "view"
    CREATE = "create"
    EDIT = "edit"
    DELETE = "delete"
    EXPORT = "export"
    IMPORT = "import"
    ASSIGN = "assign"


def scope_of(user, record_type: str, verb: str) -> Scope:
    """The user's scope for a verb; NONE for anonymous and inactive people."""
    if not (user.is_authenticated and user.is_active):
        return Scope.NONE
    return user.scope(record_type, verb)


def field_rights(user, record_type: str) -> FieldRights:
    """Which fields the user may not see or not edit; the system may all.

    Anonymous people see no records, and so no fields.
    """
    if user is None or not user.is_authenticated:
        return NO_LIMITS
    return user.field_rights(record_type)


def hidden_fields(user, record_type: str) -> frozenset[str]:
    """The fields, and entries of custom fields, that are not there for the user."""
    return field_rights(user, record_type).hidden


def owner_filter(user, record_type: str, verb: str, owner: str = "owner") -> models.Q:
    """The condition on rows that the user's scope for the verb puts.

    `owner` is the path to the user that a row belongs to. The organization is not part
    of the condition.
    """
    scope = scope_of(user, record_type, verb)
    if scope == Scope.ALL:
        return models.Q()
    if scope == Scope.TEAM and user.team_id:
        # A join to the team would be planned ten times as long: it is asked of both
        # tables at once, and PostgreSQL weighs it with each index.
        team = models.Q(pk=user.pk) | models.Q(team__in=user.team_ids)
        people = get_user_model()._base_manager.filter(team)
        return models.Q((f"{owner}__in", people.order_by().values("pk")))
    if scope in (Scope.OWN, Scope.TEAM):
        return models.Q((owner, user.pk))
    return models.Q(pk__in=[])


def reaches(user, record, verb: str) -> bool:
    """Whether the user's scope for the verb covers this record."""
    scope = scope_of(user, record.record_type(), verb)
    if scope == Scope.ALL:
        return True
    if scope == Scope.NONE:
        return False
    owner = record.belongs_to()
    if owner is None:
        return False
    if owner.pk == user.pk:
        return True
    return scope == Scope.TEAM and bool(user.team_id) and owner.team_id in user.team_ids


def explain(user, record) -> dict[str, dict]:
    """For each verb whether the user may, and the rule that says so."""
    answer = {}
    for verb in Verb:
        scope = scope_of(user, record.record_type(), verb)
        if is_beyond_key(user, record.record_type(), verb):
            rule = str(RightMissing(user, record.record_type(), verb).detail)
        else:
            rule = (
                f"The role '{user.role.name}' gives '{verb}' on"
                f" '{record.record_type()}' the scope '{scope}'."
            )
        answer[verb.value] = {
            "allowed": reaches(user, record, verb),
            "scope": scope.value,
            "rule": rule,
        }
    return answer


class RightMissing(PermissionDenied):
    """The scope of a verb does not cover a record; tells the verb to whoever counts."""

    def __init__(self, user, record_type: str, verb: str):
        if is_beyond_key(user, record_type, verb):
            detail = (
                f"The scopes of this API key do not cover '{verb}' on '{record_type}'."
            )
        else:
            scope = scope_of(user, record_type, verb)
            detail = (
                f"Your role does not allow this: the right '{verb}' on '{record_type}'"
                f" has the scope '{scope}'."
            )
        super().__init__(detail)
        self.verb = verb


def require(user, record, verb: str) -> None:
    """Raise PermissionDenied, naming the rule, where `reaches` says no."""
    if not reaches(user, record, verb):
        raise RightMissing(user, record.record_type(), verb)


def require_some(user, record_type: str, verb: str) -> None:
    """Raise PermissionDenied where the verb covers nobody's records at all."""
    if scope_of(user, record_type, verb) == Scope.NONE:
        raise RightMissing(user, record_type, verb)


def is_beyond_key(user, record_type: str, verb: str) -> bool:
    """Whether the user came with an API key whose scopes do not cover this."""
    return bool(user.api_key) and not user.api_key.covers(record_type, verb)


def reach_key(user, record_type: str, verb: str) -> str:
    """Users with equal keys have the verb on the same records of a type."""
    scope = scope_of(user, record_type, verb)
    if scope == Scope.ALL:
        return "all"
    if scope == Scope.TEAM and user.team_id:
        return f"team {user.team_id}"
    return f"own {user.pk}" if scope in (Scope.OWN, Scope.TEAM) else "none"


def visibility_key(user, record_type: str) -> str:
    """Users with equal keys see the same of a type: they may share answers."""
    if is_beyond_key(user, record_type, Verb.VIEW):
        return "beyond the API key"
    whose = reach_key(user, record_type, Verb.VIEW)
    hidden = hidden_fields(user, record_type)
    return f"{whose} without {sorted(hidden)}" if hidden else whose
