from .activities import ActivityAdmin
from .deals import DealAdmin, DealContactAdmin
from .leads import LeadAdmin, LeadProcessAdmin
from .pipelines import PipelineAdmin
from .scoring import ScoringModelAdmin

__all__ = [
    "ActivityAdmin",
    "DealAdmin",
    "DealContactAdmin",
    "LeadAdmin",
    "LeadProcessAdmin",
    "PipelineAdmin",
    "ScoringModelAdmin",
]
