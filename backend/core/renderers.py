"""JSON out: UTF-8, UTC times ending in Z, decimals as strings."""

from decimal import Decimal

import orjson
from django.utils.encoding import force_str
from django.utils.functional import Promise
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer

OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC | orjson.OPT_NON_STR_KEYS


def dumps(data) -> bytes:
    return orjson.dumps(data, default=_default, option=OPTIONS)


def _default(value):
    if isinstance(value, Decimal | Promise):
        return force_str(value)
    if isinstance(value, str):  # ErrorDetail, TextChoices
        return str.__str__(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


class JSONRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data, accepted_media_type=None, renderer_context=None):
        return b"" if data is None else dumps(data)


class JSONOnly(BaseContentNegotiation):
    """The API speaks JSON, whatever the client's Accept header prefers."""

    def select_parser(self, request, parsers):
        content_type = request.content_type.split(";")[0].strip().lower()
        for parser in parsers:
            if parser.media_type == content_type:
                return parser
        return None

    def select_renderer(self, request, renderers, format_suffix=None):
        return renderers[0], renderers[0].media_type
