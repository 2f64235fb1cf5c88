"""The views that everything has which the journal follows, by its declaration."""

from functools import cached_property, lru_cache, partial

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import models
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.response import Response

from core import access, history
from core.conditional import etag_of, matches
from core.custom_fields.definitions import definitions_of, merged
from core.exceptions import PreconditionFailed, bad_parameter
from core.field_rights import CUSTOM, FieldRights
from core.filters import (
    Search,
    StrictFilterBackend,
    bindable,
    filter_set,
    narrowed,
    ordering_of,
)
from core.indexes import orders_of
from core.pagination import (
    goes_by_cursor,
    number_querysets,
    page_size,
    sorted_by,
    whole_number,
)
from core.plans import CursorPlan, DetailPlan, ListPlan, NumberPlan, is_range, named
from core.renderers import dumps
from core.representation import Reading, Representation
from core.serializers import RecordSerializer, narrowed_serializer, record_serializer
from core.views.base import ViewSet

# The newest, the next page, and the last deleted.
ALWAYS_ORDERED = ("created_at", "id", "deleted_at")


class VerbAccessSerializer(serializers.Serializer):
    allowed = serializers.BooleanField()
    scope = serializers.ChoiceField(access.Scope.choices)
    rule = serializers.CharField()


class AccessSerializer(serializers.Serializer):
    user = serializers.UUIDField()
    verbs = serializers.DictField(child=VerbAccessSerializer())
    hidden_fields = serializers.ListField(
        child=serializers.CharField(),
        help_text="What the user does not see, of what you see.",
    )
    read_only_fields = serializers.ListField(child=serializers.CharField())


@lru_cache(maxsize=512)
def crossings(view) -> dict[str, tuple[str, str]]:
    """The (record type, field) that each search or filter through a relation asks."""
    paths = {f.field_name or "" for f in view.filterset_class.base_filters.values()}
    found = {}
    for path in paths.union(view.search_fields):
        name, _, rest = path.lstrip("^=@$").partition("__")
        relation = view.representation.relations.get(name)
        if relation and rest:
            found[path] = (relation.record_type(), rest.partition("__")[0])
    return found


@lru_cache(maxsize=512)
def narrowed_view(view, rights: FieldRights, crossed: frozenset[str]) -> dict:
    """What a view is for those who do not see all its fields, as its attributes.

    Args:
        crossed: searches and filters that ask hidden fields of other records.
    """

    def is_asked(path):
        return path not in crossed and not rights.hides_path(path)

    names = tuple(name for name in view.all_fields if name not in rights.hidden)
    filters = view.filterset_class.base_filters
    shown = frozenset(
        name for name, f in filters.items() if is_asked(f.field_name or "")
    )
    attributes = {
        "all_fields": names,
        "representation": Representation(view.model, names, rights.hidden_keys),
        "serializer_class": narrowed_serializer(view.serializer_class, names),
        "filterset_class": narrowed(view.filterset_class, shown),
        "search_fields": tuple(filter(is_asked, view.search_fields)),
        "ordering_fields": tuple(
            name for name in view.ordering_fields if name not in rights.hidden
        ),
    }
    if any(rights.hides_path(term) for term in view.default_ordering.split(",")):
        attributes["default_ordering"] = "-created_at"
    return attributes


class JournaledViewSet(ViewSet):
    """List, create, retrieve, update and history of what the journal follows.

    A declaration names `model` and `fields`; what every row brings is added. The
    `search_fields`, if not given, are all texts without choices among them.
    """

    model = None
    fields: tuple[str, ...] = ()
    search_fields: tuple[str, ...] = ()
    # Filters that no field has by itself, by the name of their parameter.
    more_filters: dict = {}
    # What the serializer takes beside the fields; `write` makes values of it.
    serializer_base = RecordSerializer
    default_ordering = "-created_at"
    is_recalled = True

    filter_backends = (StrictFilterBackend, Search)

    query_parameters = (
        *ViewSet.query_parameters,
        *("search", "ordering", "fields", "expand"),
    )
    # What every row brings, after the declared fields.
    common_fields = ("version", "created_at", "updated_at")

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if cls.model is None or not {"model", "fields"} & vars(cls).keys():
            return
        cls.queryset = cls.model.objects.all()
        cls.all_fields = ("id", *cls.fields, *cls.common_fields)
        cls.representation = Representation(cls.model, cls.all_fields)
        cls.serializer_class = record_serializer(
            cls.model, cls.all_fields, cls.serializer_base
        )
        fields = cls.representation.fields
        # What is computed has filters of its own, among `more_filters`; a version means
        # nothing beside that of another record.
        computed = cls.model.computed_fields
        unasked = {*computed, "version"}
        columns = {n: field for n, field in fields.items() if n not in unasked}
        cls.filterset_class = filter_set(cls.model, columns, cls.more_filters)
        cls.search_fields = cls.search_fields or tuple(
            name
            for name in cls.fields
            if isinstance(fields[name], models.CharField) and not fields[name].choices
        )
        # By the others, a list of a type with many records would be read as a whole.
        orders = orders_of(cls.model) or fields.keys()
        orders = {*orders, *computed, *ALWAYS_ORDERED}
        cls.ordering_fields = tuple(
            name
            for name, field in fields.items()
            if name in orders
            and not field.is_relation
            and field.get_internal_type() != "JSONField"
        )

    def initial(self, request, *args, **kwargs):
        super().initial(request, *args, **kwargs)
        self.narrow()

    def narrow(self) -> None:
        """Be the view of those who do not see all its fields, if the user does not."""
        if self.field_rights.hidden or self.crossed:
            vars(self).update(
                narrowed_view(type(self), self.field_rights, self.crossed)
            )

    @cached_property
    def crossed(self) -> frozenset[str]:
        """Look-ups through relations that would ask what the user does not see."""
        return frozenset(
            path
            for path, (record_type, name) in crossings(type(self)).items()
            if name in access.hidden_fields(self.request.user, record_type)
        )

    @cached_property
    def field_rights(self) -> FieldRights:
        return access.field_rights(self.request.user, self.record_type)

    # Reading

    @cached_property
    def asked_fields(self) -> tuple[str, ...]:
        """The fields of the answer: those of `fields`, or all."""
        asked = self.request.query_params.get("fields")
        if asked is None:
            return self.all_fields
        return self._known(asked, "fields", self.all_fields)

    @cached_property
    def asked_relations(self) -> tuple[str, ...]:
        asked = self.request.query_params.get("expand")
        if asked is None:
            return ()
        names = self._known(asked, "expand", self.representation.relations)
        for name in names:
            if name not in self.asked_fields:
                raise bad_parameter("expand", f"'{name}' is not among the fields.")
        return names

    @staticmethod
    def _known(text, parameter, known):
        names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
        for name in names:
            if name not in known:
                raise bad_parameter(
                    parameter, f"There is no '{name}' here.", "unknown_field"
                )
        return names

    def answer_of(self, record) -> dict:
        """The record as the API shows it."""
        answer = self.representation.of(record, self.asked_fields)
        self.representation.expand([answer], self.asked_relations, self.request.user)
        return answer

    def select(self, queryset, extra=()):
        return self._reading(queryset, extra).rows()

    def get_listed(self):
        """The rows that the list is about."""
        return self.get_queryset()

    def get_everything(self):
        """What the user may see the past of."""
        return self.get_queryset()

    def list(self, request):
        def build():
            self.binds_ranges = self.is_planned
            queryset = self.filter_queryset(self.get_listed())
            queryset, ordering = self.ordered(queryset, ordering_of(request, self))
            if self.is_planned:
                return self._plan(queryset, ordering, names)
            page = self.paginator.paginate(request, queryset, ordering, self.select)
            return page, None

        names, visibility = self._list_made_from()
        if self.is_planned and request.user.proof:
            plan = self.known_plan(visibility)
            if not plan:
                plan = build()
                self.know_plan(visibility, plan)
            names = self._page_made_from(names, plan)
        return self.cached(build, names, visibility)

    def _page_made_from(self, names: set[str], plan: ListPlan) -> set[str]:
        """The names of the versions that a page of the list is made from.

        Args:
            names: of those that the whole list is made from.
        """
        return names

    @cached_property
    def is_planned(self) -> bool:
        """Whether nothing is read to know what the list is asked from the database.

        Its address and its reader tell it all then, and there can be a plan for it.
        """
        query = self.request.query_params
        filters = self.filterset_class.base_filters
        return (
            not self.kwargs
            and not self.looked_at
            # Requests of a kind differ in these: what is not bound would stay as it is.
            and all(bindable(self.model, filters.get(n)) for n in query if is_range(n))
        )

    def _plan(self, queryset, ordering, names) -> ListPlan:
        user, pk = self.request.user, self.model._meta.pk.name
        size = page_size(self.request)
        more = {
            "ordering": ordering,
            "size": size,
            "fields": self.bound,
            "names": named(frozenset(names), self.request, user),
        }
        if goes_by_cursor(self.request):
            first = sorted_by(queryset, ordering)[: size + 1]
            beside = (*(name for name, _ in ordering), pk)
            return CursorPlan(self._reading(first, beside), queryset, **more)
        number = whole_number(self.request, "page", 1)
        page, counted = number_querysets(queryset, ordering, number, size)
        reading = self._reading(page, (pk,))
        return NumberPlan(reading, counted, number, user.organization_id, **more)

    def _reading(self, queryset, extra=(), planned_once=False) -> Reading:
        """Of the fields and relations that are asked for."""
        return Reading(
            self.representation,
            queryset,
            self.asked_fields,
            extra,
            self.asked_relations,
            self.request.user,
            planned_once,
        )

    def further_orderings(self, name) -> dict:
        """What a list can be ordered by besides its fields, if this name is of it."""
        return {}

    def ordered(self, queryset, ordering) -> tuple:
        """The rows with what they are ordered by, and the names of that in them."""
        return queryset, ordering

    def retrieve(self, request, pk):
        def build():
            self.refuse_parameters("fields", "expand")
            return self.shown()

        return self.cached(build, *self._one_made_from())

    def shown(self) -> tuple[dict, int] | DetailPlan:
        """What the address shows, and its version; or the plan for it."""
        record = self.get_object()
        return self.answer_of(record), record.version

    @cached_property
    def looked_at(self) -> set[str]:
        """The types of other records that the filters look at."""
        filters = self.filterset_class.base_filters
        return {
            record_type
            for name in filters.keys() & self.request.query_params.keys()
            for record_type in getattr(filters[name], "record_types", ())
        }

    def _made_from(self) -> tuple[set[str], str]:
        """Types that an answer is made from, and who else would get the same."""
        user = self.request.user
        types = {self.record_type}
        types |= {
            self.representation.relations[r].record_type() for r in self.asked_relations
        }
        types |= self.looked_at
        keys = [f"{t}: {access.visibility_key(user, t)}" for t in sorted(types)]
        # Who is on which team, and which team is below which, decides what is seen.
        types |= {user.record_type(), "team"}
        if self.crossed:
            keys.append(f"without {sorted(self.crossed)}")
        if self.looked_at or "me" in self.request.query_params.values():
            keys.append(f"me: {user.pk}")
        return types, "; ".join(keys)

    def _list_made_from(self) -> tuple[set[str], str]:
        """`_made_from`, of the list."""
        return self._made_from()

    def _one_made_from(self) -> tuple[set[str], str]:
        """`_made_from`, of what the address of a record shows."""
        return self._made_from()

    # Writing

    def create(self, request):
        return self._create(request, request.data, request.path)

    def _create(self, request, data, path):
        """Make a record of the data; `path`: the address of the list."""
        self.refuse_parameters("fields", "expand", "dry_run")
        access.require_some(request.user, self.record_type, access.Verb.CREATE)
        values = self.values_of(data)
        record = self.model()
        with self.change_set() as changes:
            self.write(changes, record, values)
        response = self._answer(record, status.HTTP_201_CREATED)
        response["Location"] = request.build_absolute_uri(f"{path}{record.pk}/")
        return response

    def write(self, changes, record, values: dict) -> None:
        """Save what the serializer accepted."""
        changes.save(record, **values)

    def update(self, request, pk):
        return self._change(request, partial=False)

    def partial_update(self, request, pk):
        return self._change(request, partial=True)

    def _change(self, request, partial):
        self.refuse_parameters("fields", "expand", "dry_run")
        record = self._locked(access.Verb.EDIT, self.get_queryset)
        values = self.values_of(request.data, record, partial)
        with self.change_set() as changes:
            self.write(changes, record, values)
        return self._answer(record)

    def values_of(self, data, record=None, partial=False) -> dict:
        """What a body gives the fields of a record; raises where it is not valid.

        Args:
            record: the one to be changed, if it is there already.
            partial: leave the fields alone that the body does not send.
        """
        context = self.get_serializer_context()
        if record is not None:
            context["current"] = self.representation.of(record, self.all_fields)
        made = self.get_serializer_class()
        serializer = made(data=data, partial=partial, context=context)
        serializer.is_valid(raise_exception=True)
        values = dict(serializer.validated_data)
        if record is None:
            record = self.model()
        elif not partial:
            values = {**self._defaults(made(context=context)), **values}
        return self._complete(record, values, partial)

    def _complete(self, record, values: dict, partial=False) -> dict:
        """The values to write: custom fields keep what the user may not edit of them.

        Args:
            partial: they keep all that is not sent.
        """
        sent = values.get(CUSTOM)
        if not isinstance(sent, dict):
            return values
        rights = self.field_rights
        for key in sent:
            if key in rights.hidden_keys:
                raise bad_parameter(
                    f"{CUSTOM}.{key}", "Unknown field.", "unknown_field"
                )
        current = record.custom_fields
        if not partial and current:
            definitions = definitions_of(record.organization, self.record_type)
            kept = rights.locked_keys | definitions.archived
            current = {key: value for key, value in current.items() if key in kept}
        return {**values, CUSTOM: merged(current, sent)}

    def _defaults(self, serializer) -> dict:
        """What PUT makes of the fields that it does not send.

        The owner stays, and so does what the user may not edit.
        """
        return {
            name: self.model._meta.get_field(name).get_default()
            for name, field in serializer.fields.items()
            if not field.read_only
            and name != "owner"
            and name in self.representation.fields
            and name not in self.field_rights.read_only
        }

    def _locked(self, verb, rows):
        """The record, locked until the end of the transaction, if it may be written.

        Args:
            rows: the method that gives those that the user may know of.
        """
        record = self.get_locked(rows)
        access.require(self.request.user, record, verb)
        if not matches(self.request, record.version):
            raise self.stale(record)
        return record

    def get_locked(self, rows):
        return self.get_object(rows().select_for_update(of=("self",)))

    def stale(self, record) -> PreconditionFailed:
        """The refusal to write over a version that the client has not seen."""
        answer = self.answer_of(record)
        return PreconditionFailed(answer, etag_of(dumps(answer), record.version))

    def _answer(self, record, status_code=status.HTTP_200_OK):
        answer = self.answer_of(record)
        response = Response(answer, status_code)
        response["ETag"] = etag_of(dumps(answer), record.version)
        return response

    @extend_schema(
        parameters=[OpenApiParameter("user", OpenApiTypes.UUID)],
        responses=AccessSerializer,
    )
    @action(detail=True, filter_backends=(), pagination_class=None)
    def access(self, request, pk):
        """What somebody, if not said oneself, may do with this, and by which rule."""
        self.refuse_parameters("user")
        record = self.get_object()
        asked = request.query_params.get("user", "me")
        user = request.user
        if asked != "me":
            try:
                colleagues = type(user).objects.visible_to(user)
                user = colleagues.select_related("role").get(pk=asked)
            except (ObjectDoesNotExist, ValidationError):
                raise bad_parameter(
                    "user", "There is no such user.", "does_not_exist"
                ) from None
        rights = access.field_rights(user, self.record_type)
        return self.conditional(
            {
                "user": user.pk,
                "verbs": access.explain(user, record),
                "hidden_fields": sorted(rights.hidden - self.field_rights.hidden),
                "read_only_fields": sorted(rights.read_only - self.field_rights.hidden),
            }
        )

    # The past

    @extend_schema(responses=history.EntrySerializer(many=True))
    @action(detail=True, filter_backends=())
    def history(self, request, pk):
        """Each change, the newest first; of a deleted record too."""
        self.refuse_parameters("page", "page_size", "cursor")
        record = self.get_object(self.get_everything())
        page = self.paginator.paginate(
            request,
            history.changes_of(record),
            [("version", True), ("id", True)],
            partial(history.select, record, request.user),
        )
        return self.conditional(page)
