"""Soft deletion of records with what hangs on them, and the way back.

A foreign key between record types says it with its `on_delete`. CASCADE: the record
hangs on the other and is deleted with it. SET_NULL: it stays, and the reference to what
is deleted is cleared. All of it is one change set, and from that set a restore knows
what to bring back: exactly that, or nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models
from django.utils import timezone
from rest_framework.exceptions import PermissionDenied

from core import access
from core.batches import batched
from core.exceptions import Conflict, StaleRecord
from core.models import Change, Changes, Record
from core.models.values import snapshot, to_json
from core.registry import record_types

CHUNK = 1000
SHOWN_BLOCKS = 100

# Records of several types, by their model and id.
ByType = dict[type[Record], dict]
# The ids that references had, by the model and field, and the id of the referring one.
Cleared = dict[tuple[type[Record], str], dict]


@lru_cache(maxsize=256)
def references_to(model: type[Record], on_delete=None) -> list[models.ForeignKey]:
    """The references of record types to this one; only those with this `on_delete`."""
    return [
        reference
        for other in record_types().values()
        for reference in references_of(other, on_delete)
        if reference.related_model is model
    ]


@lru_cache(maxsize=256)
def references_of(model: type[Record], on_delete=None) -> list[models.ForeignKey]:
    """The type's own references to record types."""
    return [
        f
        for f in model._meta.concrete_fields
        if f.is_relation
        and on_delete in (None, f.remote_field.on_delete)
        and issubclass(f.related_model, Record)
    ]


@dataclass
class Deletion:
    """What goes with some records: what hangs on them, and references to clear."""

    records: ByType = field(default_factory=lambda: defaultdict(dict))
    cleared: dict[tuple[type[Record], str], set] = field(default_factory=dict)

    def summary(self) -> dict:
        """How many records of which type go, and how many lose a reference."""
        cleared = Counter()
        for (model, _), ids in self.cleared.items():
            cleared[model.record_type()] += len(ids)
        return {"deleted": _counts(self.records), "cleared": dict(cleared)}


@dataclass
class Block:
    """Why a record cannot be restored; `by`: the id of what is in its way, if seen."""

    record: Record
    field: str | None
    code: str
    detail: str
    by: UUID | None = None

    def shown(self) -> dict:
        return {
            "record_type": self.record.record_type(),
            "record_id": self.record.pk,
            "field": self.field,
            "code": self.code,
            "detail": self.detail,
            "blocked_by": self.by,
        }


def planned(records: Iterable[Record]) -> Deletion:
    """All that a deletion of these live records would take, locked."""
    deletion = Deletion()
    _gather(records, deletion.records, _hanging)
    for model, found in tuple(deletion.records.items()):
        for reference in references_to(model, models.SET_NULL):
            other, name = reference.model, reference.name
            referring = {
                pk
                for ids in batched(found, CHUNK)
                for pk in other._base_manager.filter(
                    **{f"{name}__in": ids}
                ).values_list("pk", flat=True)
            }
            referring -= deletion.records.get(other, {}).keys()
            if referring:
                deletion.cleared[other, name] = referring
    return deletion


def delete(changes: Changes, records: Sequence[Record]) -> Deletion:
    """Delete records of any types, and all that hangs on them, in one change set.

    Raises:
        PermissionDenied: the actor may not delete all of it; it says how many.
        Conflict: the record itself does not allow it.
        StaleRecord: somebody changed one of the records since it was read.
    """
    for record in records:
        require_deletable(changes, record)
    records = [record for record in records if record.deleted_at is None]
    _require_current(changes, records)
    deletion = planned(records)
    _require_all(changes, deletion.records)
    # First what refers, so that a reader of the journal meets it before its reason.
    for (model, name), referring in deletion.cleared.items():
        for ids in batched(referring, CHUNK):
            _write(changes, model, _locked(model).filter(pk__in=ids), {name: None})
    moment = timezone.now()
    for model, found in deletion.records.items():
        _write(changes, model, found.values(), {"deleted_at": moment})
    return deletion


def require_deletable(changes: Changes, record: Record) -> None:
    """Raise where the actor may not delete the record, or it is not to be deleted."""
    changes.require(access.Verb.DELETE, record)
    if changes.actor:
        record.guard(changes.actor, {"deleted_at"})


def restore(changes: Changes, records: Sequence[Record]) -> ByType:
    """Bring deleted records back with exactly what was deleted with them.

    Raises:
        PermissionDenied: the actor may not restore all of it; it says how many.
        StaleRecord: somebody changed one of the records since it was read.
        Conflict: something blocks it, named in `conflicts`; nothing is restored.
    """
    for record in records:
        changes.require(access.Verb.DELETE, record)
    records = [record for record in records if record.deleted_at is not None]
    _require_current(changes, records)
    restored: ByType = defaultdict(dict)
    references: Cleared = defaultdict(dict)
    for change_set, roots in _deletions_of(records).items():
        taken: ByType = defaultdict(dict)
        _gather(roots, taken, partial(_taken_by, change_set))
        for model, found in taken.items():
            restored[model].update(found)
            if change_set:
                _add_cleared(change_set, model, found, references)
    _require_all(changes, restored)
    _refuse(list(_missing_parents(changes, restored)))
    _refuse(list(_taken_values(changes, restored)))
    try:
        with changes.attempt():
            for model, found in restored.items():
                _write(changes, model, found.values(), {"deleted_at": None})
    except IntegrityError:
        raise Conflict("A unique value was taken just now.", "unique") from None
    _refer_again(changes, references)
    return restored


def require_live(model: type[Record], records: Iterable[Record]) -> None:
    """Raise Conflict where records that were just written refer to a deleted one.

    What is referred to is locked: a deletion waits for this transaction, and then sees
    what hangs on its record. The database itself looks at references when it commits.
    """
    for reference in references_of(model):
        ids = {getattr(record, reference.attname) for record in records} - {None}
        others = reference.related_model._base_manager
        for some in batched(ids, CHUNK):
            rows = others.filter(pk__in=some).order_by("pk")
            rows = rows.select_for_update(no_key=True)
            if any(rows.values_list("deleted_at", flat=True)):
                name = reference.related_model._meta.verbose_name
                detail = f"The {name} was deleted in the meantime."
                error = {"field": reference.name, "code": "deleted", "detail": detail}
                raise Conflict(detail, "deleted", errors=[error])


def in_use(change_set, records: Sequence[Record]) -> Counter:
    """How many live records refer to each of these, by id.

    Not counted is what the change set made itself and nobody has changed since: an undo
    of the set takes it too.
    """
    used: Counter = Counter()
    by_type = defaultdict(list)
    for record in records:
        by_type[type(record)].append(record.pk)
    for model, ids in by_type.items():
        for reference in references_to(model):
            if reference.model.is_link:
                continue
            name = reference.name
            rows = reference.model._base_manager.filter(
                deleted_at=None, **{f"{name}__in": ids}
            )
            own = Change.objects.filter(
                change_set=change_set,
                record_id=models.OuterRef("pk"),
                version=models.OuterRef("version"),
            )
            rows = rows.exclude(models.Exists(own)).order_by()
            used.update(dict(rows.values_list(name).annotate(models.Count("pk"))))
    return used


def stays_deleted(reference: models.ForeignKey, ids: set, change_set) -> set:
    """Of the records referred to, the deleted ones that this set did not delete."""
    if not (ids := ids - {None}):
        return set()
    rows = reference.related_model._base_manager.filter(pk__in=ids)
    deleted = set(rows.filter(deleted_at__isnull=False).values_list("pk", flat=True))
    taken = Change.objects.filter(change_set=change_set, record_id__in=deleted)
    return deleted - set(taken.values_list("record_id", flat=True))


# Gathering


def _gather(roots: Iterable[Record], found: ByType, next_level) -> None:
    """Add the roots and all that `next_level` gives, level by level, to `found`."""
    waiting = defaultdict(list)
    for root in roots:
        waiting[type(root)].append(root)
    while waiting:
        model, records = waiting.popitem()
        new = {r.pk: r for r in records if r.pk not in found[model]}
        if not new:
            continue
        found[model].update(new)
        for reference in references_to(model, models.CASCADE):
            for ids in batched(new, CHUNK):
                waiting[reference.model] += next_level(reference, ids)


def _hanging(reference, ids) -> Iterable[Record]:
    hanging = {f"{reference.name}__in": ids}
    return _locked(reference.model).filter(deleted_at=None, **hanging)


def _taken_by(change_set, reference, ids) -> list[Record]:
    """Of the records that hang on these, those that the set deleted last."""
    hanging = {f"{reference.name}__in": ids}
    found = _locked(reference.model).filter(deleted_at__isnull=False, **hanging)
    records = {record.pk: record for record in found}
    deletions = Change.objects.filter(
        change_set=change_set, record_id__in=records, verb=Change.Verb.DELETE
    )
    return [
        records[pk]
        for pk, after in deletions.values_list("record_id", "after")
        if after["deleted_at"] == to_json(records[pk].deleted_at)
    ]


def _deletions_of(records: Sequence[Record]) -> dict:
    """The records by the id of the change set that deleted them last."""
    latest = {}
    for ids in batched({record.pk: record for record in records}, CHUNK):
        rows = Change.objects.filter(record_id__in=ids, verb=Change.Verb.DELETE)
        rows = rows.order_by("version").values_list("record_id", "change_set")
        latest.update(rows)
    by_set = defaultdict(list)
    for record in records:
        by_set[latest.get(record.pk)].append(record)
    return by_set


def _add_cleared(change_set, model, found: dict, references: Cleared) -> None:
    """Note which references to the found records the set cleared, by (model, field)."""
    for reference in references_to(model, models.SET_NULL):
        other, name = reference.model, reference.name
        rows = Change.objects.filter(
            change_set=change_set,
            record_type=other.record_type(),
            verb=Change.Verb.UPDATE,
            before__has_key=name,
        )
        ids = {str(pk): pk for pk in found}
        for pk, before in rows.values_list("record_id", "before").iterator():
            if before[name] in ids:
                references[other, name][pk] = ids[before[name]]


def _refer_again(changes: Changes, references: Cleared) -> None:
    """Put cleared references back, but for those that mean something else by now."""
    for (model, name), wanted in references.items():
        for ids in batched(wanted, CHUNK):
            updates = []
            for record in _locked(model).filter(pk__in=ids, **{name: None}):
                before = snapshot(record)
                record.organization = changes.change_set.organization
                setattr(record, f"{name}_id", wanted[record.pk])
                try:
                    record.clean()
                except ValidationError as error:
                    detail = " ".join(error.messages)
                    _refuse([Block(record, name, "invalid", detail)])
                updates.append((record, before))
            changes.bulk_update(model, updates)


def _locked(model) -> models.QuerySet:
    records = model._base_manager.select_for_update(of=("self",))
    return records.select_related(model.objects.all().owner_path).order_by("pk")


# Rights and rules


def _require_current(changes: Changes, records: Sequence[Record]) -> None:
    """Lock the records; raise StaleRecord where one is not as it was read."""
    by_type = defaultdict(dict)
    for record in records:
        by_type[type(record)][record.pk] = record.version
    for model, versions in by_type.items():
        stored = {}
        for ids in batched(versions, CHUNK):
            rows = model._base_manager.select_for_update(of=("self",)).order_by("pk")
            rows = rows.filter(
                pk__in=ids, organization=changes.change_set.organization_id
            )
            stored.update(rows.values_list("pk", "version"))
        if stored != versions:
            raise StaleRecord()


def _require_all(changes: Changes, found: ByType) -> None:
    if changes.actor is None:
        return
    refused = Counter()
    for model, records in found.items():
        refused[model] = sum(
            not access.reaches(changes.actor, record, access.Verb.DELETE)
            for record in records.values()
        )
    if refused.total():
        raise PermissionDenied(
            "Your role does not allow to delete or restore what hangs on it: "
            f"{_named(refused)}."
        )


def _missing_parents(changes: Changes, restored: ByType) -> Iterator[Block]:
    """Conflicts of records that hang on something that stays deleted."""
    for model, records in restored.items():
        for reference in references_of(model, models.CASCADE):
            parent_model = reference.related_model
            parents = {
                getattr(record, reference.attname) for record in records.values()
            } - {None, *restored.get(parent_model, ())}
            deleted = {
                parent.pk: parent
                for ids in batched(parents, CHUNK)
                for parent in parent_model._base_manager.filter(
                    pk__in=ids, deleted_at__isnull=False
                )
            }
            for record in records.values():
                parent = deleted.get(getattr(record, reference.attname))
                if parent:
                    name = parent_model._meta.verbose_name
                    yield Block(
                        record,
                        reference.name,
                        "parent_deleted",
                        f"The {name} that it hangs on is deleted. Restore that first.",
                        _shown_id(changes, parent),
                    )


def _taken_values(changes: Changes, restored: ByType) -> Iterator[Block]:
    """Conflicts of records whose unique values live records have by now."""
    for model, records in restored.items():
        for constraint in model._meta.constraints:
            names = [
                n for n in getattr(constraint, "fields", ()) if n != "organization"
            ]
            if not names:
                continue
            columns = [model._meta.get_field(name).attname for name in names]
            hidden = access.hidden_fields(changes.actor, model.record_type())
            is_hidden = not hidden.isdisjoint(names)
            shared = (
                "a value that is unique" if is_hidden else f"this {' and '.join(names)}"
            )
            wanted = {}
            for record in records.values():
                values = tuple(getattr(record, column) for column in columns)
                if all(value not in ("", None) for value in values):
                    wanted[values] = record
            for keys in batched(wanted, CHUNK):
                holders = _locked(model).filter(
                    organization=changes.change_set.organization_id,
                    deleted_at=None,
                    **{f"{columns[0]}__in": [key[0] for key in keys]},
                )
                for holder in holders:
                    values = tuple(getattr(holder, column) for column in columns)
                    if values in wanted and holder.pk not in records:
                        yield Block(
                            wanted[values],
                            None if is_hidden else names[0],
                            "unique",
                            f"Another {model._meta.verbose_name} has {shared}.",
                            _shown_id(changes, holder),
                        )


def _shown_id(changes: Changes, record: Record):
    """The record's id, if the actor may see it."""
    if changes.actor and not access.reaches(changes.actor, record, access.Verb.VIEW):
        return None
    return record.pk


def _refuse(blocks: list[Block]) -> None:
    """Raise Conflict, naming what blocks the restoration, if anything does."""
    if not blocks:
        return
    first = blocks[0]
    shown = [block.shown() for block in blocks[:SHOWN_BLOCKS]]
    raise Conflict(
        f"Nothing is restored. {first.detail}",
        first.code,
        errors=[
            {key: one[key] for key in ("field", "code", "detail")} for one in shown
        ],
        conflicts=shown,
        conflict_count=len(blocks),
    )


# Writing


def _write(changes: Changes, model, records: Iterable[Record], values: dict) -> None:
    for chunk in batched(records, CHUNK):
        changes.bulk_set(model, chunk, **values)


def _counts(found: ByType) -> dict[str, int]:
    return {model.record_type(): len(records) for model, records in found.items()}


def _named(counts: Counter) -> str:
    return ", ".join(
        f"{count} {m._meta.verbose_name if count == 1 else m._meta.verbose_name_plural}"
        for m, count in counts.items()
        if count
    )
