from .deals import DealAdmin, DealContactAdmin
from .leads import LeadAdmin
from .pipelines import PipelineAdmin

__all__ = ["DealAdmin", "DealContactAdmin", "LeadAdmin", "PipelineAdmin"]
