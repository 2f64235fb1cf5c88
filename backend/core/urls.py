from django.urls import path

from core.routers import Router
from core.views.audit_log import AuditLogViewSet
from core.views.change_sets import ChangeSetViewSet
from core.views.custom_fields import CustomFieldViewSet
from core.views.exports import ExportViewSet
from core.views.health import HealthView, LiveView, ReadyView
from core.views.imports import ImportMappingViewSet, ImportViewSet
from core.views.jobs import JobViewSet
from core.views.notifications import NotificationViewSet
from core.views.organization import OrganizationViewSet
from core.views.search import SearchViewSet

router = Router()
router.register("audit-log", AuditLogViewSet, basename="audit-log")
router.register("change-sets", ChangeSetViewSet)
router.register("custom-fields", CustomFieldViewSet)
router.register("exports", ExportViewSet, basename="export")
router.register("imports", ImportViewSet, basename="import")
router.register("import-mappings", ImportMappingViewSet)
router.register("jobs", JobViewSet)
router.register("notifications", NotificationViewSet)

urlpatterns = [
    path("health/", HealthView.as_view(), name="health"),
    path("health/live/", LiveView.as_view(), name="health-live"),
    path("health/ready/", ReadyView.as_view(), name="health-ready"),
    *OrganizationViewSet.urls("organization"),
    path("search/", SearchViewSet.as_view({"get": "retrieve"}), name="search"),
    *router.urls,
]
