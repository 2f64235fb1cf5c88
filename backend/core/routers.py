from importlib import import_module

from django.conf import settings
from rest_framework.routers import SimpleRouter

VIEWS: dict[type, type] = {}


class Router(SimpleRouter):
    """Addresses of record types: `/api/<name>/` and `/api/<name>/<uuid>/`."""

    def __init__(self):
        super().__init__(use_regex_path=False)

    def register(self, prefix, viewset, basename=None):
        VIEWS[viewset.model] = viewset
        super().register(prefix, viewset, basename)

    def get_default_basename(self, viewset):
        return viewset.model.record_type()


def view_of(model) -> type:
    """The view that answers for a model: its fields, filters and serializer.

    For what happens outside of a request, such as in a worker.
    """
    import_module(settings.ROOT_URLCONF)
    return VIEWS[model]
