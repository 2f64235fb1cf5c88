"""JSON in: strict, so that nothing a client sends surprises the code behind it."""

import json

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, MultiPartParser

from core.exceptions import TooLarge
from core.jsonvalues import MAX_DEPTH, MAX_NUMBER, check

# A parameter of which one piece has a number and another none: Django's parser fails.
MALFORMED_PART = "A part of the form has a malformed header."


class StrictJSONParser(BaseParser):
    """RFC 8259 JSON in UTF-8, without what silently loses or breaks data."""

    media_type = "application/json"

    def parse(self, stream, media_type=None, parser_context=None):
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise TooLarge()
        return loads(body)


class UploadParser(MultiPartParser):
    """A form with a file, refused where Django's parser fails at it."""

    def parse(self, stream, media_type=None, parser_context=None):
        try:
            return super().parse(stream, media_type, parser_context)
        except TypeError:
            raise ParseError(MALFORMED_PART) from None


def loads(text: bytes):
    """Parse JSON; ParseError for anything ambiguous, too deep or impossible to store.

    Refused beside bad syntax: duplicate keys, NaN and infinities, numbers beyond 64
    bits, NUL characters, lone surrogates, and nesting deeper than MAX_DEPTH.
    """
    try:
        value = json.loads(
            text.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_integer,
        )
    except UnicodeDecodeError:
        raise ParseError("The body is not UTF-8.") from None
    except RecursionError:
        raise ParseError(f"Nested more than {MAX_DEPTH} deep.") from None
    except ValueError as error:
        raise ParseError(f"Not JSON: {error}") from None
    # Only text that holds an escape or many brackets can hide what is refused here.
    if (
        b"\\u" in text
        or b"\0" in text
        or text.count(b"[") + text.count(b"{") > MAX_DEPTH
    ):
        try:
            check(value)
        except ValueError as error:
            raise ParseError(str(error)) from None
    return value


def _object(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} stands twice in one object")
    return result


def _refuse_constant(text):
    raise ValueError(f"{text} is not a JSON number")


def _float(text):
    value = float(text)
    if abs(value) > MAX_NUMBER:
        raise ValueError("a number is too large")
    return value


def _integer(text):
    if len(text) > 20 or abs(int(text)) > MAX_NUMBER:
        raise ValueError("a number is too large")
    return int(text)
