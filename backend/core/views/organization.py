from django.urls import path

from core.models import Organization
from core.views.records import JournaledViewSet


class OrganizationViewSet(JournaledViewSet):
    """The organization of whoever asks: all of its people see it.

    Its settings are changed by those with the right `organization: edit`.
    """

    model = Organization
    fields = (
        *("name", "country", "currency", "timezone"),
        *("audit_retention_days", "purge_after_days"),
    )
    filter_backends = ()

    def get_object(self, queryset=None):
        self.kwargs["pk"] = self.request.user.organization_id
        return super().get_object(queryset)

    @classmethod
    def urls(cls, address: str) -> list:
        """One row has no id in its address, and no list."""
        one = cls.as_view({"get": "retrieve", "patch": "partial_update"}, detail=True)
        past = cls.as_view({"get": "history"}, detail=True, **cls.history.kwargs)
        return [
            path(f"{address}/", one, {"pk": None}, name=address),
            path(f"{address}/history/", past, {"pk": None}, name=f"{address}-history"),
        ]
