"""The forms of allauth in which MyCRM has rules of its own: for the API and pages."""

import time

from allauth.account.adapter import get_adapter
from allauth.account.forms import ChangePasswordForm, ResetPasswordForm
from allauth.core import context
from allauth.core.internal.httpkit import get_frontend_url
from allauth.headless.account.inputs import ChangePasswordInput
from allauth.headless.internal.restkit.inputs import Input
from allauth.headless.mfa import inputs as mfa_inputs
from allauth.mfa import app_settings as mfa_settings
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from django import forms
from django.conf import settings
from django.contrib.auth.forms import SetPasswordMixin
from django.db import transaction

from core import letters
from user_management import services
from user_management.letters import EmailChange, PasswordReset
from user_management.limits import Try


class PasswordResetForm(ResetPasswordForm):
    """Writes a letter, the same for whatever address was typed.

    Who has an account is looked up by the worker alone, so neither the answer nor the
    time that it takes can tell.
    """

    def clean_email(self):
        return self.cleaned_data["email"].lower()

    def save(self, request, **kwargs):
        email = self.cleaned_data["email"]
        Try(request, "reset", email)
        link = get_frontend_url(
            request, "account_reset_password_from_key", key=letters.KEY
        )
        hours = settings.PASSWORD_RESET_TIMEOUT / 3600
        letters.post(None, PasswordReset, email=email, link=link, hours=hours)
        return email


class PasswordResetInput(PasswordResetForm, Input):
    pass


def check(user, password: str) -> str:
    """The password, if it is the user's, counted as for a sign-in."""
    if not get_adapter().reauthenticate(user, password):
        raise get_adapter().validation_error("enter_current_password")
    return password


class PasswordChangeForm(ChangePasswordForm):
    def clean_oldpassword(self):
        return check(self.user, self.cleaned_data["oldpassword"])


class PasswordChangeInput(ChangePasswordInput):
    def clean_current_password(self):
        password = self.cleaned_data["current_password"]
        return password and check(self.user, password)


def ask_for_email(request, email: str) -> None:
    """Send a link to a new address of whoever is signed in; they may not ask often.

    So that nobody has this server write to one stranger after the other.
    """
    Try(request, "email", str(request.user.pk))
    link = get_frontend_url(request, "email_change", key=letters.KEY)
    services.ask_for_email(request.user, email, link)


class EmailChangeInput(Input):
    email = forms.EmailField(max_length=254)


class EmailConfirmInput(Input):
    """The key of a link that was sent to a new address."""

    key = forms.CharField()

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.letter = None

    def clean_key(self):
        key = self.cleaned_data["key"]
        self.letter = letters.find(key, EmailChange)
        if self.letter is None:
            raise get_adapter().validation_error("invalid_or_expired_key")
        return key


class EmailChangeForm(forms.Form):
    """Asks for the password where the API wants another sign-in before."""

    email = forms.EmailField(max_length=254, label="New e-mail address")
    password = forms.CharField(
        label="Your password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, *args, user, **kwargs):
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_password(self):
        return check(self.user, self.cleaned_data["password"])


class InvitationForm(SetPasswordMixin, forms.Form):
    """A password, typed twice."""

    password1, password2 = SetPasswordMixin.create_password_fields()

    def __init__(self, *args, user, **kwargs):
        super().__init__(*args, **kwargs)
        self.user = user

    def clean(self):
        self.validate_passwords()
        self.validate_password_for_user(self.user)
        return super().clean()


class CodeOnce:
    """Counts a code like a password, and takes each one once however often it comes."""

    def clean_code(self):
        tried = Try(context.request, "code", str(self.user.pk))
        with transaction.atomic():
            # Whoever sends a code of the same person waits here for the other.
            mine = Authenticator.objects.select_for_update().filter(user=self.user)
            list(mine.order_by("pk"))
            code = super().clean_code()
            if self.authenticator.type == Authenticator.Type.TOTP:
                self._use_up(mine.get(pk=self.authenticator.pk))
        tried.give_back()
        return code

    def _use_up(self, totp) -> None:
        step = int(time.time()) // mfa_settings.TOTP_PERIOD
        if totp.data.get("used_step", 0) >= step:
            raise get_adapter().validation_error("incorrect_code")
        totp.data["used_step"] = step
        totp.save(update_fields=["data"])


class CodeForm(CodeOnce, AuthenticateForm):
    pass


class CodeAgainForm(CodeOnce, ReauthenticateForm):
    pass


class CodeInput(CodeOnce, mfa_inputs.AuthenticateInput):
    pass


class CodeAgainInput(CodeOnce, mfa_inputs.ReauthenticateInput):
    pass


class Passkey:
    """Refuses a malformed passkey, over which its library raises this or that."""

    def full_clean(self):
        try:
            super().full_clean()
        except (AttributeError, LookupError, TypeError, ValueError):
            error = get_adapter().validation_error("incorrect_code")
            self.add_error("credential", error)


class AddPasskeyInput(Passkey, mfa_inputs.AddWebAuthnInput):
    pass


class PasskeyInput(Passkey, mfa_inputs.AuthenticateWebAuthnInput):
    pass


class PasskeyAgainInput(Passkey, mfa_inputs.ReauthenticateWebAuthnInput):
    pass


class PasskeyLoginInput(Passkey, mfa_inputs.LoginWebAuthnInput):
    pass
