from .activities import ActivityViewSet
from .leads import LeadProcessViewSet, LeadViewSet
