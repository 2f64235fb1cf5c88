from django.db import models


class Attempts(models.Model):
    """How often something was tried in a window of time (user_management.limits)."""

    key = models.CharField(max_length=64, primary_key=True)
    count = models.PositiveIntegerField(default=0)
    ends_at = models.DateTimeField(db_index=True)

    def __str__(self):
        return f"{self.count} until {self.ends_at}"
