from django.urls import path

from contact_management.views import (
    AffiliationViewSet,
    CompanyViewSet,
    ContactGroupViewSet,
    ContactViewSet,
    MemberViewSet,
    TagViewSet,
)
from core.routers import Router

router = Router()
router.register("companies", CompanyViewSet)
router.register("contact-groups", ContactGroupViewSet)
router.register("contacts", ContactViewSet)
router.register("affiliations", AffiliationViewSet)
router.register("tags", TagViewSet)

members = MemberViewSet.as_view({"get": "list", "post": "change_members"})

urlpatterns = [
    path("contact-groups/<uuid:pk>/members/", members, name="contactgroup-members"),
    *router.urls,
]
