"""Which record of the organization a row of a file means."""

from collections import defaultdict
from collections.abc import Sequence

from django.db import models
from django.db.models.fields.json import KeyTransform

from core.importing.drafts import Draft
from core.importing.options import EXTERNAL_IDS, Mode, Options
from core.models import Record


class Matcher:
    """Finds the live record that a draft means.

    If nothing else is asked it is the one that agrees with the draft on the first group
    of the type's `import_match` that the row fills. `match` asks for the one with the
    row's own id, or its id in another system.
    """

    def __init__(self, user, model: type[Record], options: Options) -> None:
        self.user = user
        self.organization = user.organization
        self.model = model
        self.options = options

    def identity(self, draft: Draft) -> tuple | None:
        """What is equal for drafts that mean the same record; None for a new one."""
        if self.options.match == "id":
            return ("id", str(draft.wanted)) if draft.wanted else None
        return self._identity(draft.record)

    def existing(self, drafts: Sequence[Draft]) -> dict[tuple, list[Record]]:
        """The records that the drafts mean, by identity; one query for each kind."""
        if self.options.match == "id":
            ids = {draft.wanted for draft in drafts if draft.wanted}
            records = self._seen().filter(pk__in=ids) if ids else ()
            return {("id", str(record.pk)): [self._own(record)] for record in records}
        if source := self.options.source:
            return self._with_external_id(drafts, source)
        return self._alike(drafts)

    def _identity(self, record: Record) -> tuple | None:
        if source := self.options.source:
            value = record.external_ids.get(source)
            return (EXTERNAL_IDS, source, value) if value else None
        for number, names in enumerate(self.model.import_match):
            values = tuple(getattr(record, name) for name in names)
            if any(values):
                return (number, values)
        return None

    def _with_external_id(self, drafts, source: str) -> dict[tuple, list[Record]]:
        ids = {d.record.external_ids.get(source) for d in drafts} - {None}
        found = defaultdict(list)
        if ids:
            id_there = KeyTransform(source, EXTERNAL_IDS)
            records = self._seen().annotate(id_there=id_there).filter(id_there__in=ids)
            for record in records:
                found[self._identity(record)].append(self._own(record))
        return found

    def _alike(self, drafts: Sequence[Draft]) -> dict[tuple, list[Record]]:
        wanted = defaultdict(set)
        for draft in drafts:
            for number, names in enumerate(self.model.import_match):
                lead = next((n for n in names if getattr(draft.record, n)), None)
                if lead:
                    wanted[number, lead].add(getattr(draft.record, lead))
                    break
        found: dict[tuple, list[Record]] = {}
        for (number, lead), values in wanted.items():
            names = self.model.import_match[number]
            before = [n for names in self.model.import_match[:number] for n in names]
            before += names[: names.index(lead)]
            blank = dict.fromkeys(before, "")
            records = self._candidates(names).filter(**{f"{lead}__in": values}, **blank)
            for record in records:
                # Of several people with the same name the first stands for all.
                found.setdefault(self._identity(record), [self._own(record)])
        return found

    def _candidates(self, names: tuple[str, ...]) -> models.QuerySet:
        """Records that a row can mean: those seen; for unique values, all there are."""
        unique = any(
            set(names) == set(getattr(c, "fields", ())) - {"organization"}
            for c in self.model._meta.constraints
        )
        if unique:
            records = self.model.objects.filter(organization=self.organization).live()
            return self._for_writing(records)
        return self._seen()

    def _seen(self) -> models.QuerySet:
        return self._for_writing(self.model.objects.visible_to(self.user))

    def _for_writing(self, records: models.QuerySet) -> models.QuerySet:
        if self.options.mode != Mode.CREATE:
            records = records.select_for_update(of=("self",))
        return records.select_related("owner")

    def _own(self, record: Record) -> Record:
        record.organization = self.organization
        return record
