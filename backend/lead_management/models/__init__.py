from .lead import Lead
