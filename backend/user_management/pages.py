"""The pages that the staff's admin and the links in e-mails need: those of allauth, and
three of our own for those who have no frontend."""

from allauth.account import views
from allauth.account.adapter import get_adapter
from django import forms
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db import IntegrityError
from django.http import Http404
from django.urls import include, path, re_path, reverse_lazy
from django.views.generic import FormView, RedirectView

from core import letters
from core.letters import LetterKind
from core.origin import origin
from user_management import services
from user_management.auth import lacks_two_factor
from user_management.forms import EmailChangeForm, InvitationForm, ask_for_email
from user_management.letters import EmailChange, Invitation


class LinkPage(FormView):
    """What the link in a letter leads to. 404 once it is of no use any more."""

    kind: type[LetterKind]
    success_url = reverse_lazy("account_login")

    def dispatch(self, request, key):
        self.letter = letters.find(key, self.kind)
        if self.letter is None:
            raise Http404
        return super().dispatch(request, key)

    def get_context_data(self, **kwargs):
        return super().get_context_data(letter=self.letter, **kwargs)


class InvitationPage(LinkPage):
    kind = Invitation
    form_class = InvitationForm
    template_name = "user_management/invitation.html"

    def get_form_kwargs(self):
        return {**super().get_form_kwargs(), "user": self.letter.user}

    def form_valid(self, form):
        password = form.cleaned_data["password1"]
        user = services.accept_invitation(self.letter, password, **origin(self.request))
        if user is None:
            raise Http404
        messages.success(self.request, "Welcome. You can sign in now.")
        return super().form_valid(form)


class EmailConfirmPage(LinkPage):
    kind = EmailChange
    form_class = forms.Form
    template_name = "user_management/email_confirm.html"

    def form_valid(self, form):
        try:
            user = services.confirm_email(self.letter, **origin(self.request))
        except IntegrityError:
            form.add_error(None, get_adapter().validation_error("email_taken"))
            return self.form_invalid(form)
        if user is None:
            raise Http404
        messages.success(self.request, "Your address is changed. Sign in with it.")
        return super().form_valid(form)


class EmailPage(LoginRequiredMixin, FormView):
    form_class = EmailChangeForm
    template_name = "user_management/email.html"
    success_url = reverse_lazy("account_email")

    def dispatch(self, request):
        if request.user.is_authenticated and lacks_two_factor(request.user):
            raise Http404
        return super().dispatch(request)

    def get_form_kwargs(self):
        return {**super().get_form_kwargs(), "user": self.request.user}

    def form_valid(self, form):
        ask_for_email(self.request, form.cleaned_data["email"])
        messages.info(self.request, "A link was sent to the new address.")
        return super().form_valid(form)


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="mfa_index"), name="account"),
    path("login/", views.login, name="account_login"),
    path("logout/", views.logout, name="account_logout"),
    path("inactive/", views.account_inactive, name="account_inactive"),
    path("reauthenticate/", views.reauthenticate, name="account_reauthenticate"),
    path("invitation/<str:key>/", InvitationPage.as_view(), name="invitation"),
    path("email/", EmailPage.as_view(), name="account_email"),
    path("email/confirm/<str:key>/", EmailConfirmPage.as_view(), name="email_change"),
    path("password/change/", views.password_change, name="account_change_password"),
    path("password/set/", views.password_set, name="account_set_password"),
    path("password/reset/", views.password_reset, name="account_reset_password"),
    path(
        "password/reset/done/",
        views.password_reset_done,
        name="account_reset_password_done",
    ),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        views.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/key/done/",
        views.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("2fa/", include("allauth.mfa.urls")),
    path("sessions/", include("allauth.usersessions.urls")),
]
