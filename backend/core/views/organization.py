from django.urls import path
from rest_framework.permissions import SAFE_METHODS

from core.models import ChangeSet, Organization
from core.views.journaled import JournaledViewSet


class SingleViewSet(JournaledViewSet):
    """Of what an organization has one: no id in its address, and no list."""

    filter_backends = ()
    # What is answered at the address, by the method.
    actions_by_method = {"get": "retrieve", "patch": "partial_update"}

    @classmethod
    def urls(cls, address: str) -> list:
        one = cls.as_view(cls.actions_by_method, detail=True)
        past = cls.as_view({"get": "history"}, detail=True, **cls.history.kwargs)
        return [
            path(f"{address}/", one, {"pk": None}, name=address),
            path(f"{address}/history/", past, {"pk": None}, name=f"{address}-history"),
        ]


class OrganizationViewSet(SingleViewSet):
    """The organization of whoever asks: all of its people see it.

    Its settings are changed by those with the right `organization: edit`.
    """

    model = Organization
    fields = (
        *("name", "country", "currency", "timezone"),
        *("audit_retention_days", "purge_after_days"),
    )

    def get_object(self, queryset=None):
        self.kwargs["pk"] = self.request.user.organization_id
        return super().get_object(queryset)


class SettingsViewSet(SingleViewSet):
    """What is no record but set for a whole organization: `OrganizationSettings`."""

    actions_by_method = {**SingleViewSet.actions_by_method, "put": "update"}

    def get_object(self, queryset=None):
        organization = self.request.user.organization
        settings = self.model.of(organization)
        if self.request.method in SAFE_METHODS:
            return settings
        if settings._state.adding:
            # Nobody's change yet: what the caller changes follows.
            with ChangeSet.open(
                organization=organization, source=ChangeSet.Source.SYSTEM
            ) as changes:
                changes.save(settings)
        self.kwargs["pk"] = settings.pk
        return super().get_object(queryset)
