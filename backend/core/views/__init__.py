from .base import ViewSet
from .records import JournaledViewSet, RecordViewSet

__all__ = ["JournaledViewSet", "RecordViewSet", "ViewSet"]
