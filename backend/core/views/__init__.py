from .base import ViewSet
from .organization import SettingsViewSet
from .records import JournaledViewSet, RecordViewSet

__all__ = ["JournaledViewSet", "RecordViewSet", "SettingsViewSet", "ViewSet"]
