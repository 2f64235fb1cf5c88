from django.urls import path

from user_management.views import MeViewSet

urlpatterns = [
    path(
        "users/me/",
        MeViewSet.as_view({"get": "retrieve", "patch": "partial_update"}),
        name="me",
    ),
]
