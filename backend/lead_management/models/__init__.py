from .activity import Activity
from .lead import Lead
from .lead_stay import LeadStay
from .process import LeadProcess

__all__ = ["Activity", "Lead", "LeadProcess", "LeadStay"]
