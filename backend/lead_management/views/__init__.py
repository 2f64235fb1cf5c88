from .activities import ActivityViewSet
from .assignment import (
    AbsenceViewSet,
    AssignmentDecisionViewSet,
    AssignmentRuleViewSet,
    AvailabilityViewSet,
)
from .leads import LeadProcessViewSet, LeadViewSet

__all__ = [
    "AbsenceViewSet",
    "ActivityViewSet",
    "AssignmentDecisionViewSet",
    "AssignmentRuleViewSet",
    "AvailabilityViewSet",
    "LeadProcessViewSet",
    "LeadViewSet",
]
