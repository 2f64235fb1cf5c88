from contact_management.views import ContactViewSet, TagViewSet
from core.routers import Router

router = Router()
router.register("contacts", ContactViewSet)
router.register("tags", TagViewSet)

urlpatterns = router.urls
