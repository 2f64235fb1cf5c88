from .deals import DealContactViewSet, DealViewSet
from .leads import LeadViewSet
from .pipelines import PipelineViewSet

__all__ = ["DealContactViewSet", "DealViewSet", "LeadViewSet", "PipelineViewSet"]
