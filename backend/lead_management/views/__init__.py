from .activities import ActivityViewSet
from .deals import DealContactViewSet, DealViewSet
from .leads import LeadProcessViewSet, LeadViewSet
from .pipelines import PipelineViewSet
from .reports import report_urls

__all__ = [
    "ActivityViewSet",
    "DealContactViewSet",
    "DealViewSet",
    "LeadProcessViewSet",
    "LeadViewSet",
    "PipelineViewSet",
    "report_urls",
]
