from contact_management.views import (
    AffiliationViewSet,
    CompanyViewSet,
    ContactViewSet,
    TagViewSet,
)
from core.routers import Router

router = Router()
router.register("companies", CompanyViewSet)
router.register("contacts", ContactViewSet)
router.register("affiliations", AffiliationViewSet)
router.register("tags", TagViewSet)

urlpatterns = router.urls
