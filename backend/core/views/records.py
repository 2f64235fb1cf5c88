"""The views that every record type has by its declaration."""

from functools import cached_property, partial

from django.http import Http404
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.response import Response

from core import access, cache
from core.custom_fields import columns
from core.custom_fields.definitions import shown_to
from core.exceptions import Conflict
from core.field_rights import PREFIX
from core.models import CustomField
from core.plans import DetailPlan, find
from core.statements import Bound
from core.views.base import boolean
from core.views.batch import BatchMixin
from core.views.bulk import BulkMixin
from core.views.external_ids import ExternalIdMixin
from core.views.journaled import JournaledViewSet
from core.views.timeline import TimelineMixin


class DeletionSerializer(serializers.Serializer):
    """How many records of which type a deletion would take, and how many it changes."""

    deleted = serializers.DictField(child=serializers.IntegerField())
    cleared = serializers.DictField(child=serializers.IntegerField())


class RecordViewSet(
    BatchMixin, BulkMixin, ExternalIdMixin, TimelineMixin, JournaledViewSet
):
    """What a record type adds: owner, custom fields, deletion and restoration."""

    query_parameters = (*JournaledViewSet.query_parameters, "deleted")
    common_fields = (
        *("owner", "custom_fields", "version"),
        *("created_at", "updated_at", "deleted_at"),
    )

    # Custom fields

    @cached_property
    def custom_fields(self) -> dict:
        """The definitions that the user sees, by key."""
        return shown_to(self.request.user, self.record_type)

    def further_filters(self, names):
        if not any(name.startswith(PREFIX) for name in names):
            return {}, {}
        return columns.asked(self.custom_fields, names)

    def further_orderings(self, name):
        if not name.startswith(PREFIX):
            return {}
        return columns.sortable(self.custom_fields)

    def ordered(self, queryset, ordering):
        if not boolean(self.request, "deleted"):
            # Of those that are not, it says nothing.
            ordering = [term for term in ordering if term[0] != "deleted_at"]
        fields = {name: self.further_orderings(name).get(name) for name, _ in ordering}
        fields = {name: field for name, field in fields.items() if field}
        names = {name: columns.alias(field) for name, field in fields.items()}
        asked = {columns.alias(f): columns.column(f) for f in fields.values()}
        return (
            queryset.annotate(**asked),
            [(names.get(name, name), descending) for name, descending in ordering],
        )

    def _made_from(self):
        types, key = super()._made_from()
        query = self.request.query_params
        if PREFIX in query.get("ordering", "") or any(
            n.startswith(PREFIX) for n in query
        ):
            types.add(CustomField.record_type())
        return types, key

    def get_listed(self):
        if boolean(self.request, "deleted"):
            return self.get_everything().deleted()
        return self.get_queryset()

    def shown(self):
        """As a row of a list, which is less work than a record."""
        row = self.get_queryset().filter(pk=Bound("pk", self.model._meta.pk))
        return DetailPlan(self._reading(row, ("version",), planned_once=True))

    def _list_made_from(self):
        """No record of others, if the list is of one's own."""
        if self._is_own_list:
            return self._made_from_some(partial(cache.names_of_own, owner="me"))
        return self._made_from()

    @property
    def _is_own_list(self) -> bool:
        """Words of all are known to a search."""
        query = self.request.query_params
        return (
            not self.kwargs
            and query.getlist("owner") == ["me"]
            and "search" not in query
        )

    def _page_made_from(self, names, plan):
        """What decides which records the page shows, and these."""
        if plan.decided_by is None:
            return names
        shown, _ = self._made_from_some(cache.names_of_shown)
        if not self._is_own_list:
            return shown | plan.decided_by
        # Of one's own, only if nothing decides but whose they are.
        existence = cache.names_of_fields(self.record_type, ())
        if not plan.decided_by <= existence | names:
            return names
        return shown | cache.names_of_whose(self.record_type, "me")

    def _one_made_from(self):
        """No other record of the type, unless a relation leads to one."""
        return self._made_from_some(partial(cache.names_of_one, pk="*"))

    def _made_from_some(self, names_of):
        """`_made_from`, but of those records alone that `names_of` tells of a type."""
        types, visibility = self._made_from()
        alone = self._types_alone
        return types.difference(alone).union(*map(names_of, alone)), visibility

    @property
    def _types_alone(self) -> set[str]:
        """Types of one of which no relation or filter leads to other records."""
        relations = self.representation.relations
        related = {relations[name].record_type() for name in self.asked_relations}
        return self.types_of_one - related - self.looked_at

    @property
    def types_of_one(self) -> set[str]:
        """Types of which a record shows only what is its own."""
        return {self.record_type}

    def get_everything(self):
        """Deleted records too."""
        return self.model.objects.within(self.request.user, access.Verb.VIEW)

    def get_locked(self, rows):
        def locked():
            return rows().select_for_update(of=("self",))

        user, pk = self.request.user, self.kwargs["pk"]
        record = find(user, self.model, f"{rows.__name__} to lock", locked, pk)
        if record is None:
            raise Http404
        if record.owner_id == user.pk:
            # Rights ask for the owner, and then for their team.
            record.owner = user
        return record

    @extend_schema(
        responses={
            204: None,
            200: OpenApiResponse(DeletionSerializer, "With `dry_run`: what would go."),
        }
    )
    def destroy(self, request, pk):
        """Delete the record and what hangs on it."""
        self.refuse_parameters("dry_run")
        record = self._locked(access.Verb.DELETE, self.get_queryset)
        with self.change_set() as changes:
            deleted = changes.delete(record)
        if boolean(request, "dry_run"):
            return Response(deleted.summary())
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def restore(self, request, pk):
        """Bring a deleted record back."""
        self.refuse_parameters("fields", "expand", "dry_run")
        self.refuse_body()
        record = self._locked(access.Verb.DELETE, self.get_everything)
        if record.deleted_at is None:
            raise Conflict("This record is not deleted.", "not_deleted")
        with self.change_set() as changes:
            changes.restore(record)
        return self._answer(record)
