"""The OpenAPI schema: what the shared views do that a serializer cannot tell."""

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

PROBLEM = {
    "type": "object",
    "description": "An error, as of RFC 9457.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For a person."},
        "code": {"type": "string", "description": "For a program; stable."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "code", "detail"],
                "properties": {
                    "field": {"type": ["string", "null"]},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
    "additionalProperties": True,
}

CUSTOM_FIELDS = (
    "A custom field that `/api/custom-fields/` defines for a record type, by its key."
    " By kind also with `__in`, `__gt`, `__gte`, `__lt`, `__lte` (number, money, date),"
    " `__icontains` (text, link) and `__isnull`. Of several choices: one that is among"
    " them. `ordering` takes `custom_fields.{key}` too, but for users and several"
    " choices."
)
ANSWERS = {
    "400": "Not valid; `errors` names the fields.",
    "401": "Not signed in.",
    "403": "The role or the API key does not allow this, or it takes a recent sign-in:"
    " `reauthentication_required`.",
    "404": "There is no such thing, or none that you may see.",
    "409": "The current state does not allow this.",
    "412": "`If-Match` names an older version; `current` holds the present values.",
    "413": "The body is too large.",
    "415": "The body is of another type than those that are taken.",
    "422": "The `Idempotency-Key` came before with another request.",
    "503": "Busy or restarting; try again after `Retry-After` seconds.",
    "507": "The disk is full; nothing was stored.",
}


class Schema(AutoSchema):
    """Adds the headers and parameters that the shared views understand."""

    def get_override_parameters(self):
        if not hasattr(self.view, "query_parameters"):  # none of the shared views
            return super().get_override_parameters()
        parameters = []
        if self.method == "POST":
            parameters.append(
                header("Idempotency-Key", "Repeated, the first answer comes again.")
            )
        if self.method in ("PATCH", "PUT", "DELETE"):
            parameters.append(header("If-Match", "The ETag of the version to change."))
        if self.method == "GET":
            parameters.append(header("If-None-Match", "304 if this is still the ETag."))
        else:
            parameters.append(header("X-Change-Reason", "Why, for the journal."))
            if self.view.takes_dry_run:
                detail = "Answer what would happen, and change nothing."
                parameters.append(query("dry_run", detail, bool))
        action = getattr(self.view, "action", None)
        shaped = {
            *("list", "create", "retrieve", "update", "partial_update", "restore"),
            *("by_external_id", "put_by_external_id"),
        }
        if hasattr(self.view, "representation") and action in shaped:
            parameters += [
                query("fields", "Only these fields, separated by commas."),
                query("expand", "Relations to show as objects, separated by commas."),
            ]
        if hasattr(self.view, "representation") and action == "list":
            names = ", ".join(f"`{name}`" for name in self.view.ordering_fields)
            parameters.append(
                query("ordering", f"Any of {names}; `-` before it for descending.")
            )
        if hasattr(self.view, "custom_fields") and action == "list":
            parameters.append(query("custom_fields.{key}", CUSTOM_FIELDS))
        known = getattr(self.view, "query_parameters", ())
        if "deleted" in known and action == "list":
            parameters.append(
                query("deleted", "Deleted records instead of live ones.", bool)
            )
        return [*super().get_override_parameters(), *parameters]


def header(name, description):
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, description=description)


def query(name, description, kind=OpenApiTypes.STR):
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=description)


def bodies_of(operation) -> dict:
    """What may be sent, by its content type."""
    return operation.get("requestBody", {}).get("content", {})


def add_problem_answers(result, generator, request, public):
    """Say on each operation which errors it answers."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    content = {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
    }
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            codes = {"400", "401", "403", "404", "503"}
            if method != "get":
                codes |= {"409"}
            if method in ("patch", "put", "delete"):
                codes |= {"412"}
            if method == "post":
                codes |= {"422"}
            if bodies_of(operation):
                codes |= {"413", "415"}
            if "multipart/form-data" in bodies_of(operation):
                codes |= {"507"}
            if path.endswith("/health/"):
                codes = set()
            if method == "put" and "/by/" in path:
                operation["responses"]["201"] = operation["responses"]["200"]
            if method == "get" and codes:
                operation["responses"]["304"] = {"description": "As `If-None-Match`."}
            for code in sorted(codes):
                operation["responses"].setdefault(
                    code, {"description": ANSWERS[code], "content": content}
                )
    return result
