from .activity import Activity
from .assignment import AssignmentDecision, AssignmentRule
from .availability import Absence, Availability
from .deal import Deal, DealContact, DealStay
from .lead import CONVERTED_INTO, Lead
from .lead_stay import LeadStay
from .pipeline import Kind, Pipeline, Stage, completed
from .process import LeadProcess
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
    "LeadStay",
    "Pipeline",
    "Stage",
    "Stay",
    "completed",
]
