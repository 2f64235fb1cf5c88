from .activities import ActivityAdmin
from .leads import LeadAdmin, LeadProcessAdmin
