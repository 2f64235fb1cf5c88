from .activities import ActivityViewSet
from .deals import DealContactViewSet, DealViewSet
from .leads import LeadProcessViewSet, LeadViewSet
from .pipelines import PipelineViewSet
from .scoring import ScoringModelViewSet

__all__ = [
    "ActivityViewSet",
    "DealContactViewSet",
    "DealViewSet",
    "LeadProcessViewSet",
    "LeadViewSet",
    "PipelineViewSet",
    "ScoringModelViewSet",
]
