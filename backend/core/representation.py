"""How records become JSON: from plain rows, without a serializer object for each."""

from collections.abc import Iterable, Sequence

from django.db.models import Field, ForeignKey, Model, QuerySet

from core import access
from core.field_rights import CUSTOM, without_keys


def field_of(model: type[Model], name: str) -> Field:
    """The field of a name, which need not be a column."""
    computed = getattr(model, "computed_fields", {})
    return computed.get(name) or model._meta.get_field(name)


class Representation:
    """The fields of a model that the API shows, as columns to select.

    A relation shows as the id of the other record, or, expanded, as its summary.
    """

    def __init__(
        self,
        model: type[Model],
        names: Iterable[str],
        hidden_keys: frozenset[str] = frozenset(),
    ):
        """`hidden_keys`: entries of the custom fields that are left out."""
        self.hidden_keys = hidden_keys
        self.fields = {name: field_of(model, name) for name in names}
        self.relations = {
            name: field.related_model
            for name, field in self.fields.items()
            if isinstance(field, ForeignKey)
        }

    def rows(
        self, queryset: QuerySet, names: Sequence[str], extra: Sequence[str] = ()
    ) -> list[tuple[dict, tuple]]:
        """One (answer, values of the extra columns) for each row of the queryset."""
        columns = [self.fields[name].attname for name in names]
        width = len(names)
        rows = [
            (dict(zip(names, row, strict=False)), row[width:])
            for row in queryset.values_list(*columns, *extra)
        ]
        if self.hidden_keys and CUSTOM in names:
            for answer, _ in rows:
                answer[CUSTOM] = without_keys(answer[CUSTOM], self.hidden_keys)
        return rows

    def of(self, record: Model, names: Sequence[str]) -> dict:
        answer = {name: getattr(record, self.fields[name].attname) for name in names}
        if self.hidden_keys and CUSTOM in names:
            answer[CUSTOM] = without_keys(answer[CUSTOM], self.hidden_keys)
        return answer

    def expand(self, answers: list[dict], relations: Iterable[str], user) -> None:
        """Put summaries in the place of ids; null where the user may not see it.

        One query for each relation, however many rows there are.
        """
        for name in relations:
            ids = {answer[name] for answer in answers} - {None}
            found = summaries(self.relations[name], ids, user)
            for answer in answers:
                answer[name] = found.get(answer[name])


def summaries(model: type[Model], ids: Iterable, user) -> dict:
    """What the user sees of the summaries of these rows, by id."""
    visible = model.objects.visible_to(user).filter(pk__in=ids)
    hidden = access.hidden_fields(user, model.record_type())
    shown = [name for name in model.summary_fields if name not in hidden]
    return {summary["id"]: summary for summary in visible.values(*shown)}
