from .activities import ActivityAdmin
from .assignment import (
    AbsenceAdmin,
    AssignmentDecisionAdmin,
    AssignmentRuleAdmin,
    AvailabilityAdmin,
)
from .leads import LeadAdmin, LeadProcessAdmin

__all__ = [
    "AbsenceAdmin",
    "ActivityAdmin",
    "AssignmentDecisionAdmin",
    "AssignmentRuleAdmin",
    "AvailabilityAdmin",
    "LeadAdmin",
    "LeadProcessAdmin",
]
