from core.routers import Router
from lead_management.views import (
    DealContactViewSet,
    DealViewSet,
    LeadViewSet,
    PipelineViewSet,
)

router = Router()
router.register("leads", LeadViewSet)
router.register("pipelines", PipelineViewSet)
router.register("deals", DealViewSet)
router.register("deal-contacts", DealContactViewSet)

urlpatterns = router.urls
