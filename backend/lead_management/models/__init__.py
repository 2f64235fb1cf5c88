from .activity import Activity
from .assignment import AssignmentDecision, AssignmentRule
from .availability import Absence, Availability
from .lead import Lead
from .lead_stay import LeadStay
from .process import LeadProcess

__all__ = [
    "Absence",
    "Activity",
    "AssignmentDecision",
    "AssignmentRule",
    "Availability",
    "Lead",
    "LeadProcess",
    "LeadStay",
]
