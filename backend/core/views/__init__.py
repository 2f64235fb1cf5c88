from .base import ViewSet
from .records import RecordViewSet

__all__ = ["RecordViewSet", "ViewSet"]
