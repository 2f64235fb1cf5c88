from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from contact_management.models import Company, Contact
from core.indexes import order_indexes
from core.models import Record
from core.models.values import to_json

from .deal import Deal
from .lead import Lead
from .lead_score import LeadScore
from .process import LeadProcess

MAX_PARTICIPANTS = 50
MINUTES_OF_A_MONTH = 31 * 24 * 60
# What an activity may be about; it hangs on each of them.
SUBJECTS = ("lead", "contact", "company", "deal")
LINKS = {"contact", "company", "deal"}
# The fields that say when and what, which a new touch of the lead follows from.
TELLING = {"kind", "occurred_at", "lead"}


class ParticipantsField(models.JSONField):
    """Who took part, each once: `[{"contact": id}, {"user": id}]`."""

    empty_values = [[]]  # an empty object is not an empty list
    kinds = ("contact", "user")

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("default", list)
        kwargs.setdefault("blank", True)
        super().__init__(*args, **kwargs)

    def to_python(self, value):
        value = super().to_python(value)
        if not is_participants(value):
            return value
        # As one pair of key and value each, in the one spelling of an id.
        pairs = dict.fromkeys((k, str(UUID(i))) for p in value for k, i in p.items())
        return [{kind: pk} for kind, pk in pairs]

    def validate(self, value, model_instance):
        super().validate(value, model_instance)
        if not is_participants(value):
            raise ValidationError(
                "Give a list of objects with the id of a `contact` or of a `user`.",
                code="not_a_list",
            )
        if len(value) > MAX_PARTICIPANTS:
            raise ValidationError(f"At most {MAX_PARTICIPANTS}.", code="max_length")


def is_participants(value) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict)
        and len(one) == 1
        and set(one) <= set(ParticipantsField.kinds)
        and all(map(is_uuid, one.values()))
        for one in value
    )


def is_uuid(text) -> bool:
    try:
        return isinstance(text, str) and bool(UUID(text))
    except ValueError:
        return False


class Activity(Record):
    """What somebody did, noted, or has to do, about one or more of SUBJECTS."""

    class Kind(models.TextChoices):
        CALL = "call"
        EMAIL = "email"
        MEETING = "meeting"
        NOTE = "note"
        TASK = "task"

    # With these somebody spoke to the other side.
    CONTACTS = (Kind.CALL, Kind.EMAIL, Kind.MEETING)

    kind = models.CharField(max_length=10, choices=Kind)
    subject = models.CharField(max_length=200, blank=True)
    body = models.TextField(max_length=50_000, blank=True)
    occurred_at = models.DateTimeField(
        default=timezone.now, help_text="When it was, or will be; now if not given."
    )
    duration_minutes = models.PositiveIntegerField(
        null=True, blank=True, validators=[MaxValueValidator(MINUTES_OF_A_MONTH)]
    )
    outcome = models.CharField(max_length=200, blank=True)
    participants = ParticipantsField()
    lead = models.ForeignKey(
        Lead, models.CASCADE, related_name="activities", null=True, blank=True
    )
    contact = models.ForeignKey(
        Contact, models.CASCADE, related_name="activities", null=True, blank=True
    )
    company = models.ForeignKey(
        Company, models.CASCADE, related_name="activities", null=True, blank=True
    )
    deal = models.ForeignKey(
        Deal, models.CASCADE, related_name="activities", null=True, blank=True
    )
    due_at = models.DateTimeField(null=True, blank=True, help_text="Of a task.")
    reminder_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Of a task. Without an offset it is in your own time zone.",
    )
    done_at = models.DateTimeField(
        null=True, blank=True, help_text="Of a task; empty while it is open."
    )

    summary_fields = ("id", "kind", "subject", "occurred_at")
    mention_fields = ("subject", "body")
    search_fields = ("subject", "body", "outcome")
    happens_at = "occurred_at"

    class Meta(Record.Meta):
        verbose_name_plural = "activities"
        constraints = [
            models.CheckConstraint(
                condition=Q.create([(f"{n}__isnull", False) for n in SUBJECTS], Q.OR),
                name="activity_is_about_something",
            )
        ]
        indexes = [
            *Record.Meta.indexes,
            *order_indexes(
                *("activity", "kind", "subject", "occurred_at", "updated_at"),
                *("due_at", "-due_at", "done_at", "-done_at"),
            ),
            models.Index(
                fields=["organization", "owner", "due_at"],
                name="activity_open_tasks",
                condition=Q(deleted_at=None, done_at=None, due_at__isnull=False),
            ),
            # Of the report: it counts without looking at the activities themselves.
            models.Index(
                fields=[
                    *("organization", "occurred_at", "id", "owner"),
                    *("kind", "duration_minutes", "done_at"),
                ],
                name="activity_reports",
                condition=Q(deleted_at=None),
            ),
            *(
                models.Index(
                    fields=[name, "-occurred_at", "-id"], name=f"activity_of_{name}"
                )
                for name in SUBJECTS
            ),
        ]

    def __str__(self):
        return f"{self.get_kind_display()}: {self.subject}".removesuffix(": ")

    @property
    def is_contact(self) -> bool:
        """Whether somebody was spoken to, and this is no plan for later."""
        return self.kind in self.CONTACTS and self.occurred_at <= timezone.now()

    def clean(self):
        super().clean()
        if not any(getattr(self, f"{name}_id") for name in SUBJECTS):
            raise ValidationError(
                f"Give at least one of {', '.join(SUBJECTS)}.", code="subject_required"
            )
        if self.kind != self.Kind.TASK:
            errors = {
                name: ValidationError("Only a task has this.", code="not_a_task")
                for name in ("due_at", "reminder_at", "done_at")
                if getattr(self, name) is not None
            }
            if errors:
                raise ValidationError(errors)

    def moved_with(self, names):
        """A conversion of the lead gives its activities what it becomes."""
        return self.lead if names <= LINKS else None

    @classmethod
    def after_writes(cls, updates, changes):
        if changes.change_set.undoes_id is None:
            touch_leads(changes, [a for a, before in updates if a._tells_news(before)])
        ids = {a.lead_id for a, _ in updates}
        ids |= {UUID(b["lead"]) for _, b in updates if b and b.get("lead")}
        if ids := ids - {None}:
            LeadScore.make_due(ids, changes)

    def _tells_news(self, before: dict | None) -> bool:
        """Whether this is new, or about another moment or lead than it was."""
        return before is None or any(
            name in before
            and before[name]
            != to_json(getattr(self, self._meta.get_field(name).attname))
            for name in TELLING
        )


def touch_leads(changes, activities) -> None:
    """Move `last_contacted_at` of the leads that these were spoken to in, and new ones
    to contacted.

    Never backwards, and part of the same changes. Whoever may note that they spoke to a
    lead does this without a right to edit it: the program keeps both. A converted lead
    is left as it is.
    """
    latest = {}
    for activity in activities:
        if activity.lead_id and activity.is_contact and activity.deleted_at is None:
            moments = (activity.occurred_at, latest.get(activity.lead_id))
            latest[activity.lead_id] = max(filter(None, moments))
    if not latest:
        return
    leads = Lead.objects.live().select_for_update(of=("self",)).filter(pk__in=latest)
    leads = leads.exclude(status=Lead.Status.CONVERTED).order_by("pk")
    process = None
    for lead in leads:
        values = {}
        moment = latest[lead.pk]
        if lead.last_contacted_at is None or lead.last_contacted_at < moment:
            values["last_contacted_at"] = moment
        if lead.status == Lead.Status.NEW:
            process = process or LeadProcess.of(changes.change_set.organization)
            values |= process.first_contact(lead)
        if values:
            changes.bulk_set(Lead, [lead], **values)
