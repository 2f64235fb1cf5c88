from django.conf import settings
from django.db import models
from django.utils import timezone

from core.access import Verb, is_beyond_key
from core.ids import new_id


class NotificationQuerySet(models.QuerySet):
    def visible_to(self, user) -> "NotificationQuerySet":
        """One's own; a program's only if its key covers them."""
        if not user.is_authenticated:
            return self.none()
        if is_beyond_key(user, self.model.record_type(), Verb.VIEW):
            return self.none()
        return self.filter(user=user, in_app=True)


class Notification(models.Model):
    """Something about a record that somebody should know (core.notifications).

    What it says of the record is read when it is shown, so that nobody learns by it of
    a record that they do not see any more.
    """

    class Event(models.TextChoices):
        """What people choose by how they are told of it."""

        ASSIGNMENT = "assignment"
        REMINDER = "reminder"
        JOB_DONE = "job_done"
        MENTION = "mention"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(
        "core.Organization", models.PROTECT, related_name="+", db_index=False
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False
    )
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="+",
        null=True,
        db_index=False,
        help_text="Who did it; null where nobody did.",
    )
    event = models.CharField(max_length=20, choices=Event)
    code = models.CharField(
        max_length=50, help_text="What exactly it is, such as `follow_up_due`."
    )
    subject_type = models.CharField(max_length=50)
    subject_id = models.UUIDField()
    count = models.PositiveIntegerField(
        default=1, help_text="Of how many records; of more than one it is a summary."
    )
    in_app = models.BooleanField(default=True, help_text="Whether it is listed.")
    by_email = models.BooleanField(
        default=False, help_text="Whether it waits to be written into a letter."
    )
    letter = models.ForeignKey(
        "core.Letter", models.SET_NULL, related_name="notifications", null=True
    )
    at = models.DateTimeField(help_text="The moment that it is about.")
    created_at = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(null=True)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            # However often it is found, it is told once.
            models.UniqueConstraint(
                fields=["user", "code", "subject_id", "at"], name="notification_once"
            )
        ]
        indexes = [
            models.Index(
                fields=["user", "-created_at", "-id"], name="notification_newest"
            ),
            models.Index(fields=["created_at"], name="notification_old"),
            models.Index(
                fields=["created_at"],
                name="notification_to_mail",
                condition=models.Q(by_email=True),
            ),
        ]

    def __str__(self):
        return f"{self.code}: {self.subject_type} {self.subject_id}"

    @classmethod
    def record_type(cls) -> str:
        """What rights and the scopes of API keys know them as."""
        return cls._meta.model_name
