"""The OpenAPI document, as it is served."""

from functools import cache

from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularJSONAPIView


class SchemaView(SpectacularJSONAPIView):
    """Gives the same document to everybody, whoever asks and whatever they add.

    Nobody needs to be signed in for it, and making it takes over a second.
    """

    @extend_schema(exclude=True)
    def get(self, request):
        return HttpResponse(
            document(),
            content_type=OpenApiJsonRenderer.media_type,
            headers={
                "Content-Disposition": 'inline; filename="MyCRM.json"',
                "Cache-Control": "max-age=600",
            },
        )


@cache
def document() -> bytes:
    """Made once in a process: only a new version has another."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    return OpenApiJsonRenderer().render(schema, renderer_context={})
