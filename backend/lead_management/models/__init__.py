from .activity import Activity
from .assignment import AssignmentDecision, AssignmentRule
from .availability import Absence, Availability
from .deal import Deal, DealContact, DealStay
from .lead import CONVERTED_INTO, Lead
from .lead_score import LeadScore
from .lead_stay import LeadStay
from .pipeline import Kind, Pipeline, Stage, completed
from .process import LeadProcess
from .report_schedule import ReportRun, ReportSchedule
from .scoring_model import ScoringModel
from .stay import Stay

__all__ = [
    "CONVERTED_INTO",
    "Absence",
    "Activity",
    "AssignmentDecision",
    "AssignmentRule",
    "Availability",
    "Deal",
    "DealContact",
    "DealStay",
    "Kind",
    "Lead",
    "LeadProcess",
    "LeadScore",
    "LeadStay",
    "Pipeline",
    "ReportRun",
    "ReportSchedule",
    "ScoringModel",
    "Stage",
    "Stay",
    "completed",
]
