"""Undo: a change set that takes another one back, record by record.

What the set did to a record is one net change, before and after, field by field. A
field that is still as the set left it goes back to what it was before. A field that is
so already is left; one that was changed since is left too, and reported as a conflict.
An undo is a change set itself: undoing it is redo.
"""

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.utils import timezone
from rest_framework.exceptions import APIException

from core import access, deletion
from core.custom_fields.definitions import MISSING, gathered, narrowed, spread
from core.exceptions import Conflict
from core.field_rights import CUSTOM, PREFIX
from core.jobs import JobFailed, JobHandler, handles, submit
from core.models import Change, Changes, ChangeSet, Job, JobError, Journaled, Record
from core.models.values import Update, from_json, snapshot, to_json
from core.origin import kept_origin
from core.problems import violated_constraint
from core.registry import journaled_types
from core.retention import require_kept

KIND = "undo"
BATCH_RECORDS = 1000
# Up to this many changes are undone while the caller waits; more are a job.
AT_ONCE = 200
NOT_ALLOWED = "Your role does not allow to change it."


@dataclass(frozen=True)
class Leftover:
    """Why a record, or a field of it, was left as it is."""

    record_type: str
    record_id: str
    code: str
    detail: str
    field: str | None = None


@dataclass
class NetChange:
    """All that a change set did to one record; each custom field is one by itself."""

    record_type: str
    record_id: UUID
    created: bool = False
    last: int = 0  # the version that the set left
    before: dict = field(default_factory=dict)
    after: dict = field(default_factory=dict)

    def add(self, change: Change) -> None:
        self.created = self.created or change.verb == Change.Verb.CREATE
        self.last = change.version
        if change.before is None:
            return
        before, after = narrowed(change.before or {}, change.after or {})
        for name, value in spread(before, after).items():
            self.before.setdefault(name, value)
        self.after.update(spread(after, before))


@dataclass
class Batch:
    """The outcome of some of a set's records; `last`: where the next batch begins."""

    undone: int = 0
    conflicts: list[Leftover] = field(default_factory=list)
    last: str | None = None
    actor: object = None

    def report(self, net: NetChange, code: str, detail: str, field=None) -> None:
        """Note a conflict; a field that the actor does not see has no name."""
        hidden = field in access.hidden_fields(self.actor, net.record_type)
        name = None if hidden else field
        leftover = Leftover(net.record_type, str(net.record_id), code, detail, name)
        if not (hidden and leftover in self.conflicts):
            self.conflicts.append(leftover)


def undo_batch(
    change_set: ChangeSet, changes: Changes, after=None, limit=BATCH_RECORDS
) -> Batch:
    """Undo the next records of a change set, in the order of their ids.

    Args:
        changes: of the undo, whose actor's rights count.
        after: the id of the last record of the batch before.

    Raises:
        Conflict: what the set changed is no longer kept.
    """
    net_changes, last = _net_changes(change_set, after, limit)
    batch = Batch(last=last, actor=changes.actor)
    by_type = defaultdict(dict)
    for record_id, net in net_changes.items():
        by_type[net.record_type][record_id] = net
    for record_type, nets in by_type.items():
        model = journaled_types()[record_type]
        nets = _uncreate_untouched(model, nets, change_set, changes, batch)
        if not nets:
            continue
        records = model._base_manager.select_for_update(of=("self",))
        if issubclass(model, Record):
            # Whose it is decides who may change it.
            records = records.select_related(model.objects.all().owner_path)
        records = records.in_bulk(nets)
        edits = _other_edits(records, nets, change_set)
        owners = _former_owners(nets)
        updates = [
            update
            for record_id, net in nets.items()
            if (
                update := _taken_back(
                    records.get(record_id),
                    net,
                    edits.get(record_id, {}),
                    owners,
                    changes,
                    batch,
                )
            )
        ]
        updates = _without_used(updates, change_set, batch)
        updates = _without_orphans(model, updates, change_set, batch)
        _write(model, updates, changes, batch)
    require_kept(change_set)
    return batch


def _uncreate_untouched(
    model, nets: dict, change_set, changes: Changes, batch: Batch
) -> dict:
    """Delete what the set made and nobody has touched since, by sets of rows.

    Of those nothing but the version needs to be looked at: an import is undone by it.

    Returns:
        The net changes that it left.
    """
    created = [pk for pk, net in nets.items() if net.created]
    if not created or model.uncreated is not Record.uncreated:
        return nets
    verbs = (access.Verb.VIEW, access.Verb.DELETE)
    records, left = [], dict(nets)
    for record in _untouched(model, created, changes.actor, verbs):
        net = nets[record.pk]
        if record.version != net.last:
            continue
        del left[record.pk]
        if all(_may(changes.actor, record, verb, net, batch) for verb in verbs):
            records.append(record)
    used = _report_used(records, change_set, batch)
    going = [record for record in records if not used[record.pk]]
    if going:
        changes.bulk_set(model, going, deleted_at=timezone.now())
    batch.undone += len(going)
    return left


def _untouched(model, ids, actor, verbs):
    """The live ones of these records, locked, with what tells whose they are."""
    rows = model.objects.live().filter(pk__in=ids).order_by("pk")
    rows = rows.select_for_update(of=("self",))
    names = ["version", "deleted_at", "organization"]
    record_type = model.record_type()
    if actor and any(
        access.scope_of(actor, record_type, verb) != access.Scope.ALL for verb in verbs
    ):
        path = rows.owner_path.split("__")
        names += ["__".join(path[: n + 1]) for n in range(len(path))]
        rows = rows.select_related(rows.owner_path)
    return rows.only(*names)


def _report_used(records, change_set, batch: Batch):
    """Report those that live records refer to; how many do, by id."""
    used = deletion.in_use(change_set, records)
    for record in records:
        if count := used[record.pk]:
            net = NetChange(record.record_type(), record.pk)
            batch.report(net, "in_use", f"Live records refer to it: {count}.")
    return used


def _without_used(updates: list[Update], change_set, batch: Batch) -> list[Update]:
    """Leave what others came to refer to since the set made it."""
    going = [
        record
        for record, before in updates
        if before.get("deleted_at", True) is None and record.deleted_at
    ]
    used = _report_used(going, change_set, batch)
    return [update for update in updates if not used[update[0].pk]]


def _without_orphans(model, updates, change_set, batch: Batch) -> list[Update]:
    """Leave what would hang on, or refer to, a record that stays deleted."""
    orphans = set()
    for reference in deletion.references_of(model, None):
        rows = [record for record, _ in updates if record.deleted_at is None]
        gone = deletion.stays_deleted(
            reference, {getattr(r, reference.attname) for r in rows}, change_set
        )
        for record in rows:
            if getattr(record, reference.attname) in gone:
                net = NetChange(model.record_type(), record.pk)
                detail = "It refers to a deleted record. Restore that first."
                batch.report(net, "parent_deleted", detail, reference.name)
                orphans.add(record.pk)
    return [update for update in updates if update[0].pk not in orphans]


def _net_changes(change_set, after, limit) -> tuple[dict, str | None]:
    """The net changes of the next `limit` records, and where the next batch begins."""
    rows = change_set.changes.order_by("record_id")
    if after:
        rows = rows.filter(record_id__gt=after)
    ids = rows.values_list("record_id", flat=True).distinct()
    ids = list(ids[: limit + 1])
    nets: dict = {}
    if ids:
        # By where they end: a cursor of the database that is left in the midst of it
        # is not to be had through PgBouncer, which would send all that follows.
        last = ids[:limit][-1]
        for change in rows.filter(record_id__lte=last).order_by("record_id", "id"):
            net = NetChange(change.record_type, change.record_id)
            nets.setdefault(change.record_id, net).add(change)
    return nets, str(last) if len(ids) > limit else None


def _other_edits(records: dict, nets: dict, change_set: ChangeSet) -> dict:
    """What others did to records that the set created: net, by record and field."""
    edited = [
        pk
        for pk, r in records.items()
        if nets[pk].created and r.version > nets[pk].last
    ]
    edits: dict = defaultdict(dict)
    rows = Change.objects.filter(record_id__in=edited).exclude(change_set=change_set)
    for change in rows.order_by("version"):
        after = spread(change.after, change.before)
        for name, value in spread(change.before, change.after).items():
            first, _ = edits[change.record_id].get(name, (value, None))
            edits[change.record_id][name] = (first, after[name])
    return edits


def _former_owners(nets: dict) -> dict[str, object]:
    """Those who get records back, by id: the rights ask each record for its owner."""
    ids = {net.before.get("owner") for net in nets.values()} - {None}
    users = get_user_model().objects.filter(pk__in=ids) if ids else ()
    return {str(user.pk): user for user in users}


def _taken_back(
    record: Journaled | None,
    net: NetChange,
    edits: dict,
    owners: dict[str, object],
    changes: Changes,
    batch: Batch,
) -> Update | None:
    """Put a record back in memory; None where there is nothing to write."""
    if record is None:
        batch.report(net, "gone", "The record is not there any more.")
        return None
    # First, for of what somebody does not see nothing more is said.
    if not _may(changes.actor, record, access.Verb.VIEW, net, batch):
        return None
    record.organization = changes.change_set.organization
    before = snapshot(record)
    if net.created:
        wanted = _uncreated(record, before, net, edits, batch)
    else:
        wanted = _unchanged(record, before, net, batch)
    if not wanted:
        return None
    rights = access.field_rights(changes.actor, net.record_type)
    refused = rights.refused(before, {**before, **gathered(wanted, before)})
    for name in sorted(refused):
        batch.report(net, "permission_denied", NOT_ALLOWED, name)
        wanted = {
            n: v
            for n, v in wanted.items()
            if n != name and not n.startswith(f"{name}.")
        }
    if not wanted:
        return None
    wanted = gathered(wanted, before)
    verb = access.Verb.DELETE if "deleted_at" in wanted else access.Verb.EDIT
    if not _may(changes.actor, record, verb, net, batch):
        return None
    for name, value in wanted.items():
        model_field = record._meta.get_field(name)
        setattr(record, model_field.attname, from_json(model_field, value))
    if wanted.get("owner") in owners:
        record.owner = owners[wanted["owner"]]
    if CUSTOM in wanted:
        # They stood there before: an archived field too gets its value back.
        record.accept_custom_fields()
    try:
        changes.require_change(record, set(wanted), before)
        record.clean()
    except APIException as refusal:
        batch.report(net, refusal.detail.code, str(refusal.detail))
        return None
    except ValidationError as error:
        batch.report(net, "invalid", " ".join(error.messages))
        return None
    return record, before


def _may(actor, record: Journaled, verb: str, net: NetChange, batch: Batch) -> bool:
    """Whether the actor, if there is one, may do this; if not, it is reported."""
    allowed = actor is None or access.reaches(actor, record, verb)
    if not allowed and not net.created:
        mover = record.moved_with(set(net.before))
        allowed = mover and access.reaches(actor, mover, access.Verb.EDIT)
    if not allowed:
        batch.report(net, "permission_denied", NOT_ALLOWED)
    return allowed


def _uncreated(record, current: dict, net: NetChange, edits: dict, batch) -> dict:
    wanted = record.uncreated()
    if wanted is None:
        batch.report(net, "not_deletable", "A record of this type is never deleted.")
        return {}
    wanted = {n: to_json(v) for n, v in wanted.items() if to_json(v) != current[n]}
    edited = [name for name, (first, last) in edits.items() if first != last]
    if wanted and edited:
        for name in edited:
            batch.report(net, "edited_since", "Changed since it was made.", name)
        return {}
    return wanted


def _unchanged(record, current: dict, net: NetChange, batch: Batch) -> dict:
    edited = record.version > net.last
    if edited and current.get("deleted_at") and "deleted_at" not in net.before:
        batch.report(net, "deleted_since", "The record was deleted since.")
        return {}
    wanted = {}
    current = spread(current)
    for name, value in net.before.items():
        now = current.get(name, MISSING)
        if now == value or _is_derived(record, name):
            continue
        if now == net.after[name]:
            wanted[name] = value
        else:
            batch.report(net, "edited_since", "Changed by somebody since.", name)
    return wanted


def _is_derived(record: Journaled, name: str) -> bool:
    """Whether the program works the field out, which `clean` does anew."""
    if name in record.undone_fields or name.startswith(PREFIX):
        return False
    return not record._meta.get_field(name).editable


def _write(model, updates: list[Update], changes: Changes, batch: Batch) -> None:
    refused = changes.update_possible(model, updates)
    batch.undone += len(updates) - len(refused)
    for (record, _), error in refused:
        net = NetChange(model.record_type(), record.pk)
        if violated_constraint(error, model):
            # A unique value was taken in the meantime.
            batch.report(net, "unique", "Another record has its unique value now.")
        else:
            batch.report(net, "conflict", "The database does not allow it.")


# A whole set, at once or as a job


def undo(
    change_set: ChangeSet, actor, *, partial=False, trial=False, **attributes
) -> dict:
    """Undo a change set in this transaction.

    Args:
        partial: undo what can be undone, and report the rest.
        trial: only say what would happen.
        attributes: of the new change set: `reason` and its origin.

    Raises:
        Conflict: something cannot be undone, and `partial` is false.
    """
    made = _new_change_set(change_set, actor, **attributes)
    with made.writing(trial) as changes:
        batch = undo_batch(change_set, changes, limit=AT_ONCE)
        if batch.conflicts and not partial:
            raise Conflict(
                "Some of it was changed since. Ask for `partial` to undo the rest.",
                "undo_conflict",
                conflicts=[asdict(leftover) for leftover in batch.conflicts],
            )
        if not changes.touched and change_set.is_undone():
            raise Conflict("This change set is undone already.", "already_undone")
    return {
        "change_set": made.pk if changes.touched and not trial else None,
        "undone": batch.undone,
        "conflicts": [asdict(leftover) for leftover in batch.conflicts],
    }


def require_undoable(change_set: ChangeSet) -> None:
    """Raise Conflict where a set is being written or undone, or no longer kept."""
    require_kept(change_set)
    if change_set.jobs.filter(status__in=Job.ACTIVE).exists():
        raise Conflict("The job that writes this change set still runs.", "running")
    undos = Job.objects.filter(kind=KIND, params__change_set=str(change_set.pk))
    if undos.filter(status__in=Job.ACTIVE).exists():
        raise Conflict("This change set is being undone.", "running")


def start(change_set: ChangeSet, actor, **params) -> Job:
    """Submit an undo as a job; `params`: partial, dry_run, reason, origin."""
    return submit(
        Job(
            organization=change_set.organization,
            owner=actor,
            kind=KIND,
            params={"change_set": str(change_set.pk), **params},
            counts={"undone": 0, "conflicts": 0},
        )
    )


@handles(KIND)
class UndoHandler(JobHandler):
    """Tries the whole first where conflicts forbid it, then does it, batch by batch."""

    def __init__(self, job):
        self.change_set = ChangeSet.objects.filter(pk=job.params["change_set"]).first()

    def step(self, job):
        if self.change_set is None:
            raise JobFailed("erased", "The change set is no longer kept.")
        if job.total is None:
            records = self.change_set.changes.order_by().values("record_id")
            job.total = records.distinct().count()
            job.state = {"trial": not job.params["partial"] or job.params["dry_run"]}
        trial = job.state["trial"]
        batch = self._batch(job, trial)
        job.state["after"] = batch.last
        job.counts["undone"] += batch.undone
        job.counts["conflicts"] += len(batch.conflicts)
        job.done = min(job.done + BATCH_RECORDS, job.total)
        JobError.objects.bulk_create(
            JobError(
                job=job,
                code=leftover.code,
                message=leftover.detail,
                column=leftover.field or "",
                row={"record_type": leftover.record_type, "id": leftover.record_id},
            )
            for leftover in batch.conflicts
        )
        if batch.last is not None:
            return False
        if not trial or job.params["dry_run"]:
            return True
        if job.counts["conflicts"]:
            job.status = Job.Status.FAILED
            job.counts["undone"] = 0
            job.error = {
                "code": "undo_conflict",
                "detail": "Some of it was changed since; nothing was undone.",
                "line": None,
            }
            return False
        job.state = {"trial": False, "after": None}
        job.counts = {"undone": 0, "conflicts": 0}
        job.done = 0
        return False

    def _batch(self, job: Job, trial: bool) -> Batch:
        made = job.change_set or _new_change_set(
            self.change_set,
            job.owner,
            reason=job.params.get("reason", ""),
            **kept_origin(job.params),
        )
        try:
            with made.writing(trial) as changes:
                batch = undo_batch(self.change_set, changes, job.state.get("after"))
        except Conflict as conflict:
            raise JobFailed(conflict.detail.code, str(conflict.detail)) from conflict
        if changes.touched and not trial:
            job.change_set = made
        return batch


def _new_change_set(change_set, actor, **attributes) -> ChangeSet:
    return ChangeSet(
        organization_id=change_set.organization_id,
        actor=actor,
        source=ChangeSet.Source.UNDO,
        undoes=change_set,
        **attributes,
    )
