from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from core.ids import new_id

from .record import ScopedQuerySet


class Job(models.Model):
    """Work in the background that somebody waits for. core.jobs runs it.

    The row is the truth: a message to a worker only says "look". A worker holds the job
    by a lease; when it dies, the lease runs out and another goes on where the last
    committed chunk ended.
    """

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    ACTIVE = (Status.QUEUED, Status.RUNNING)

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(
        "core.Organization", models.PROTECT, related_name="+"
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="+",
        null=True,
        help_text="Who asked for it; null where the program did by itself.",
    )
    api_key = models.ForeignKey(
        settings.KNOX_TOKEN_MODEL,
        models.PROTECT,
        related_name="+",
        null=True,
        db_index=False,
        help_text="The key that its owner came with: the job may do no more than it.",
    )
    kind = models.CharField(max_length=30)
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    params = models.JSONField(default=dict, help_text="What was asked for.")
    state = models.JSONField(default=dict, help_text="Where the next chunk begins.")
    total = models.PositiveIntegerField(null=True)
    done = models.PositiveIntegerField(default=0)
    counts = models.JSONField(default=dict)
    error = models.JSONField(null=True, help_text="Why it failed: code, detail, line.")
    change_set = models.ForeignKey(
        "core.ChangeSet", models.PROTECT, related_name="jobs", null=True
    )
    cancel_requested = models.BooleanField(default=False)
    attempts = models.PositiveSmallIntegerField(
        default=0, help_text="Starts since the last chunk that succeeded."
    )
    lease = models.UUIDField(null=True, help_text="Who works on it now.")
    lease_until = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True, help_text="When a worker was last told.")
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                fields=["organization", "owner", "-created_at"], name="job_newest"
            ),
            models.Index(
                fields=["lease_until"],
                name="job_active",
                condition=Q(status__in=["queued", "running"]),
            ),
        ]

    def __str__(self):
        return f"{self.kind} {self.id}: {self.status}"

    @classmethod
    def record_type(cls) -> str:
        return cls._meta.model_name

    def belongs_to(self):
        return self.owner

    @property
    def is_active(self) -> bool:
        return self.status in self.ACTIVE


class JobError(models.Model):
    """Something that a job could not do, for the person who asked for it."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="errors")
    line = models.PositiveIntegerField(null=True, help_text="Of the file, from 1.")
    column = models.CharField(max_length=200, blank=True)
    code = models.CharField(max_length=50)
    message = models.CharField(max_length=500)
    row = models.JSONField(null=True, help_text="The cells as they stood in the file.")

    class Meta:
        ordering = ["id"]

    def __str__(self):
        return f"line {self.line}: {self.code}"


class JobSkip(models.Model):
    """A row that a job left out, and why; nothing is wrong with it."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="skips")
    line = models.PositiveIntegerField(help_text="Of the file, from 1.")
    reason = models.CharField(max_length=30)
    first_line = models.PositiveIntegerField(
        null=True, help_text="Of the row that it repeats."
    )

    class Meta:
        ordering = ["id"]

    def __str__(self):
        return f"line {self.line}: {self.reason}"


class Heartbeat(models.Model):
    """When a part of the program last did its work, for `/api/health/`."""

    name = models.CharField(max_length=30, primary_key=True)
    at = models.DateTimeField()

    def __str__(self):
        return f"{self.name} at {self.at}"


class Figure(models.Model):
    """A number that took long to count, as it was at the last count (core.metrics)."""

    name = models.CharField(max_length=50, help_text="Of the gauge that shows it.")
    label = models.CharField(max_length=50, help_text="What was counted.")
    value = models.FloatField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["name", "label"], name="figure_unique")
        ]

    def __str__(self):
        return f"{self.name} of {self.label}: {self.value}"
