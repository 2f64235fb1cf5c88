from .activities import ActivityViewSet
from .assignment import (
    AbsenceViewSet,
    AssignmentDecisionViewSet,
    AssignmentRuleViewSet,
    AvailabilityViewSet,
)
from .deals import DealContactViewSet, DealViewSet
from .leads import LeadProcessViewSet, LeadViewSet
from .pipelines import PipelineViewSet
from .report_schedules import ReportScheduleViewSet
from .reports import report_urls
from .scoring import ScoringModelViewSet

__all__ = [
    "AbsenceViewSet",
    "ActivityViewSet",
    "AssignmentDecisionViewSet",
    "AssignmentRuleViewSet",
    "AvailabilityViewSet",
    "DealContactViewSet",
    "DealViewSet",
    "LeadProcessViewSet",
    "LeadViewSet",
    "PipelineViewSet",
    "ReportScheduleViewSet",
    "ScoringModelViewSet",
    "report_urls",
]
