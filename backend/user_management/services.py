"""What is done with people and spans several records."""

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.template.loader import render_to_string

from core.models import ChangeSet, Organization
from user_management.models import Role, User
from user_management.roles import BUILT_IN

KEY = "__key__"


def create_organization(name: str, email: str, password: str, **attributes) -> User:
    """Make an organization with the built-in roles and its first administrator.

    Args:
        attributes: further fields of the organization, such as its `country`.

    Raises:
        ValidationError: the password is too weak, or the e-mail not one or taken.
    """
    validate_password(password)
    organization = Organization(name=name, **attributes)
    organization.full_clean()
    organization.save(force_insert=True)
    with ChangeSet.open(
        organization=organization, source=ChangeSet.Source.COMMAND
    ) as changes:
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


def send_password_reset(email: str, link: str) -> None:
    """Send a link to choose a new password, if somebody may use one.

    Nothing goes to people who left, or whose administrator gave them no password.

    Args:
        link: where it leads, with KEY in the place of the key.
    """
    user = User.objects.filter(email=email.lower(), is_active=True).first()
    if user is None or not user.has_usable_password():
        return
    key = f"{user_pk_to_url_str(user)}-{default_token_generator.make_token(user)}"
    context = {
        "user": user,
        "link": link.replace(KEY, key),
        "minutes": settings.PASSWORD_RESET_TIMEOUT // 60,
    }
    text = render_to_string("user_management/password_reset.txt", context)
    send_mail("Your MyCRM password", text, None, [user.email])
