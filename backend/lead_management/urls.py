from core.routers import Router
from lead_management.views import LeadViewSet

router = Router()
router.register("leads", LeadViewSet)

urlpatterns = router.urls
