"""What every view shares: cached conditional reads, and writes in a transaction."""

from collections.abc import Mapping
from functools import partial

from django.db import OperationalError, transaction
from django.forms import Field
from django.http import Http404, HttpResponse
from rest_framework.permissions import SAFE_METHODS
from rest_framework.viewsets import GenericViewSet

from core import cache
from core.conditional import conditional_response, etag_of
from core.exceptions import bad_parameter
from core.filters import StrictFilterBackend, filter_set
from core.idempotency import once
from core.models import ChangeSet
from core.origin import origin
from core.pagination import Pagination
from core.plans import REFUSALS, Made, Plan, address_of, named, plan_key, plans
from core.recall import Place, Reader, packed, request_key, unpacked
from core.renderers import dumps
from core.serializers import StrictSerializer

WRITE_ATTEMPTS = 4
# PostgreSQL's serialization_failure and deadlock_detected: the same may work again.
RETRIABLE = {"40001", "40P01"}
REASON_HEADER = "X-Change-Reason"


class ViewSet(GenericViewSet):
    """A view whose reads are cached and conditional, and whose writes are transactions.

    A request that writes runs in one transaction. It is repeated when the database gave
    it up to solve a deadlock, taken back after `dry_run=true`, and answered from memory
    when its `Idempotency-Key` came before.
    """

    model = None
    pagination_class = Pagination
    filter_backends = (StrictFilterBackend,)
    lookup_value_converter = "uuid"
    http_method_names = ("get", "head", "post", "put", "patch", "delete")
    # Query parameters of the list, besides its filters.
    query_parameters: tuple[str, ...] = ("page", "page_size", "cursor")
    # False where nothing is changed but a file, which no transaction takes back.
    takes_dry_run = True
    # False where a view gives `dry_run` a meaning of its own.
    takes_dry_run_back = True
    # Whether the address, the reader, the record types that an answer is made from, and
    # the time until it holds tell all that it depends on, so that core.recall may give
    # it again.
    is_recalled = False
    # Whether the values of ranges that are asked for are bound (core.plans), and what
    # makes them of texts.
    binds_ranges = False
    bound: Mapping[str, Field] = {}

    def initial(self, request, *args, **kwargs):
        super().initial(request, *args, **kwargs)
        method = request.method.lower()
        if request.method not in SAFE_METHODS and hasattr(self, method):
            # DRF looks the handler up on the view right after this.
            setattr(self, method, partial(self._write, getattr(self, method)))

    def _write(self, handler, request, *args, **kwargs):
        dry_run = boolean(request, "dry_run")
        work = partial(handler, request, *args, **kwargs)
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            try:
                with transaction.atomic():
                    if request.method == "POST" and not dry_run:
                        response = once(request, work)
                    else:
                        response = work()
                    if dry_run and self.takes_dry_run_back:
                        transaction.set_rollback(True)
                if dry_run:
                    response["Dry-Run"] = "true"
                return response
            except OperationalError as error:
                code = getattr(error.__cause__, "pgcode", None)
                if code not in RETRIABLE or attempt == WRITE_ATTEMPTS:
                    raise

    def further_filters(self, names) -> tuple[dict, dict]:
        """The filters among these parameters that not every organization has.

        Returns:
            The filters by name, and the expressions that they ask, by theirs.
        """
        return {}, {}

    @property
    def record_type(self) -> str:
        """The name of what the view shows, in rights and in the journal."""
        return self.model.record_type()

    def get_queryset(self):
        """Where everything starts: what the user may see."""
        return self.model.objects.visible_to(self.request.user)

    def get_object(self, queryset=None):
        """The row of the address; 404, in the same words, for any that is not seen."""
        queryset = self.get_queryset() if queryset is None else queryset
        row = queryset.filter(pk=self.kwargs["pk"]).first()
        if row is None:
            raise Http404
        return row

    def refuse_parameters(self, *known):
        """Raise a 400 that names the first query parameter that is not `known`."""
        for name in self.request.query_params:
            if name not in known:
                raise bad_parameter(name, "Unknown parameter.", "unknown_parameter")

    def refuse_body(self):
        """Raise a 400 that names what the body holds, where none is wanted."""
        StrictSerializer(data=self.request.data).is_valid(raise_exception=True)

    def change_set(self, source=ChangeSet.Source.API, **attributes):
        """Open a change set in the name of the request's user."""
        return ChangeSet.open(
            actor=self.request.user,
            source=source,
            reason=self.request.headers.get(REASON_HEADER, "")[:500],
            **origin(self.request),
            trial=boolean(self.request, "dry_run"),
            **attributes,
        )

    def cached(
        self, build, names, visibility: str, until: float = cache.NEVER
    ) -> HttpResponse:
        """Answer a GET, from the cache if it holds what `build` would give now.

        Args:
            build: gives the answer, and the version of the record if it is one; or
                the plan for it.
            names: of the versions that the answer is made from, as of core.plans.named.
            visibility: readers with equal texts would get equal answers.
            until: when the same address has another answer by itself, in seconds since
                the epoch.
        """
        request, user = self.request, self.request.user
        key = request_key(request, visibility)
        names = frozenset(names)
        made_from = named(names, request, user)
        slot = cache.find(user.organization_id, made_from, key, user.proof)
        answer = slot and slot.answer
        if not answer:
            made = self._planned(build, visibility)
            answer = packed(made)
            cache.store(slot, answer, made.shown, made.names)
        response = conditional_response(request, *unpacked(answer))
        if self.is_recalled and user.proof:
            reader = Reader.of(user)
            response.place = Place(reader, names, visibility, until)
        return response

    def uncached(self, build) -> HttpResponse:
        """Answer a GET as `cached` does, of what must not stand in the cache."""
        found = build()
        made = found.answer(self.request) if isinstance(found, Plan) else Made(*found)
        return self.conditional(made.content, made.version)

    def _planned(self, build, visibility: str) -> Made:
        """The answer, by the plan for such requests if there is one."""
        plan = self.known_plan(visibility)
        if plan:
            try:
                return plan.answer(self.request)
            except REFUSALS:
                pass  # what is wrong, `build` tells
        found = build()
        if not isinstance(found, Plan):
            return Made(*found)
        made = found.answer(self.request)
        self.know_plan(visibility, found)
        return made

    def known_plan(self, visibility: str) -> Plan | None:
        """The plan for such requests, of who sees the same."""
        key = self._plan_key(visibility)
        return plans.get(key) if key else None

    def know_plan(self, visibility: str, plan: Plan) -> None:
        key = self._plan_key(visibility)
        if key:
            plans.put(key, plan)

    def _plan_key(self, visibility: str) -> tuple | None:
        request, user = self.request, self.request.user
        return user.proof and plan_key(
            address_of(request).kind, user.organization_id, visibility, user.proof
        )

    def conditional(self, answer, version: int | None = None) -> HttpResponse:
        """Answer a GET that is not worth a place in the cache."""
        body = dumps(answer)
        return conditional_response(self.request, body, etag_of(body, version))


class ReadOnlyViewSet(ViewSet):
    """List and detail of rows that the program itself writes, the newest first."""

    filter_fields: tuple[str, ...] = ()
    # Filters that no field has by itself, by the name of their parameter.
    more_filters: dict = {}
    ordering = [("created_at", True), ("id", True)]

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.queryset = cls.model.objects.all()
        fields = {name: cls.model._meta.get_field(name) for name in cls.filter_fields}
        cls.filterset_class = filter_set(cls.model, fields, cls.more_filters)

    def list(self, request):
        queryset = self.filter_queryset(self.get_queryset())
        return self.page_of(queryset, self.ordering, self.get_serializer_class())

    def retrieve(self, request, pk):
        self.refuse_parameters()
        row = self.get_object()
        serializer_class = self.get_serializer_class()
        return self.conditional(
            serializer_class(row, context=self.context_of([row])).data
        )

    def context_of(self, rows) -> dict:
        """What the serializer is told of these rows, besides what they have."""
        return self.get_serializer_context()

    def page_of(self, queryset, ordering, serializer_class) -> HttpResponse:
        def select(rows, extra=()):
            rows = list(rows)
            # One for all: making the fields takes longer than filling them.
            serializer = serializer_class(context=self.context_of(rows))
            return [
                (
                    serializer.to_representation(row),
                    tuple(getattr(row, n) for n in extra),
                )
                for row in rows
            ]

        return self.conditional(
            self.paginator.paginate(self.request, queryset, ordering, select)
        )


def boolean(request, name: str) -> bool:
    """A yes-or-no parameter of the address; no if it is not given."""
    text, *others = request.query_params.getlist(name) or ["false"]
    if others:
        raise bad_parameter(name, "Given more than once.", "repeated")
    if text not in ("true", "false"):
        raise bad_parameter(name, "Give true or false.")
    return text == "true"
