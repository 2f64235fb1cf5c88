from .activities import ActivityAdmin
from .leads import LeadAdmin, LeadProcessAdmin

__all__ = ["ActivityAdmin", "LeadAdmin", "LeadProcessAdmin"]
