"""Filters as a value: the parameters of a list in an object.

A group keeps one, the body of a bulk change has one. It means what the list would show
with these parameters, to the user who looks: `{"owner": "me", "status__in": ["active",
"inactive"], "search": "ada"}`. The filters of the type's view read it, so that it knows
the same parameters, refuses the same values, and follows the same rights.
"""

import decimal
from collections.abc import Iterable, Iterator

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError as InvalidRecord
from django.db.models import Model, QuerySet
from django.http import QueryDict
from rest_framework.exceptions import APIException

from core.exceptions import bad_parameter
from core.problems import flatten
from core.routers import view_for

# Of what a list understands beside its filters: the rest is about the answer's shape.
KNOWN = ("search",)


def listed(model: type[Model], parameters: dict, user) -> QuerySet:
    """The records that the user's list of a type shows with these parameters.

    Raises:
        ValidationError: with the parameters that are unknown or have wrong values.
    """
    view = view_with(model, parameters, user)
    return view.filter_queryset(view.get_queryset())


def narrowed(queryset: QuerySet, parameters: dict, user) -> QuerySet:
    """These records as far as the parameters mean them; raises as `listed`."""
    return view_with(queryset.model, parameters, user).filter_queryset(queryset)


def each_narrowed(
    queryset: QuerySet, wishes: Iterable[dict], user
) -> Iterator[QuerySet | APIException]:
    """The same records as far as each of several parameters means them.

    What the view reads for them is read once. In the place of parameters that are not
    understood there is what says why.
    """
    view = view_with(queryset.model, {}, user)
    for parameters in wishes:
        try:
            view.request.query_params = query_of(parameters)
            yield view.filter_queryset(queryset)
        except APIException as refusal:
            yield refusal


def nobody_of(organization) -> AnonymousUser:
    """Whose list knows all fields of the organization's records, and shows none."""
    nobody = AnonymousUser()
    nobody.organization = organization
    nobody.organization_id = organization.pk
    return nobody


def check(model: type[Model], parameters: dict, organization) -> None:
    """Raise ValidationError where nobody's list understands the parameters."""
    narrowed(model.objects.none(), parameters, nobody_of(organization))


def require(model: type[Model], parameters, organization) -> None:
    """Raise a record's ValidationError where it cannot keep this as a filter."""
    if not isinstance(parameters, dict):
        raise InvalidRecord("Give an object.", code="not_an_object")
    try:
        check(model, parameters, organization)
    except APIException as refusal:
        errors = flatten(refusal.detail)
        raise InvalidRecord(
            [InvalidRecord(f"{e['field']}: {e['detail']}", e["code"]) for e in errors]
        ) from None


def view_with(model, parameters: dict, user, known=KNOWN):
    """The user's view of a type, asked with these parameters.

    Args:
        known: the parameters that are no filters.
    """
    query = query_of(parameters)
    return view_for(model, user, query_params=query, query_parameters=known)


def query_of(parameters: dict) -> QueryDict:
    """The parameters as they would stand in the address of a list."""
    query = QueryDict(mutable=True)
    for name, value in parameters.items():
        query[name] = _text(name, value)
    return query


def _text(name: str, value) -> str:
    """A value as it would stand in the address of the list."""
    if isinstance(value, list) and name.endswith("__in"):
        parts = [_text(name, part) for part in value]
        if any("," in part for part in parts):
            raise bad_parameter(name, "A value in a list cannot hold a comma.")
        return ",".join(parts)
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float | decimal.Decimal):
        raise bad_parameter(name, "Give a text, a number, true or false.")
    text = str(value)
    if not text.strip():
        raise bad_parameter(name, "Empty.", "blank")
    return text
