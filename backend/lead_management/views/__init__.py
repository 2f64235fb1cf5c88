from .leads import LeadViewSet
