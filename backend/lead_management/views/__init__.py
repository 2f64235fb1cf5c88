from .activities import ActivityViewSet
from .leads import LeadProcessViewSet, LeadViewSet

__all__ = ["ActivityViewSet", "LeadProcessViewSet", "LeadViewSet"]
