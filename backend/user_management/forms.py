"""The forms of allauth in which MyCRM has rules of its own: for the API and pages."""

import logging

from allauth.account.adapter import get_adapter
from allauth.account.forms import ResetPasswordForm
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal.httpkit import get_frontend_url
from allauth.headless.account.inputs import ChangePasswordInput
from allauth.headless.internal.restkit.inputs import Input

from core.exceptions import RETRY_SECONDS
from core.problems import problem_response
from user_management import services, tasks
from user_management.limits import Try

logger = logging.getLogger(__name__)


class PasswordResetForm(ResetPasswordForm):
    """Asks a worker for the e-mail, the same for whatever address was typed.

    Who has an account is looked up by the worker alone, so neither the answer nor the
    time that it takes can tell.
    """

    def clean_email(self):
        return self.cleaned_data["email"].lower()

    def save(self, request, **kwargs):
        email = self.cleaned_data["email"]
        Try(request, "reset", email)
        link = get_frontend_url(
            request, "account_reset_password_from_key", key=services.KEY
        )
        try:
            tasks.send_password_reset.apply_async((email, link), retry=False)
        except Exception as error:
            logger.warning("No worker could be told of an e-mail", exc_info=True)
            response = problem_response(
                503, "unavailable", "E-mail does not work just now."
            )
            response["Retry-After"] = str(RETRY_SECONDS)
            raise ImmediateHttpResponse(response) from error
        return email


class PasswordResetInput(PasswordResetForm, Input):
    pass


class PasswordChangeInput(ChangePasswordInput):
    def clean_current_password(self):
        """Check it as a sign-in would: counted, and taking as long."""
        password = self.cleaned_data["current_password"]
        if password and not get_adapter().reauthenticate(self.user, password):
            raise get_adapter().validation_error("enter_current_password")
        return password
