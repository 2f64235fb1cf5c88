from core.routers import Router
from lead_management.views import ActivityViewSet, LeadProcessViewSet, LeadViewSet

router = Router()
router.register("leads", LeadViewSet)
router.register("activities", ActivityViewSet)

urlpatterns = [*LeadProcessViewSet.urls("lead-process"), *router.urls]
