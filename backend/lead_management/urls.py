from core.routers import Router
from lead_management.views import (
    AbsenceViewSet,
    ActivityViewSet,
    AssignmentDecisionViewSet,
    AssignmentRuleViewSet,
    AvailabilityViewSet,
    DealContactViewSet,
    DealViewSet,
    LeadProcessViewSet,
    LeadViewSet,
    PipelineViewSet,
    ReportScheduleViewSet,
    ScoringModelViewSet,
    report_urls,
)

router = Router()
router.register("leads", LeadViewSet)
router.register("pipelines", PipelineViewSet)
router.register("deals", DealViewSet)
router.register("deal-contacts", DealContactViewSet)
router.register("activities", ActivityViewSet)
router.register("assignment-rules", AssignmentRuleViewSet)
router.register("assignment-decisions", AssignmentDecisionViewSet)
router.register("availability", AvailabilityViewSet)
router.register("absences", AbsenceViewSet)
router.register("scoring-models", ScoringModelViewSet)
router.register("report-schedules", ReportScheduleViewSet)

urlpatterns = [
    *LeadProcessViewSet.urls("lead-process"),
    *report_urls,
    *router.urls,
]
