"""What workers do for people. Importing it registers the handlers of their jobs."""

from user_management import services

__all__ = ["services"]
