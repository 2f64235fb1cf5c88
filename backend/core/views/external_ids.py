"""Records by their ids in other systems."""

from django.http import Http404
from rest_framework.decorators import action

from core import access, locks
from core.exceptions import Conflict, PreconditionFailed, bad_parameter
from core.fields import MAX_LENGTH
from core.jsonvalues import check


class ExternalIdMixin:
    """`by/<source>/<id>/` for the view of a record type that has external ids."""

    @classmethod
    def get_extra_actions(cls):
        """Those of an external id only where the type has any."""
        actions = super().get_extra_actions()
        if cls.model and hasattr(cls.model, "external_ids"):
            return actions
        return [a for a in actions if a.__name__ != "by_external_id"]

    @action(
        detail=False,
        url_path="by/<str:source>/<path:external_id>",
        filter_backends=(),
        pagination_class=None,
    )
    def by_external_id(self, request, source, external_id):
        """The record that has this id in another system."""
        pair = external_pair(source, external_id)

        def build():
            self.refuse_parameters("fields", "expand")
            records = self.get_queryset().filter(external_ids__has=[pair])[:2]
            record = self._only(list(records))
            if record is None:
                raise Http404
            return self.answer_of(record), record.version

        return self.cached(build, *self._made_from())

    @by_external_id.mapping.put
    def put_by_external_id(self, request, source, external_id):
        """Create the record with this id in another system, or change what is sent."""
        pair = external_pair(source, external_id)
        self._require_pair(request.data, pair)
        user, verbs = request.user, (access.Verb.CREATE, access.Verb.EDIT)
        if all(
            access.scope_of(user, self.record_type, verb) == access.Scope.NONE
            for verb in verbs
        ):
            raise access.RightMissing(user, self.record_type, access.Verb.EDIT)
        record = self._only(self._with_external_id(pair))
        if record is None:
            locks.making_by_external_id(request.user.organization_id, self.record_type)
            record = self._only(self._with_external_id(pair))
        if record is None:
            if "If-Match" in request.headers:
                raise PreconditionFailed()
            data = request.data
            if isinstance(data, dict):
                data = {"external_ids": dict([pair]), **data}
            return self._create(request, data, request.path.partition("by/")[0])
        if not self.get_queryset().filter(pk=record.pk).exists():
            # As with any unique value: no word about whose or what it is.
            raise Conflict("Another record has this external id.", "unique")
        self.kwargs["pk"] = record.pk
        return self._change(request, partial=True)

    def _with_external_id(self, pair) -> list:
        records = self.model.objects.filter(
            organization=self.request.user.organization_id, external_ids__has=[pair]
        )
        return list(records.live()[:2])

    @staticmethod
    def _only(records: list):
        if len(records) > 1:
            raise Conflict("Several records have this external id.", "ambiguous")
        return records[0] if records else None

    @staticmethod
    def _require_pair(data, pair) -> None:
        """A body that gives other external ids must give the one of the address."""
        source, external_id = pair
        if not isinstance(data, dict) or "external_ids" not in data:
            return
        given = data["external_ids"]
        if not isinstance(given, dict) or given.get(source) != external_id:
            raise bad_parameter(
                "external_ids", f"'{source}' is not as in the address.", "mismatch"
            )


def external_pair(source: str, external_id: str) -> tuple[str, str]:
    """The (source, id) of an address; a 400 where no record can have it."""
    for name, text in (("source", source), ("external_id", external_id)):
        try:
            check(text)
        except ValueError as error:
            raise bad_parameter(name, str(error)) from None
        if len(text) > MAX_LENGTH:
            raise bad_parameter(name, f"At most {MAX_LENGTH} characters.", "max_length")
    return source, external_id
