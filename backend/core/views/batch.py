"""Several writes of one record type in one request."""

from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.http import Http404
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException
from rest_framework.response import Response

from core import access
from core.exceptions import bad_parameter
from core.problems import as_api_exception, below, problem_of
from core.security import note_refusal
from core.serializers import StrictSerializer
from core.views.base import boolean

MAX_OPERATIONS = 100
CREATE, UPDATE, DELETE = "create", "update", "delete"
NEEDED = {CREATE: {"body"}, UPDATE: {"id", "body"}, DELETE: {"id"}}
ALLOWED = {
    CREATE: {"body"},
    UPDATE: {"id", "version", "body"},
    DELETE: {"id", "version"},
}
# What one operation may end with while the others go on.
REFUSALS = (APIException, Http404, ValidationError, IntegrityError)


class OperationSerializer(StrictSerializer):
    method = serializers.ChoiceField([CREATE, UPDATE, DELETE])
    id = serializers.UUIDField(required=False, help_text="Not for `create`.")
    version = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=2**31 - 1,
        help_text="As `If-Match`: refused if the record has another by now.",
    )
    body = serializers.DictField(
        required=False, help_text="As of a POST, or of a PATCH; not for `delete`."
    )

    def validate(self, operation):
        method = operation["method"]
        given = operation.keys() - {"method"}
        for name in sorted(NEEDED[method] - given):
            raise bad_parameter(name, "This field is required.", "required")
        for name in sorted(given - ALLOWED[method]):
            raise bad_parameter(name, f"Not for '{method}'.", "unknown_field")
        return operation


class BatchRequestSerializer(StrictSerializer):
    operations = serializers.ListField(
        child=OperationSerializer(), min_length=1, max_length=MAX_OPERATIONS
    )
    atomic = serializers.BooleanField(
        default=True, help_text="All or nothing; if false, each for itself."
    )


class ResultSerializer(serializers.Serializer):
    index = serializers.IntegerField(help_text="Of the operation, from 0.")
    status = serializers.IntegerField(help_text="As the operation alone would have.")
    body = serializers.DictField(required=False, help_text="The record.")
    problem = serializers.DictField(required=False, help_text="Why it was refused.")


class BatchAnswerSerializer(serializers.Serializer):
    change_set = serializers.UUIDField(
        allow_null=True, help_text="To undo all of it; null if nothing was changed."
    )
    results = ResultSerializer(many=True)


class BatchMixin:
    """`batch/` for a record type's view."""

    @extend_schema(
        request=BatchRequestSerializer,
        responses={
            200: OpenApiResponse(BatchAnswerSerializer, "All of it was done."),
            207: OpenApiResponse(BatchAnswerSerializer, "Not atomic: see each status."),
        },
    )
    @action(detail=False, methods=["post"], filter_backends=(), pagination_class=None)
    def batch(self, request):
        """Up to 100 creations, updates and deletions, in one change set.

        If one is refused, nothing is done, and the problem has its `operation`, the
        index. With `atomic` false the others are done.
        """
        self.refuse_parameters("dry_run")
        serializer = BatchRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        operations = serializer.validated_data["operations"]
        atomic = serializer.validated_data["atomic"]
        records = self._locked_all({o["id"] for o in operations if "id" in o})
        results = []
        with self.change_set() as changes:
            for index, operation in enumerate(operations):
                try:
                    result = self._do(changes, operation, records, atomic)
                except REFUSALS as exception:
                    error = self._located(exception, index)
                    if atomic:
                        raise error from None
                    result = {
                        "status": error.status_code,
                        "problem": problem_of(error),
                    }
                results.append({"index": index, **result})
        kept = changes.touched and not boolean(request, "dry_run")
        for result in results:
            if result["status"] == status.HTTP_403_FORBIDDEN:
                note_refusal(request, self, result["problem"]["detail"])
        answer = {
            "change_set": changes.change_set.pk if kept else None,
            "results": results,
        }
        code = status.HTTP_200_OK if atomic else status.HTTP_207_MULTI_STATUS
        return Response(answer, code)

    def _locked_all(self, ids) -> dict:
        """The records that the operations name, locked in the order of their ids."""
        queryset = self.get_queryset().select_for_update(of=("self",))
        queryset = queryset.select_related(queryset.owner_path).order_by("pk")
        records = queryset.in_bulk(ids)
        for record in records.values():
            record.organization = self.request.user.organization
        return records

    def _do(self, changes, operation, records: dict, atomic: bool) -> dict:
        """Do an operation; its status and the record that it leaves."""
        if atomic:
            return self._operate(changes, operation, records)
        try:
            with changes.attempt():
                return self._operate(changes, operation, records)
        except REFUSALS:
            if operation.get("id") in records:
                records.update(self._locked_all({operation["id"]}))
            raise

    def _operate(self, changes, operation, records: dict) -> dict:
        if operation["method"] == CREATE:
            record = self.model(organization=self.request.user.organization)
            access.require_some(self.request.user, self.record_type, access.Verb.CREATE)
            self.write(changes, record, self.values_of(operation["body"]))
            return {"status": status.HTTP_201_CREATED, "body": self.answer_of(record)}
        record = records.get(operation["id"])
        if record is None:
            raise Http404
        verb = access.Verb.EDIT
        if operation["method"] == DELETE:
            verb = access.Verb.DELETE
        access.require(self.request.user, record, verb)
        if operation.get("version", record.version) != record.version:
            raise self.stale(record)
        if verb == access.Verb.DELETE:
            changes.delete(record)
            del records[record.pk]
            return {"status": status.HTTP_204_NO_CONTENT}
        values = self.values_of(operation["body"], record, partial=True)
        self.write(changes, record, values)
        return {"status": status.HTTP_200_OK, "body": self.answer_of(record)}

    def _located(self, exception, index: int) -> APIException:
        """The refusal of an operation, with its index and the fields' whole names."""
        error = as_api_exception(exception, {"view": self, "request": self.request})
        error = below(error, "operations", str(index))
        error.extra = {**getattr(error, "extra", {}), "operation": index}
        return error
