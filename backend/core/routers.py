from collections import defaultdict
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from django.conf import settings
from django.http import QueryDict
from django.urls import include, path
from rest_framework.routers import SimpleRouter

VIEWS: dict[type, type] = {}


class Router(SimpleRouter):
    """Addresses of record types: `/api/<name>/` and `/api/<name>/<uuid>/`."""

    def __init__(self):
        super().__init__(use_regex_path=False)

    def register(self, prefix, viewset, basename=None):
        VIEWS[viewset.model] = viewset
        super().register(prefix, viewset, basename)

    def get_urls(self):
        """One resolver for each prefix: all addresses of the others are one look."""
        prefixes = defaultdict(list)
        for pattern in super().get_urls():
            prefix, _, rest = str(pattern.pattern).partition("/")
            prefixes[prefix].append(path(rest, pattern.callback, name=pattern.name))
        return [path(f"{prefix}/", include(urls)) for prefix, urls in prefixes.items()]

    def get_default_basename(self, viewset):
        return viewset.model.record_type()


@dataclass
class Question:
    """What a view's filters and serializers read of a request, where there is none."""

    user: Any
    query_params: QueryDict = field(default_factory=QueryDict)


def view_of(model) -> type:
    """The view that answers for a model: its fields, filters and serializer."""
    import_module(settings.ROOT_URLCONF)
    return VIEWS[model]


def view_for(model, user, query_params=None, **attributes):
    """The view of a model as a user has it, outside of a request, as in a worker."""
    view = view_of(model)(action="list", kwargs={}, **attributes)
    view.request = Question(user, query_params or QueryDict())
    view.narrow()
    return view
