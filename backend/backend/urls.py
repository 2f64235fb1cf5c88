from django.contrib import admin
from django.urls import include, path
from django.views import defaults
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerSplitView

from core.problems import api_aware
from core.views.schema import SchemaView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="docs")),
    path(
        "admin/password_change/",
        RedirectView.as_view(pattern_name="account_change_password"),
    ),
    path("admin/", admin.site.urls),
    path("account/", include("user_management.pages")),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(), name="docs"),
    path(
        "api/docs/sign-in/",
        SpectacularSwaggerSplitView.as_view(url="/api/auth/openapi.json"),
        name="sign-in-docs",
    ),
    path("api/schema/", SchemaView.as_view(), name="schema"),
    path("api/", include("core.urls")),
    path("api/", include("user_management.urls")),
    path("api/auth/", include("allauth.headless.urls")),
    path("api/", include("contact_management.urls")),
    path("api/", include("lead_management.urls")),
]

handler400 = api_aware(
    400, "bad_request", "This is not a request we understand.", defaults.bad_request
)
handler403 = api_aware(
    403, "permission_denied", "This is not allowed.", defaults.permission_denied
)
handler404 = api_aware(404, "not_found", "Not found.", defaults.page_not_found)
handler500 = api_aware(
    500, "error", "Something went wrong here.", defaults.server_error
)
