from rest_framework.routers import SimpleRouter


class Router(SimpleRouter):
    """Addresses of record types: `/api/<name>/` and `/api/<name>/<uuid>/`."""

    def __init__(self):
        super().__init__(use_regex_path=False)

    def get_default_basename(self, viewset):
        return viewset.model.record_type()
