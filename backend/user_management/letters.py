"""The e-mails that people get about their accounts."""

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings

from core.letters import KEY, LetterKind, letter
from user_management.models import User

FOLDER = "user_management/letters"


class LinkLetter(LetterKind):
    """With a link that does one thing, once."""

    def context(self):
        return {"hours": settings.LINK_HOURS}


@letter("invitation", "You are invited to MyCRM", FOLDER)
class Invitation(LinkLetter):
    """To choose a password."""


@letter("email_change", "Confirm your new e-mail address", FOLDER)
class EmailChange(LinkLetter):
    """To the new address, which confirms that it is the user's."""

    def may_go(self):
        return not User.objects.filter(email=self.letter.email).exists()


@letter("email_changed", "Your e-mail address was changed", FOLDER)
class EmailChanged(LetterKind):
    """To the old address."""


@letter("password_reset", "Your MyCRM password", FOLDER)
class PasswordReset(LetterKind):
    """A link to choose a new password, to an address that anybody may have typed.

    Only the worker looks up whose it is. Nothing goes to people who left, or whose
    administrator gave them no password.
    """

    def may_go(self):
        users = User.objects.select_related("organization", "role", "team")
        user = users.filter(email=self.letter.email, is_active=True).first()
        if user is None or not user.has_usable_password():
            return False
        self.letter.user, self.letter.organization = user, user.organization
        return True

    def context(self):
        user = self.letter.user
        key = f"{user_pk_to_url_str(user)}-{default_token_generator.make_token(user)}"
        return {
            "link": self.letter.link.replace(KEY, key),
            "minutes": settings.PASSWORD_RESET_TIMEOUT // 60,
        }
