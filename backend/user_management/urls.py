from allauth.headless.account import views as account
from allauth.headless.constants import Client
from allauth.headless.mfa import views as mfa
from django.http import Http404
from django.urls import path

from core.routers import Router
from user_management import forms
from user_management.views import (
    ApiKeyViewSet,
    EmailView,
    InvitationView,
    MeViewSet,
    RoleViewSet,
    TeamViewSet,
    UserViewSet,
    VerifyEmailView,
)


def closed(request, **kwargs):
    raise Http404


# These addresses come before sign-in's own. Closed is what it could do, but is not
# offered; the others differ in their rules.
CLOSED = (
    "account/phone",
    "auth/email/verify/resend",
)
CHANGED = {
    "account/email": (EmailView, EmailView.input_class),
    "auth/email/verify": (VerifyEmailView, VerifyEmailView.input_class),
    "account/password/change": (account.ChangePasswordView, forms.PasswordChangeInput),
    "auth/password/request": (
        account.RequestPasswordResetView,
        forms.PasswordResetInput,
    ),
    "auth/2fa/authenticate": (mfa.AuthenticateView, forms.CodeInput),
    "auth/2fa/reauthenticate": (mfa.ReauthenticateView, forms.CodeAgainInput),
    "auth/webauthn/authenticate": (
        mfa.AuthenticateWebAuthnView,
        {"POST": forms.PasskeyInput},
    ),
    "auth/webauthn/login": (mfa.LoginWebAuthnView, {"POST": forms.PasskeyLoginInput}),
    "auth/webauthn/reauthenticate": (
        mfa.ReauthenticateWebAuthnView,
        {"POST": forms.PasskeyAgainInput},
    ),
    "account/authenticators/webauthn": (
        mfa.ManageWebAuthnView,
        {**mfa.ManageWebAuthnView.input_class, "POST": forms.AddPasskeyInput},
    ),
}

router = Router()
router.register("users", UserViewSet)
router.register("teams", TeamViewSet)
router.register("roles", RoleViewSet)
router.register("api-keys", ApiKeyViewSet)

urlpatterns = [
    *(path(f"auth/<str:client>/v1/{address}", closed) for address in CLOSED),
    *(
        path(
            f"auth/{client.value}/v1/{address}",
            view.as_api_view(client=client, input_class=form),
        )
        for client in Client
        for address, (view, form) in CHANGED.items()
    ),
    path(
        "users/me/",
        MeViewSet.as_view({"get": "retrieve", "patch": "partial_update"}),
        name="me",
    ),
    path(
        "users/me/avatar/",
        MeViewSet.as_view(
            {"put": "put_avatar", "delete": "delete_avatar"}, takes_dry_run=False
        ),
        name="my-avatar",
    ),
    path("invitations/<str:key>/", InvitationView.as_view(), name="invitation-answer"),
    *router.urls,
]
