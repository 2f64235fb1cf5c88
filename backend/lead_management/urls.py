from core.routers import Router
from lead_management.views import (
    ActivityViewSet,
    DealContactViewSet,
    DealViewSet,
    LeadProcessViewSet,
    LeadViewSet,
    PipelineViewSet,
    report_urls,
)

router = Router()
router.register("leads", LeadViewSet)
router.register("pipelines", PipelineViewSet)
router.register("deals", DealViewSet)
router.register("deal-contacts", DealContactViewSet)
router.register("activities", ActivityViewSet)

urlpatterns = [
    *LeadProcessViewSet.urls("lead-process"),
    *report_urls,
    *router.urls,
]
