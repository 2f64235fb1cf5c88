"""Indexes: of the orders of lists, and those that only PostgreSQL has."""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import connection, models
from django.db.migrations.operations import AddIndex, RemoveIndex
from django.db.migrations.operations.models import IndexOperation


class OnPostgreSQL:
    """Not made on SQLite, which has no such index or would make one of no use."""

    def create_sql(self, model, schema_editor, using="", **kwargs):
        if schema_editor.connection.vendor != "postgresql":
            return "SELECT 'no such index here'"
        return super().create_sql(model, schema_editor, using=using, **kwargs)

    def remove_sql(self, model, schema_editor, **kwargs):
        if schema_editor.connection.vendor != "postgresql":
            return "SELECT 'no such index here'"
        return super().remove_sql(model, schema_editor, **kwargs)


# In a GIN index the organization comes last. PostgreSQL asks its columns in turn about
# each row that may fit: coming first, the organization would be asked about rows that
# have some of the trigrams and not all, and most of its rows be read through for them.


class SearchIndex(OnPostgreSQL, GinIndex):
    """The trigrams of a text, in an organization (core.search).

    Needs the extensions pg_trgm and btree_gin.
    """

    CLASSES = {"search_text": "gin_trgm_ops", "organization": "uuid_ops"}

    def __init__(self, *, name, fields=tuple(CLASSES), **kwargs):
        kwargs["opclasses"] = [self.CLASSES[field] for field in fields]
        super().__init__(name=name, fields=fields, **kwargs)


# The words of the plain text that a record is found by, as they stand there.
WORDS = SearchVector("search_text", config="simple")


class WordsIndex(OnPostgreSQL, GinIndex):
    """The words of a text, in an organization (core.finding).

    For whole words and beginnings of known ones: a word is met in one place, where all
    of its trigrams are met in many.
    """

    def __init__(self, *expressions, name, **kwargs):
        expressions = expressions or (WORDS, models.F("organization"))
        super().__init__(*expressions, name=name, **kwargs)


class CollectionsIndex(OnPostgreSQL, GinIndex):
    """What stands in the lists and objects of JSON fields, for their look-up `has`.

    Without `fastupdate`: each look-up would read through what was written lately.
    """

    def __init__(self, *, name, fields, **kwargs):
        kwargs["opclasses"] = ["jsonb_path_ops"] * len(fields)
        kwargs["fastupdate"] = False
        super().__init__(name=name, fields=fields, **kwargs)


class ValuesIndex(OnPostgreSQL, GinIndex):
    """Texts that lists of live records are filtered by and not ordered: one for all.

    An index for each, which could give their order too, would cost writes far more.
    """

    def __init__(self, *, name, fields, **kwargs):
        kwargs["opclasses"] = ["text_ops"] * len(fields)
        kwargs["condition"] = models.Q(deleted_at=None)
        super().__init__(name=name, fields=fields, **kwargs)


def merge_pending() -> int:
    """Let the GIN indexes of PostgreSQL take in what was written since the last time.

    New entries wait in a list, up to 4 MB of each index, that each search reads through
    and that whoever fills it must sort in. Done every few seconds, the list is short
    for searches, and seldom full for writers.

    Returns:
        How many pages waited.
    """
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(gin_clean_pending_list(index.oid)) FROM pg_class AS index"
            " JOIN pg_am AS method ON method.oid = index.relam"
            " WHERE method.amname = 'gin' AND index.relkind = 'i'"
            " AND pg_table_is_visible(index.oid)"
            " AND pg_has_role(index.relowner, 'USAGE')"
        )
        return int(cursor.fetchone()[0] or 0)


class OrderIndex(models.Index):
    """The order of a field: (organization, field, id)."""


class DownIndex(OnPostgreSQL, models.Index):
    """The order of a field from its highest value down, with nulls at the end."""


def order_indexes(record_type: str, *terms: str) -> list[models.Index]:
    """For lists of live records in the orders that these terms give.

    A list can be ordered by no other fields of a type that has them (`orders_of`).

    Args:
        terms: names of fields. The index of one without nulls serves both directions;
            of one with them, `-name` has an index of its own, as records without a
            value come last in either (core.pagination.sorted_by).
    """
    return [_order_index(record_type, term) for term in terms]


def _order_index(record_type: str, term: str) -> models.Index:
    name = term.removeprefix("-")
    options = {
        "name": f"{record_type}_by_{name}{'_down' if term != name else ''}",
        "condition": models.Q(deleted_at=None),
    }
    if term == name:
        return OrderIndex(fields=["organization", name, "id"], **options)
    down = models.F(name).desc(nulls_last=True)
    return DownIndex("organization", down, models.F("id").desc(), **options)


def orders_of(model: type[models.Model]) -> set[str]:
    """The fields that have an index for the order that they give."""
    indexes = model._meta.indexes
    return {index.fields[1] for index in indexes if isinstance(index, OrderIndex)}


class AddIndexes(IndexOperation):
    """Several `AddIndex` of models of an app: each for itself takes Django far longer.

    For it makes all models that the changed one is related to anew after each.
    """

    def __init__(self, indexes: dict[str, list[models.Index]]):
        """`indexes`: by the names of models."""
        self.indexes = indexes
        self.additions = [
            AddIndex(name, index) for name, added in indexes.items() for index in added
        ]

    def state_forwards(self, app_label, state):
        for addition in self.additions:
            options = state.models[app_label, addition.model_name_lower].options
            index = addition.index.clone()
            options["indexes"] = [*options.get("indexes", ()), index]
        state.reload_models({(app_label, n.lower()) for n in self.indexes}, delay=True)

    def database_forwards(self, *args):
        for addition in self.additions:
            addition.database_forwards(*args)

    def database_backwards(self, *args):
        for addition in self.additions:
            addition.database_backwards(*args)

    def describe(self):
        return f"Add {len(self.additions)} indexes to {', '.join(self.indexes)}"


class ReplaceIndexes(AddIndexes):
    """`AddIndexes` in the place of those that have their names."""

    @property
    def removals(self) -> list[RemoveIndex]:
        return [
            RemoveIndex(name, index.name)
            for name, replaced in self.indexes.items()
            for index in replaced
        ]

    def state_forwards(self, app_label, state):
        for removal in self.removals:
            options = state.models[app_label, removal.model_name_lower].options
            options["indexes"] = [
                index for index in options["indexes"] if index.name != removal.name
            ]
        super().state_forwards(app_label, state)

    def database_forwards(self, *args):
        for removal in self.removals:
            removal.database_forwards(*args)
        super().database_forwards(*args)

    def database_backwards(self, *args):
        super().database_backwards(*args)
        for removal in self.removals:
            removal.database_backwards(*args)

    def describe(self):
        return f"Replace {len(self.additions)} indexes of {', '.join(self.indexes)}"
