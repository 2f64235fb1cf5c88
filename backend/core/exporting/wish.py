"""What an export is asked for, as far as its owner's rights of now let it come."""

from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from rest_framework.exceptions import ValidationError

from core import access, saved_filters
from core.exceptions import bad_parameter
from core.exporting import vcard
from core.exporting.columns import columns_of, is_object, keys_of
from core.exporting.formats import Csv, Format, VCards
from core.field_rights import CUSTOM
from core.filters import ordering_of
from core.pagination import Cursor, rows_from
from core.registry import record_types

# A list's parameters that are about its rows, and about their shape.
ROWS = (*saved_filters.KNOWN, "deleted")
SHAPE = ("fields", "ordering")
CHUNK_ROWS = 1000

# Where the next chunk begins: what the last row is ordered by, or a number of ids.
Place = list | int | None


@dataclass(frozen=True)
class Wish:
    """The words of a request, as a job keeps them.

    Attributes:
        filters: the list's own parameters.
        fields: of the list; None for all.
        ordering: as of the list; blank for the list's own.
        version: of vCards.
        ids: the records alone, where they were chosen one by one.
    """

    record_type: str
    format: str
    filters: dict
    fields: list[str] | None = None
    ordering: str = ""
    version: str = vcard.VERSIONS[0]
    ids: list[str] | None = None

    @property
    def is_of_everything(self) -> bool:
        return self.ids is None and not self.filters.keys() - {"deleted"}


class Export:
    """A wish, in the name of a user: what they see of it, and may take with them.

    Raises:
        PermissionDenied: they may not export records of this type.
        ValidationError: with what is wrong in the wish.
    """

    def __init__(self, user, wish: Wish):
        self.user, self.wish = user, wish
        self.model = record_types()[wish.record_type]
        for verb in (access.Verb.VIEW, access.Verb.EXPORT):
            access.require_some(user, wish.record_type, verb)
        if wish.format == Format.VCARD and not self.model.vcard:
            detail = f"A {self.model._meta.verbose_name} is no vCard."
            raise bad_parameter("format", detail, "not_offered")
        try:
            for name in wish.filters.keys() & set(SHAPE):
                raise bad_parameter(name, "Unknown parameter.", "unknown_parameter")
            self.view = saved_filters.view_with(
                self.model, {**wish.filters, **self._shape()}, user, (*ROWS, *SHAPE)
            )
            seen = self.view.filter_queryset(self.view.get_listed())
        except ValidationError as error:
            raise ValidationError({"filters": error.detail}) from None
        taken = seen.within(user, access.Verb.EXPORT)
        ordering = ordering_of(self.view.request, self.view)
        self.queryset, self.ordering = self.view.ordered(taken, ordering)
        self.names = self._names()

    def _shape(self) -> dict:
        shape = {}
        if self.wish.fields is not None:
            shape["fields"] = ",".join(self.wish.fields)
        if self.wish.ordering:
            shape["ordering"] = self.wish.ordering
        return shape

    def _names(self) -> list[str]:
        """The fields that the file is made from."""
        asked = self.view.asked_fields
        if self.wish.format != Format.VCARD:
            return list(asked)
        told = vcard.fields_of(self.model.vcard)
        return [
            "id",
            *(n for n in told if n in asked),
            *{"updated_at"}.intersection(asked),
        ]

    @cached_property
    def relations(self) -> list[str]:
        return [
            name for name in self.names if name in self.view.representation.relations
        ]

    @property
    def rights(self) -> dict[str, str]:
        """What the file comes from; who may not do all of it may not have the file."""
        related = self.view.representation.relations
        types = {self.wish.record_type}
        types |= {related[name].record_type() for name in self.relations}
        seen = {name: access.visibility_key(self.user, name) for name in types}
        taken = access.reach_key(self.user, self.wish.record_type, access.Verb.EXPORT)
        return {**seen, access.Verb.EXPORT.value: taken}

    def keys(self) -> dict[str, list[str]]:
        """The keys of the objects among the fields; each becomes a column.

        Of custom fields those that are defined, in their order, and then others.
        """
        if self.wish.format == Format.VCARD:
            return {}
        rows = self.rows_of(self.wish.ids)
        hidden = self.view.representation.hidden_keys
        found = {
            name: keys_of(rows, name, hidden)
            for name in self.names
            if is_object(name, self.view.representation.fields[name])
        }
        if CUSTOM in found:
            keys = dict.fromkeys([*self.view.custom_fields, *found[CUSTOM]])
            found[CUSTOM] = list(keys)
        return found

    def columns(self, keys: dict[str, list[str]]):
        return columns_of(self.view, self.names, keys)

    def text_format(self, keys: dict[str, list[str]]) -> Csv | VCards:
        if self.wish.format == Format.VCARD:
            return VCards(self.model.vcard, self.wish.version)
        return Csv(self.columns(keys))

    def rows_of(self, ids: list[str] | None):
        return self.queryset if ids is None else self.queryset.filter(pk__in=ids)

    def count(self) -> int:
        return self.rows_of(self.wish.ids).order_by().count()

    def after(self, place: Place) -> tuple[list[dict], Place]:
        """The next rows, and the place behind them: None where no more come."""
        if self.wish.ids is not None:
            return self._by_id(place or 0)
        cursor = Cursor(place, backwards=False) if place else None
        rows = rows_from(cursor, self.queryset, self.ordering, self._select, CHUNK_ROWS)
        answers = self._expanded([answer for answer, _ in rows])
        ended = len(rows) < CHUNK_ROWS
        return answers, None if ended else list(rows[-1][1])

    def _select(self, page, columns) -> list:
        return self.view.representation.rows(page, self.names, columns)

    def _by_id(self, place: int) -> tuple[list[dict], Place]:
        ids = [UUID(pk) for pk in self.wish.ids[place : place + CHUNK_ROWS]]
        page = self.rows_of(ids).order_by("pk")
        rows = self.view.representation.rows(page, self.names)
        answers = self._expanded([answer for answer, _ in rows])
        place += CHUNK_ROWS
        return answers, place if place < len(self.wish.ids) else None

    def _expanded(self, answers: list[dict]) -> list[dict]:
        self.view.representation.expand(answers, self.relations, self.user)
        return answers


def may_have(user, rights: dict[str, str], wish: Wish) -> bool:
    """Whether a user may do now all that a file came from."""
    try:
        now = Export(user, wish).rights
    except (access.PermissionDenied, ValidationError):
        return False
    return all(now.get(name) in ("all", key) for name, key in rights.items())
