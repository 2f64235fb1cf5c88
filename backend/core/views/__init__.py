from .base import ViewSet
from .journaled import JournaledViewSet
from .organization import SettingsViewSet
from .records import RecordViewSet

__all__ = ["JournaledViewSet", "RecordViewSet", "SettingsViewSet", "ViewSet"]
