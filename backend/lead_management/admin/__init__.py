from .activities import ActivityAdmin
from .dashboard import front_page
from .deals import DealAdmin, DealContactAdmin
from .leads import LeadAdmin, LeadProcessAdmin
from .pipelines import PipelineAdmin

__all__ = [
    "ActivityAdmin",
    "DealAdmin",
    "DealContactAdmin",
    "LeadAdmin",
    "LeadProcessAdmin",
    "PipelineAdmin",
    "front_page",
]
