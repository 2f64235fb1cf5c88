from .leads import LeadAdmin
