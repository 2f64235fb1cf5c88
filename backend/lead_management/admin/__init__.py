from .activities import ActivityAdmin
from .assignment import (
    AbsenceAdmin,
    AssignmentDecisionAdmin,
    AssignmentRuleAdmin,
    AvailabilityAdmin,
)
from .dashboard import front_page
from .deals import DealAdmin, DealContactAdmin
from .leads import LeadAdmin, LeadProcessAdmin
from .pipelines import PipelineAdmin
from .report_schedules import ReportScheduleAdmin
from .scoring import ScoringModelAdmin

__all__ = [
    "AbsenceAdmin",
    "ActivityAdmin",
    "AssignmentDecisionAdmin",
    "AssignmentRuleAdmin",
    "AvailabilityAdmin",
    "DealAdmin",
    "DealContactAdmin",
    "LeadAdmin",
    "LeadProcessAdmin",
    "PipelineAdmin",
    "ReportScheduleAdmin",
    "ScoringModelAdmin",
    "front_page",
]
