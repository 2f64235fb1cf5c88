"""How records become JSON: from plain rows, without a serializer object for each."""

from collections.abc import Iterable, Sequence

from django.db.models import ForeignKey, Model, QuerySet


class Representation:
    """The fields of a model that the API shows, as columns to select.

    A relation shows as the id of the other record, or, expanded, as its summary.
    """

    def __init__(self, model: type[Model], names: Iterable[str]):
        self.fields = {name: model._meta.get_field(name) for name in names}
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
        return [
            (dict(zip(names, row, strict=False)), row[width:])
            for row in queryset.values_list(*columns, *extra)
        ]

    def of(self, record: Model, names: Sequence[str]) -> dict:
        return {name: getattr(record, self.fields[name].attname) for name in names}

    def expand(self, answers: list[dict], relations: Iterable[str], user) -> None:
        """Put summaries in the place of ids; null where the user may not see it.

        One query for each relation, however many rows there are.
        """
        for name in relations:
            model = self.relations[name]
            ids = {answer[name] for answer in answers} - {None}
            visible = model.objects.visible_to(user).filter(pk__in=ids)
            summaries = {
                summary["id"]: summary
                for summary in visible.values(*model.summary_fields)
            }
            for answer in answers:
                answer[name] = summaries.get(answer[name])
