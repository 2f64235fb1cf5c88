from .activity import Activity
from .lead import Lead
from .process import LeadProcess
from .lead_stay import LeadStay
