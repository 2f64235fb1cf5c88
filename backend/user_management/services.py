"""What is done with people and spans several records."""

from copy import copy

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from knox.models import get_digest_token
from knox.settings import CONSTANTS
from rest_framework.exceptions import APIException

from core import access, letters
from core.exceptions import Conflict
from core.founding import found_organization
from core.jobs import JobFailed, JobHandler, handles, submit
from core.models import Changes, ChangeSet, Job, Letter, Organization
from core.models.values import snapshot
from core.origin import kept_origin
from core.registry import inherited_types
from user_management.letters import EmailChange, EmailChanged, Invitation
from user_management.models import ApiKey, Role, User
from user_management.roles import BUILT_IN


def create_organization(name: str, email: str, password: str, **attributes) -> User:
    """Make an organization with the built-in roles and its first administrator.

    Args:
        attributes: further fields of the organization, such as its `country`.

    Raises:
        ValidationError: the password is too weak, or the e-mail not one or taken.
    """
    validate_password(password)
    organization = Organization()
    with ChangeSet.open(
        organization=organization, source=ChangeSet.Source.COMMAND
    ) as changes:
        found_organization(changes, organization, name=name, **attributes)
        for role_name, rights in BUILT_IN.items():
            changes.save(Role(built_in=True), name=role_name, rights=rights)
    administrator = Role.objects.get(organization=organization, name="administrator")
    return create_user(organization, email, password, role=administrator, is_staff=True)


def create_user(organization, email: str, password: str, actor=None, **fields) -> User:
    """Make somebody who can sign in with this password.

    Args:
        actor: who makes them; None for the system.

    Raises:
        ValidationError: with the fields that are wrong.
    """
    if User.objects.filter(email=email.lower()).exists():
        raise ValidationError(
            {"email": ValidationError("A user with this e-mail exists.", "unique")}
        )
    user = User()
    user.set_password(password)
    with ChangeSet.open(
        organization=organization, actor=actor, source=ChangeSet.Source.COMMAND
    ) as changes:
        changes.save(user, email=email, **fields)
    return user


# Invitations


def invite(changes: Changes, user: User, link: str, **fields) -> None:
    """Make somebody who is sent a link to choose a password.

    They are there at once, so that records can be theirs, and cannot sign in before.

    Args:
        user: a new one.
        link: where it leads, with KEY in the place of the key.
    """
    user.set_unusable_password()
    changes.save(user, **{**fields, "is_active": False, "is_invited": True})
    letters.post(user, Invitation, link=link, hours=settings.LINK_HOURS)


def invite_again(changes: Changes, user: User, link: str) -> None:
    """Send another link to somebody, locked, who never had a password.

    Raises:
        Conflict: they have accepted, or were given a password.
    """
    if user.is_active or user.has_usable_password():
        raise Conflict("This person needs no invitation any more.", "accepted")
    changes.save(user, is_invited=True)
    letters.post(user, Invitation, link=link, hours=settings.LINK_HOURS)


def accept_invitation(letter: Letter, password: str, **attributes) -> User | None:
    """Give an invited person this password, and let them sign in.

    Args:
        letter: as `letters.find` gave it.
        password: that `validate_password` accepted.
        attributes: the origin of the request.

    Returns:
        None where somebody else was quicker.
    """
    with ChangeSet.open(
        organization=letter.user.organization,
        source=ChangeSet.Source.API,
        reason=f"{letter.email} accepted the invitation",
        **attributes,
    ) as changes:
        if not letters.use(letter):
            return None
        user = User.objects.select_for_update(of=("self",)).get(pk=letter.user_id)
        user.set_password(password)
        user.save(update_fields=["password"])
        changes.save(user, is_active=True, is_invited=False)
        _verify_email(user)
    return user


# A change of the e-mail address


def ask_for_email(user: User, email: str, link: str) -> None:
    """Send a link to a new address, which confirms that it is the user's.

    Whether it is somebody else's is not looked up here, so nobody is told.
    """
    letters.post(
        user, EmailChange, email=email.lower(), link=link, hours=settings.LINK_HOURS
    )


def confirm_email(letter: Letter, **attributes) -> User | None:
    """Make the address that a letter went to that of its user, and end their sessions.

    Args:
        letter: as `letters.find` gave it.
        attributes: the origin of the request.

    Returns:
        None where somebody else was quicker.

    Raises:
        IntegrityError: the address became another account's in the meantime.
    """
    with ChangeSet.open(
        organization=letter.user.organization,
        source=ChangeSet.Source.API,
        reason=f"{letter.email} was confirmed",
        **attributes,
    ) as changes:
        if not letters.use(letter):
            return None
        user = User.objects.select_for_update(of=("self",)).get(pk=letter.user_id)
        old = user.email
        if changes.save(user, email=letter.email):
            letters.post(user, EmailChanged, email=old)
        _verify_email(user)
    return user


def _verify_email(user: User) -> None:
    """Let allauth know that the address is the user's, and no other is."""
    EmailAddress.objects.filter(user=user).delete()
    EmailAddress.objects.create(
        user=user, email=user.email, primary=True, verified=True
    )


# Leaving

HAND_OVER = "hand_over"
CHUNK_RECORDS = 1000


def hand_over(actor, user: User, heir: User, *, deactivate: bool, **params) -> Job:
    """Submit a job that gives all that a user owns to another, as one change set.

    Args:
        deactivate: the user leaves, and may not sign in any more.
        params: `reason` and the origin of the request.

    Raises:
        PermissionDenied: the actor may not edit and assign everybody's records.
        Conflict: nobody would be left who may manage people.
    """
    require_hand_over(actor, user, deactivate)
    return submit(
        Job(
            organization=actor.organization,
            owner=actor,
            kind=HAND_OVER,
            params={
                "user": str(user.pk),
                "heir": str(heir.pk),
                "deactivate": deactivate,
                **params,
            },
            counts=dict.fromkeys(inherited_types(), 0),
        )
    )


def require_hand_over(actor, user: User, deactivate: bool) -> None:
    needed = [
        (name, verb)
        for name in inherited_types()
        for verb in (access.Verb.EDIT, access.Verb.ASSIGN)
    ]
    if deactivate:
        needed.append(("user", access.Verb.EDIT))
    for record_type, verb in needed:
        if access.scope_of(actor, record_type, verb) != access.Scope.ALL:
            raise access.RightMissing(actor, record_type, verb)
    for name in inherited_types():
        rights = access.field_rights(actor, name)
        rights.require({"owner": user.pk}, {"owner": None})
    if deactivate:
        leaving = copy(user)
        leaving.is_active = False
        leaving.guard(actor, {"is_active"})


@handles(HAND_OVER)
class HandOverHandler(JobHandler):
    """One record type after the other, deleted records too.

    Nothing stays behind but what is about the person, such as their absences. Who is to
    leave does so at the end: it may be who asked for it, whose rights count until then.
    """

    def step(self, job):
        user, heir = (
            User.objects.select_related("role").get(pk=job.params[name])
            for name in ("user", "heir")
        )
        try:
            require_hand_over(job.owner, user, job.params["deactivate"])
        except APIException as refusal:
            raise JobFailed(refusal.detail.code, str(refusal.detail)) from refusal
        if not heir.is_active:
            raise JobFailed("inactive", "Who should get the records has left.")
        if job.total is None:
            job.total = sum(
                model.objects.filter(owner=user).count()
                for model in inherited_types().values()
            )
        change_set = job.change_set or ChangeSet(
            organization=job.organization,
            actor=job.owner,
            source=ChangeSet.Source.API,
            reason=job.params.get("reason") or f"{user} hands over to {heir}",
            **kept_origin(job.params),
        )
        with change_set.writing() as changes:
            moved = self._move(job, changes, user, heir)
            if not moved and job.params["deactivate"]:
                changes.save(user, is_active=False)
        if changes.touched:
            job.change_set = change_set
        job.done += moved
        return moved == 0

    @staticmethod
    def _move(job: Job, changes, user: User, heir: User) -> int:
        """Give the next records away; 0 where there are none left."""
        for name, model in inherited_types().items():
            owned = model.objects.filter(owner=user).select_for_update(of=("self",))
            updates = []
            for record in owned.order_by("pk")[:CHUNK_RECORDS]:
                before = snapshot(record)
                record.owner = heir
                updates.append((record, before))
            if updates:
                changes.bulk_update(model, updates)
                job.counts[name] += len(updates)
                return len(updates)
        return 0


def make_api_key(changes, key: ApiKey, **values) -> str:
    """Save a new API key under a change set.

    Args:
        key: not saved yet, with its owner.
        values: `name`, `scopes` and, if not the default, `expiry`.

    Returns:
        The key itself, which nobody can tell again.

    Raises:
        ValidationError: with the fields that are wrong.
    """
    key.digest, text = get_digest_token()
    key.prefix = text[: CONSTANTS.TOKEN_KEY_LENGTH]
    changes.save(key, **values)
    return text
