from django.http import Http404
from django.urls import path

from core.routers import Router
from user_management.views import MeViewSet, RoleViewSet, TeamViewSet, UserViewSet


def closed(request, **kwargs):
    raise Http404


# What sign-in could do, but is not offered: these addresses come before its own.
CLOSED = (
    "account/email",
    "account/phone",
    "auth/password/request",
    "auth/password/reset",
)

router = Router()
router.register("users", UserViewSet)
router.register("teams", TeamViewSet)
router.register("roles", RoleViewSet)

urlpatterns = [
    *(path(f"auth/<str:client>/v1/{address}", closed) for address in CLOSED),
    path(
        "users/me/",
        MeViewSet.as_view({"get": "retrieve", "patch": "partial_update"}),
        name="me",
    ),
    *router.urls,
]
