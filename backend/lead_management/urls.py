from core.routers import Router
from lead_management.views import (
    ActivityViewSet,
    DealContactViewSet,
    DealViewSet,
    LeadProcessViewSet,
    LeadViewSet,
    PipelineViewSet,
    ScoringModelViewSet,
)

router = Router()
router.register("leads", LeadViewSet)
router.register("pipelines", PipelineViewSet)
router.register("deals", DealViewSet)
router.register("deal-contacts", DealContactViewSet)
router.register("activities", ActivityViewSet)
router.register("scoring-models", ScoringModelViewSet)

urlpatterns = [*LeadProcessViewSet.urls("lead-process"), *router.urls]
