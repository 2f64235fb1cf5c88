"""The one place that turns exceptions into answers.

Every error is `application/problem+json` (RFC 9457): `type`, `title`, `status`,
`detail`, a stable `code`, and for bad input `errors`: `[{"field", "code", "detail"}]`.
"""

import errno
import logging
import re
from http import HTTPStatus

from django.core.exceptions import (
    FieldError,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    ValidationError,
)
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.db.models import ProtectedError, RestrictedError, UniqueConstraint
from django.http import Http404, HttpResponse
from rest_framework import exceptions
from rest_framework.response import Response

from core import access
from core.exceptions import Busy, Conflict, StorageFull, TooLarge
from core.renderers import dumps
from core.security import note_refusal

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
NON_FIELD = ("non_field_errors", "__all__")


def handle(exc: Exception, context: dict) -> Response:
    """DRF's EXCEPTION_HANDLER: the answer to any exception that an API view raised.

    What a client can send must have been refused before it got here as a DataError or
    the like: such a catch is a net, and logged as the bug that it shows.
    """
    error = as_api_exception(exc, context)
    if error is None:
        return None
    if error.status_code == HTTPStatus.FORBIDDEN:
        # By now the request's transaction is over.
        note_refusal(context["request"], context["view"], str(error.detail))
    headers = dict(getattr(error, "headers", {}))
    if getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = error.auth_header
    if getattr(error, "wait", None):
        headers["Retry-After"] = str(int(error.wait))
    return Response(
        problem_of(error),
        error.status_code,
        headers=headers,
        content_type=CONTENT_TYPE,
    )


def problem(status: int, code: str, detail: str, **extra) -> dict:
    """The body of an error."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        **extra,
    }


def flatten(detail, field: str = "") -> list[dict]:
    """DRF's nested error details as a flat list, with dotted field names."""
    if isinstance(detail, dict):
        items = [
            (f"{field}.{key}" if field else str(key), v) for key, v in detail.items()
        ]
    elif isinstance(detail, list) and any(isinstance(d, list | dict) for d in detail):
        items = [(f"{field}.{i}" if field else str(i), v) for i, v in enumerate(detail)]
    elif isinstance(detail, list):
        items = [(field, one) for one in detail]
    else:
        place, _, last = field.rpartition(".")
        name = place if last in NON_FIELD else field
        return [{"field": name or None, "code": detail.code, "detail": str(detail)}]
    return [error for name, value in items for error in flatten(value, name)]


def sentences(error: exceptions.APIException) -> list[str]:
    """What an error says, for a page that shows it to a person."""
    if not isinstance(error, exceptions.ValidationError):
        return [str(error.detail)]
    return [
        ": ".join(filter(None, (one["field"], one["detail"])))
        for one in flatten(error.detail)
    ]


def from_django(error: ValidationError) -> exceptions.ValidationError:
    """Django's validation error, of models and form fields, as DRF's."""

    def details(errors):
        return [
            exceptions.ErrorDetail(message, one.code or "invalid")
            for one in errors
            for message in one.messages
        ]

    if hasattr(error, "error_dict"):
        return exceptions.ValidationError(
            {field: details(errors) for field, errors in error.error_dict.items()}
        )
    return exceptions.ValidationError(details(error.error_list))


def problem_of(error: exceptions.APIException) -> dict:
    """The body that says this error."""
    extra = getattr(error, "extra", {})
    if isinstance(error, exceptions.ValidationError):
        errors = flatten(error.detail)
        named = ", ".join(dict.fromkeys(e["field"] for e in errors if e["field"]))
        return problem(
            error.status_code,
            "invalid",
            f"Not valid: {named}." if named else errors[0]["detail"],
            errors=errors,
            **extra,
        )
    code = getattr(error.detail, "code", error.default_code)
    return problem(error.status_code, code, str(error.detail), **extra)


def below(error: exceptions.APIException, *path: str) -> exceptions.APIException:
    """The same refusal, of what stands at this path within the body."""
    if isinstance(error, exceptions.ValidationError):
        detail = error.detail
        if not isinstance(detail, dict):
            detail = {"non_field_errors": detail}
        for name in reversed(path):
            detail = {name: detail}
        return exceptions.ValidationError(detail)
    for fault in getattr(error, "extra", {}).get("errors", ()):
        fault["field"] = ".".join((*path, str(fault["field"])))
    return error


def as_api_exception(exc, context) -> exceptions.APIException | None:
    """The error of the API that an exception means; None where it is a bug of ours."""
    match exc:
        case exceptions.APIException():
            return exc
        case Http404():
            return exceptions.NotFound()
        case PermissionDenied():
            return exceptions.PermissionDenied()
        case ValidationError():
            return from_django(exc)
        case IntegrityError() if conflict := _unique_conflict(exc, context):
            return conflict
        case _ if error := unavailable(exc):
            return error
        case RequestDataTooBig():
            return TooLarge()
        case TooManyFieldsSent() | SuspiciousOperation():
            return exceptions.ParseError(str(exc))
        case ProtectedError() | RestrictedError() | IntegrityError():
            logger.exception("A rule of the database caught what ours should have")
            return Conflict("Other records do not allow this.")
        case DataError() | FieldError() | OverflowError() | RecursionError():
            logger.exception("The net caught what a check should have refused")
            return exceptions.ValidationError("A value here cannot be stored.")
    return None


def unavailable(exc) -> exceptions.APIException | None:
    """The error that an exception means by which the machine refused, not we."""
    match exc:
        case OperationalError() | InterfaceError():
            logger.warning("The database refused: %s", exc)
            return Busy()
        case OSError() if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            logger.error("The disk is full: %s", exc)
            return StorageFull()
    return None


def _unique_conflict(exc: IntegrityError, context: dict) -> Conflict | None:
    """A lost race, or a plain duplicate, on a unique constraint of the view's model."""
    view = context.get("view")
    constraint = violated_constraint(exc, getattr(view, "model", None))
    if constraint is None:
        return None
    hidden = access.hidden_fields(context["request"].user, view.record_type)
    if hidden & set(constraint.fields):
        return Conflict("Another record has a value that must be unique.", "unique")
    return unique_conflict(view.model, constraint)


def unique_conflict(model, constraint) -> Conflict:
    fields = [name for name in constraint.fields if name != "organization"]
    detail = f"Another {model._meta.verbose_name} has this {' and '.join(fields)}."
    return Conflict(
        detail,
        "unique",
        errors=[{"field": name, "code": "unique", "detail": detail} for name in fields],
    )


def violated_constraint(exc: IntegrityError, model):
    """The model's unique constraint that a statement broke; None if it is another."""
    if model is None:
        return None
    diagnosis = getattr(exc.__cause__, "diag", None)
    for constraint in unique_rules(model):
        if diagnosis is not None:
            if diagnosis.constraint_name == constraint.name:
                return constraint
        else:
            # SQLite names the columns: "UNIQUE constraint failed: t.a_id, t.b".
            columns = {model._meta.get_field(n).column for n in constraint.fields}
            table = re.escape(model._meta.db_table)
            if columns == set(re.findall(rf"{table}\.(\w+)", str(exc))):
                return constraint
    return None


def unique_rules(model) -> list[UniqueConstraint]:
    """The model's unique constraints, and the fields of it that are unique alone."""
    declared = [c for c in model._meta.constraints if getattr(c, "fields", None)]
    alone = [f for f in model._meta.concrete_fields if f.unique and not f.primary_key]
    # PostgreSQL names by this what a column says of itself.
    names = {f.name: f"{model._meta.db_table}_{f.column}_key" for f in alone}
    return declared + [UniqueConstraint(fields=[f], name=n) for f, n in names.items()]


# Django's own handlers, for what no API view ever saw.


def api_aware(status: int, code: str, detail: str, otherwise):
    """A Django error handler that speaks problem+json under /api/."""

    def handler(request, exception=None, **kwargs):
        if request.path.startswith("/api/"):
            return problem_response(status, code, detail)
        if exception is None:
            return otherwise(request)
        return otherwise(request, exception)

    return handler


def problem_response(status: int, code: str, detail: str, **extra) -> HttpResponse:
    """An error as a plain Django response, for views and middleware outside DRF."""
    body = dumps(problem(status, code, detail, **extra))
    return HttpResponse(body, status=status, content_type=CONTENT_TYPE)
