"""The timeline of a record: its changes, and what happened with it, read as one.

What happens are records of other types that refer to it, and rows of the program's
logs. A type says by `happens_at` which of its fields tells the moment; a log also who
sees its rows, by `record_type` and `visible_to`.
"""

from dataclasses import dataclass
from functools import lru_cache

from django.apps import apps
from django.db.models import ForeignKey, Model, Q
from rest_framework import serializers

from core import access, history, merging
from core.merging import Place, Stream
from core.models import Change, Record
from core.representation import Representation

CHANGE = "change"


class TimelineEntrySerializer(serializers.Serializer):
    """The OpenAPI shape of an entry."""

    kind = serializers.CharField(help_text="`change`, or the type of a record.")
    at = serializers.DateTimeField()
    change = history.EntrySerializer(allow_null=True)
    record = serializers.DictField(
        allow_null=True, help_text="What happened, with its fields."
    )


@lru_cache(maxsize=64)
def happenings_of(model: type[Record]) -> dict[type[Model], list[ForeignKey]]:
    """The types whose rows stand in this type's timelines, and their references."""
    found: dict = {}
    for other in apps.get_models():
        if getattr(other, "happens_at", None):
            fields = other._meta.concrete_fields
            references = [f for f in fields if f.related_model is model]
            if references:
                found[other] = references
    return found


def kinds(model: type[Record]) -> tuple[str, ...]:
    return CHANGE, *(other.record_type() for other in happenings_of(model))


@lru_cache(maxsize=256)
def representation_of(
    model: type[Model], hidden: frozenset, keys: frozenset
) -> Representation:
    left_out = {"organization", *getattr(model, "unjournaled", ())}
    names = [f.name for f in model._meta.concrete_fields if f.name not in left_out]
    return Representation(model, [n for n in names if n not in hidden], keys)


@dataclass(frozen=True)
class Timeline:
    """What somebody sees of the timeline of a record that they see.

    Args:
        kind: of `kinds`; None for all.
    """

    record: Record
    user: object
    kind: str | None = None

    def page(self, request) -> dict:
        return merging.page(request, self._streams(), self._entries)

    def newest(self, count: int) -> list[dict]:
        return self._entries(merging.places(self._streams(), count))

    def _streams(self) -> list[Stream]:
        found = [Stream(history.changes_of(self.record))]
        for model, references in happenings_of(type(self.record)).items():
            hidden = access.hidden_fields(self.user, model.record_type())
            shown = [r.name for r in references if r.name not in hidden]
            rows = model.objects.none()
            if shown and model.happens_at not in hidden:
                about = Q.create([(n, self.record.pk) for n in shown], Q.OR)
                rows = model.objects.visible_to(self.user).filter(about)
            found.append(Stream(rows, model.happens_at))
        return [
            stream if self.kind in (None, kind) else Stream(stream.rows.none())
            for kind, stream in zip(kinds(type(self.record)), found, strict=True)
        ]

    def _entries(self, places: list[Place]) -> list[dict]:
        names = kinds(type(self.record))
        models = (Change, *happenings_of(type(self.record)))
        shown: dict = {}
        for number, model in enumerate(models):
            ids = [pk for _, at, pk in places if at == number]
            if ids:
                told = self._changes(ids) if model is Change else self._told(model, ids)
                shown.update({(number, pk): entry for pk, entry in told})
        blank = {"change": None, "record": None}
        return [
            {"kind": names[number], "at": at, **blank, **shown[number, pk]}
            for at, number, pk in places
            if (number, pk) in shown
        ]

    def _changes(self, ids):
        rows = history.changes_of(self.record).filter(pk__in=ids)
        for change in rows:
            entry = history.entry(change, self.record, self.user)
            yield change.pk, {"change": entry}

    def _told(self, model, ids):
        rights = access.field_rights(self.user, model.record_type())
        shape = representation_of(model, rights.hidden, rights.hidden_keys)
        rows = model.objects.visible_to(self.user).filter(pk__in=ids)
        for answer, (pk,) in shape.rows(rows, tuple(shape.fields), ("pk",)):
            yield pk, {"record": answer}
