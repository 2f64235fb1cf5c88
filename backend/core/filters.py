"""Typed filters, made from a view's fields. Unknown parameters are refused."""

import datetime
from functools import lru_cache

import django_filters as filters
from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.filters import SearchFilter

from core import search
from core.exceptions import bad_parameter
from core.fields import LabelledField, TagsField
from core.models import Record
from core.plans import RANGES
from core.problems import from_django
from core.representation import columns_of
from core.statements import Bound

MAX_CHOICES = 200
MAX_SEARCH_LENGTH = 200
MAX_SEARCH_WORDS = 10


class MomentField(forms.DateTimeField):
    """A date-time that UTC can hold too: year 1 east of Greenwich is before it."""

    def to_python(self, value):
        try:
            moment = super().to_python(value)
            # In UTC, because no database knows all the offsets that Python does.
            return moment and moment.astimezone(datetime.UTC)
        except OverflowError:
            raise ValidationError(
                self.error_messages["invalid"], code="invalid"
            ) from None


class MomentFilter(filters.IsoDateTimeFilter):
    field_class = type(
        "IsoMomentField", (MomentField, filters.IsoDateTimeFilter.field_class), {}
    )


class YesNoField(forms.Field):
    def to_python(self, value):
        if value in ("true", "false"):
            return value == "true"
        raise ValidationError("Give true or false.", code="invalid")


class YesNoFilter(filters.BooleanFilter):
    field_class = YesNoField


class IntegerFilter(filters.NumberFilter):
    field_class = forms.IntegerField


class LowerCaseFilter(filters.CharFilter):
    """For values that are kept in lower case."""

    def filter(self, queryset, value):
        return super().filter(queryset, value.lower() if value else value)


class PartFilter(filters.CharFilter):
    """A part of a text, in upper or lower case."""

    def __init__(self, field_name, **kwargs):
        super().__init__(field_name, "icontains", **kwargs)

    def filter(self, queryset, value):
        if value and issubclass(queryset.model, Record):
            queryset = search.perhaps_holding(queryset, self.field_name, value)
        return super().filter(queryset, value)


class AddressFilter(filters.CharFilter):
    """An IPv4 or IPv6 address, however it is written."""

    field_class = forms.GenericIPAddressField


class PersonField(forms.UUIDField):
    """A user's id, or `me`."""

    def to_python(self, value):
        return value if value == "me" else super().to_python(value)


class PersonFilter(filters.UUIDFilter):
    field_class = PersonField

    def filter(self, queryset, value):
        if value == "me":
            value = self.parent.request.user.pk
        return super().filter(queryset, value)


class InFilter(filters.BaseInFilter):
    """Several values, separated by commas."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("help_text", "Several values, separated by commas.")
        super().__init__(*args, lookup_expr="in", **kwargs)


class UUIDInFilter(InFilter, filters.UUIDFilter):
    pass


class ChoiceInFilter(InFilter, filters.ChoiceFilter):
    pass


class CharInFilter(InFilter, filters.CharFilter):
    pass


class NumberInFilter(InFilter, filters.NumberFilter):
    pass


class IntegerInFilter(InFilter, IntegerFilter):
    pass


def filters_of(name: str, field: models.Field) -> dict[str, filters.Filter]:
    """The filters for one model field, by the name of their parameter."""
    if isinstance(field, TagsField | LabelledField):
        return {name: filters.CharFilter(name, "has")}
    if isinstance(field, models.ForeignKey):
        to_user = field.related_model._meta.label == settings.AUTH_USER_MODEL
        return {
            name: PersonFilter(name) if to_user else filters.UUIDFilter(name),
            f"{name}__in": UUIDInFilter(name),
            f"{name}__isnull": YesNoFilter(name, "isnull"),
        }
    if field.choices:
        return {
            name: filters.ChoiceFilter(name, choices=field.choices),
            f"{name}__in": ChoiceInFilter(name, choices=field.choices),
        }
    if isinstance(field, models.EmailField):
        return {
            name: LowerCaseFilter(name),
            f"{name}__icontains": PartFilter(name),
        }
    if isinstance(field, models.TextField):
        return {f"{name}__icontains": PartFilter(name)}
    if isinstance(field, models.CharField):
        return {
            name: filters.CharFilter(name),
            f"{name}__icontains": PartFilter(name),
            f"{name}__in": CharInFilter(name),
        }
    if isinstance(field, models.UUIDField):
        return {f"{name}__in": UUIDInFilter(name)}
    if isinstance(field, models.BooleanField):
        return {name: YesNoFilter(name)}
    if isinstance(field, models.DateTimeField):
        return _range(name, MomentFilter)
    if isinstance(field, models.DateField):
        return {name: filters.DateFilter(name), **_range(name, filters.DateFilter)}
    if isinstance(field, models.IntegerField):
        bounds = {"min_value": -(2**31), "max_value": 2**31 - 1}
        return {
            name: IntegerFilter(name, **bounds),
            f"{name}__in": IntegerInFilter(name, **bounds),
            **_range(name, IntegerFilter, **bounds),
        }
    if isinstance(field, models.DecimalField):
        bounds = {"max_digits": field.max_digits}
        return {
            name: filters.NumberFilter(name, **bounds),
            f"{name}__in": NumberInFilter(name, **bounds),
            **_range(name, filters.NumberFilter, **bounds),
        }
    return {}


def _range(name, filter_class, **kwargs):
    return {
        f"{name}__{lookup}": filter_class(name, lookup, **kwargs) for lookup in RANGES
    }


# Those that ask a column for exactly what the parameter says.
RANGE_FILTERS = (MomentFilter, filters.DateFilter, IntegerFilter, filters.NumberFilter)


def filter_set(
    model,
    fields: dict[str, models.Field],
    more: dict[str, filters.Filter] | None = None,
) -> type[filters.FilterSet]:
    """The FilterSet of a view's fields, and of `more` filters of its own.

    A filter that looks at other records names their `record_types`: the list is made
    from them too.
    """
    declared = dict(more or {})
    for name, field in fields.items():
        declared.update(filters_of(name, field))
    meta = type("Meta", (), {"model": model, "fields": []})
    return type(
        f"{model.__name__}Filter", (filters.FilterSet,), {**declared, "Meta": meta}
    )


@lru_cache(maxsize=1024)
def narrowed(filterset_class, names: frozenset[str]) -> type[filters.FilterSet]:
    """The FilterSet with these filters alone.

    One with all of a view's filters, which Django copies for each request, costs more
    than everything else that a list does.
    """
    chosen = {name: filterset_class.base_filters[name] for name in names}
    meta = type("Meta", (), {"model": filterset_class._meta.model, "fields": []})
    return type("Narrowed", (filters.FilterSet,), {**chosen, "Meta": meta})


class StrictFilterBackend(DjangoFilterBackend):
    """Filters by the view's `filterset_class`; nothing that is asked is ignored."""

    def filter_queryset(self, request, queryset, view):
        further, columns = view.further_filters(request.query_params)
        filters_of_view = {**view.filterset_class.base_filters, **further}
        for name, values in request.query_params.lists():
            if name not in filters_of_view and name not in view.query_parameters:
                raise bad_parameter(name, "Unknown parameter.", "unknown_parameter")
            if len(values) > 1:
                raise bad_parameter(name, "Given more than once.", "repeated")
            if name in filters_of_view:
                parts = values[0].split(",") if name.endswith("__in") else values
                if not all(part.strip() for part in parts):
                    raise bad_parameter(name, "Empty.", "blank")
                if len(parts) > MAX_CHOICES:
                    raise bad_parameter(name, "Too many values.", "max_length")
        names = frozenset(filters_of_view.keys() & request.query_params.keys())
        if not names:
            return queryset
        filterset_class = narrowed(view.filterset_class, names.difference(further))
        if further:
            filterset_class = type("Further", (filterset_class,), further)
            queryset = queryset.alias(**columns)
        filterset = filterset_class(request.query_params, queryset, request=request)
        if not filterset.is_valid():
            raise from_django(ValidationError(filterset.errors.as_data()))
        if view.binds_ranges:
            view.bound = bind(filterset)
        return filterset.qs


def bindable(model, one: filters.Filter | None) -> models.Field | None:
    """The column of which the filter asks a range that can be bound, if it does."""
    if one and one.lookup_expr in RANGES and type(one) in RANGE_FILTERS:
        return columns_of(model).get(one.field_name)
    return None


def bind(filterset: filters.FilterSet) -> dict[str, forms.Field]:
    """Bind the values of the ranges that are asked for (core.statements).

    Returns:
        What makes such a value of a text, by the name of the parameter.
    """
    form = filterset.form
    bound = {}
    for name, one in filterset.filters.items():
        if column := bindable(filterset.queryset.model, one):
            bound[name] = form.fields[name]
            form.cleaned_data[name] = Bound(name, column)
    return bound


class Search(SearchFilter):
    """Each word of `search` must stand in one of the view's `search_fields`.

    Of records one text holds all of them (core.search), which helps nobody from whom a
    part of it is hidden: for them each field is asked.
    """

    def filter_queryset(self, request, queryset, view):
        terms = self.get_search_terms(request)
        names = self.get_search_fields(view, request)
        if terms and not names:
            return queryset.none()
        if not issubclass(queryset.model, Record) or len(names) < len(
            queryset.model.searched_fields()
        ):
            return super().filter_queryset(request, queryset, view)
        words = search.plain_words(terms)
        if terms and not words:
            return queryset.none()
        return search.holding(queryset, words)

    def get_search_fields(self, view, request):
        if not issubclass(view.model, Record):
            return view.search_fields
        return search.shown_fields(view.model, request.user)

    def get_search_terms(self, request):
        text = request.query_params.get(self.search_param, "")
        if "\0" in text:
            raise bad_parameter(self.search_param, "Holds a NUL character.")
        terms = super().get_search_terms(request)
        if len(text) > MAX_SEARCH_LENGTH or len(terms) > MAX_SEARCH_WORDS:
            detail = (
                f"At most {MAX_SEARCH_WORDS} words, {MAX_SEARCH_LENGTH} characters."
            )
            raise bad_parameter(self.search_param, detail, "max_length")
        return terms


def ordering_of(request, view) -> list[tuple[str, bool]]:
    """The order that `ordering` asks for: (field, descending) pairs, ended by the id.

    The id makes the order total: no row is shown twice or skipped between pages.
    """
    asked = request.query_params.get("ordering") or view.default_ordering
    ordering = []
    for term in asked.split(","):
        name = term.strip().removeprefix("-")
        if name not in view.ordering_fields and name not in view.further_orderings(
            name
        ):
            raise bad_parameter(
                "ordering", f"Cannot order by '{name}'.", "unknown_ordering"
            )
        if name in dict(ordering):
            raise bad_parameter("ordering", f"'{name}' stands twice.", "repeated")
        ordering.append((name, term.strip().startswith("-")))
    if "id" not in dict(ordering):
        ordering.append(("id", ordering[-1][1]))
    return ordering
