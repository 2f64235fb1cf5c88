from .deal import Deal, DealContact, DealStay
from .lead import Lead
from .pipeline import Kind, Pipeline, Stage, completed
from .stay import Stay

__all__ = [
    "Deal",
    "DealContact",
    "DealStay",
    "Kind",
    "Lead",
    "Pipeline",
    "Stage",
    "Stay",
    "completed",
]
