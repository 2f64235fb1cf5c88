from core.routers import Router
from lead_management.views import (
    AbsenceViewSet,
    ActivityViewSet,
    AssignmentDecisionViewSet,
    AssignmentRuleViewSet,
    AvailabilityViewSet,
    LeadProcessViewSet,
    LeadViewSet,
)

router = Router()
router.register("leads", LeadViewSet)
router.register("activities", ActivityViewSet)
router.register("assignment-rules", AssignmentRuleViewSet)
router.register("assignment-decisions", AssignmentDecisionViewSet)
router.register("availability", AvailabilityViewSet)
router.register("absences", AbsenceViewSet)

urlpatterns = [*LeadProcessViewSet.urls("lead-process"), *router.urls]
