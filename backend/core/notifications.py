"""Telling people of what they should know, as they chose to be told.

A notification is a row, written in the transaction of what it is about: nothing that is
committed goes untold, and what is rolled back is told to nobody. Whoever wants an
e-mail gets one letter of all that came together, from a worker.
"""

from collections import defaultdict
from collections.abc import Iterable
from copy import copy
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from core import letters
from core.batches import batched
from core.letters import LetterKind, letter
from core.models import ChangeSet, Job, Notification
from core.registry import record_types
from core.representation import summaries

IN_APP, EMAIL = "in_app", "email"
AT_ONCE = 500
KEPT_DAYS = 90
Event = Notification.Event

# By code, what an e-mail says; {subject} is what the reader sees of the record.
SENTENCES = {
    "assigned": "{actor} made you the owner of {subject}",
    "mentioned": "{actor} mentioned you in {subject}",
    "job_done": "Done: {subject}",
    "job_failed": "Failed: {subject}",
}


def notify(notifications: Iterable[Notification], are_new: bool = False) -> int:
    """Keep the notifications that their users want, in the app or by e-mail.

    What was told before, with the same code, record and moment, is not told again.

    Args:
        are_new: nobody can have told of this before.

    Returns:
        How many are new.
    """
    count = 0
    for some in batched(notifications, AT_ONCE):
        users = get_user_model().objects.in_bulk({n.user_id for n in some})
        told = set() if are_new else _told(some, users)
        new = []
        for one in some:
            user = users[one.user_id]
            one.in_app = user.wants(one.event, IN_APP)
            one.by_email = user.wants(one.event, EMAIL)
            key = (one.user_id, one.code, one.subject_id, one.at)
            if user.is_active and (one.in_app or one.by_email) and key not in told:
                new.append(one)
        # Two workers may have found the same at once.
        Notification.objects.bulk_create(new, ignore_conflicts=True)
        count += len(new)
    return count


def _told(some: Iterable[Notification], users) -> set[tuple]:
    """By user, code, subject and moment, what they were told about the same."""
    known = Notification.objects.filter(
        user__in=users, subject_id__in={n.subject_id for n in some}
    )
    return set(known.values_list("user_id", "code", "subject_id", "at"))


def tell_of_job(job: Job) -> None:
    """Tell whoever asked for a job how it ended, in the transaction that ends it."""
    codes = {Job.Status.DONE: "job_done", Job.Status.FAILED: "job_failed"}
    if job.owner_id and job.status in codes:
        notify(
            [
                Notification(
                    organization_id=job.organization_id,
                    user_id=job.owner_id,
                    event=Event.JOB_DONE,
                    code=codes[job.status],
                    subject_type=job.record_type(),
                    subject_id=job.pk,
                    at=job.finished_at,
                )
            ]
        )


def forget() -> None:
    """Remove what is old, read or not."""
    before = timezone.now() - timedelta(days=KEPT_DAYS)
    Notification.objects.filter(created_at__lt=before).delete()


# What is read of them


def subject_types() -> dict:
    """What notifications are about, by the name that they have for it."""
    return {
        **record_types(),
        Job.record_type(): Job,
        ChangeSet.record_type(): ChangeSet,
    }


def subjects_of(notifications: Iterable[Notification], user) -> dict[str, dict]:
    """What the user sees of the subjects, by type and id: a query for each type."""
    ids = defaultdict(set)
    for one in notifications:
        ids[one.subject_type].add(one.subject_id)
    types = subject_types()
    return {name: summaries(types[name], some, user) for name, some in ids.items()}


def actors_of(notifications: Iterable[Notification], user) -> dict:
    """What the user sees of who did what they are about, by id."""
    ids = {one.actor_id for one in notifications} - {None}
    return summaries(get_user_model(), ids, user) if ids else {}


# By e-mail


def post_due() -> int:
    """Write a letter to each user who wants e-mail of what nobody read yet.

    Returns:
        How many letters were written.
    """
    active = Job.objects.filter(
        change_set=OuterRef("subject_id"), status__in=Job.ACTIVE
    )
    with transaction.atomic():
        waiting = Notification.objects.filter(by_email=True, read_at=None)
        # While a job goes on, what it tells still grows.
        waiting = waiting.exclude(Exists(active)).select_related("user")
        rows = waiting.order_by("created_at").select_for_update(
            of=("self",), skip_locked=True
        )
        of_user = defaultdict(list)
        for one in rows[:AT_ONCE]:
            of_user[one.user].append(one.pk)
        for user, ids in of_user.items():
            post(user, ids)
    return len(of_user)


def post(user, ids: list) -> None:
    written = letters.post(user, NotificationLetter)
    Notification.objects.filter(pk__in=ids).update(letter=written, by_email=False)


@letter("notifications", "News from MyCRM", "core/letters")
class NotificationLetter(LetterKind):
    """What its reader still sees of what happened: each thing on a line."""

    def __init__(self, letter):
        super().__init__(letter)
        self.lines = list(self._lines()) if letter.user else []

    def may_go(self):
        return self.letter.user.is_active and bool(self.lines)

    def title(self):
        if len(self.lines) == 1:
            return self.lines[0]["text"]
        return f"{len(self.lines)} news from MyCRM"

    def context(self):
        return {"lines": self.lines}

    def _lines(self):
        user = self.letter.user
        rows = list(self.letter.notifications.order_by("created_at", "id"))
        seen, actors = subjects_of(rows, user), actors_of(rows, user)
        for one in rows:
            subject = seen[one.subject_type].get(one.subject_id)
            if subject is None and one.count == 1:
                continue
            actor = actors.get(one.actor_id)
            yield {
                "text": SENTENCES.get(one.code, "{subject}").format(
                    actor=told(actor, "email") if actor else "Somebody",
                    subject=self._subject(one, subject),
                ),
                "at": one.at,
            }

    @staticmethod
    def _subject(one: Notification, subject: dict | None) -> str:
        if one.count > 1:
            return f"{one.count:,} records"
        model = subject_types()[one.subject_type]
        if model is Job:
            return subject["kind"].replace("_", " ")
        return f"the {model._meta.verbose_name} {told(subject)}".rstrip()


def told(summary: dict, *left_out: str) -> str:
    """The words of a summary in one line."""
    values = (v for name, v in summary.items() if name not in ("id", *left_out))
    return " ".join(v for v in values if isinstance(v, str) and v) or str(
        summary.get("email", "")
    )


# What the journal tells


class News:
    """What one transaction of a change set makes people to be told of."""

    def __init__(self, change_set: ChangeSet):
        self.change_set = change_set
        self.is_new = change_set._state.adding
        self.owners: dict = {}
        self.texts: list = []

    def copy(self) -> "News":
        other = copy(self)
        other.owners, other.texts = self.owners.copy(), self.texts.copy()
        return other

    @property
    def is_told(self) -> bool:
        """What the program does by itself, such as the demo's records, is no news."""
        source = self.change_set.source
        return bool(self.change_set.actor) and source != ChangeSet.Source.COMMAND

    def note(self, model, updates: Iterable[tuple]) -> None:
        """Keep in mind who owns what now, and which texts are new.

        Args:
            updates: as `Journaled.after_writes` has them.
        """
        if not self.is_told or model.is_personal or model.is_link:
            return
        names = ()
        # What was written long ago and is brought here is no word to anybody now.
        if self.change_set.source in (ChangeSet.Source.API, ChangeSet.Source.ADMIN):
            names = model.mention_fields
        for record, before in updates:
            old = (before or {}).get("owner")
            if before is None or "owner" in before:
                owner = record.owner_id
                if str(owner) != str(old):
                    self.owners[record.pk] = (model, owner)
            for name in names:
                text = getattr(record, name)
                if "@" in text and (before is None or name in before):
                    self.texts.append((record, name, text, (before or {}).get(name)))

    def tell(self) -> None:
        """Write the notifications, before the transaction commits."""
        if self.owners:
            self._tell_owners()
        if self.texts:
            from core.mentions import mentions

            rows = mentions(self.change_set.actor, self.texts)
            notify(
                self._row(user, Event.MENTION, "mentioned", type(record), record.pk)
                for user, record in rows
            )

    def _tell_owners(self) -> None:
        of_owner = defaultdict(list)
        actor = self.change_set.actor.pk
        for pk, (model, owner) in self.owners.items():
            if owner not in (None, actor):
                of_owner[owner].append((model, pk))
        if not of_owner:
            return
        summaries = {} if self.is_new else self._known_summaries()
        rows = []
        for owner, records in of_owner.items():
            if owner in summaries:
                summaries[owner].count += len(records)
            elif len(records) == 1:
                rows.append(self._row(owner, Event.ASSIGNMENT, "assigned", *records[0]))
            else:
                what = (ChangeSet, self.change_set.pk)
                row = self._row(owner, Event.ASSIGNMENT, "assigned", *what)
                row.count = len(records)
                rows.append(row)
        if summaries:
            Notification.objects.bulk_update(summaries.values(), ["count"])
        notify(rows, are_new=self.is_new)

    def _known_summaries(self) -> dict:
        """What an earlier chunk of this job told, by user."""
        rows = Notification.objects.filter(
            code="assigned", subject_id=self.change_set.pk
        )
        return {row.user_id: row for row in rows}

    def _row(self, user, event, code, model, pk) -> Notification:
        change_set = self.change_set
        return Notification(
            organization_id=change_set.organization_id,
            user_id=user,
            actor=change_set.actor,
            event=event,
            code=code,
            subject_type=model.record_type(),
            subject_id=pk,
            at=change_set.created_at,
        )
