"""What the text of a cell means to fields that are stricter than spreadsheets are."""

import re
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from core.custom_fields.kinds import NO, YES, Date, decimal_of

_TIME = re.compile(r"(\d{1,2})(:\d{2}(?::\d{2})?)(?:\s*([AP]M))?", re.IGNORECASE)


def value_of(field: models.Field, text: str, zone: ZoneInfo):
    """The value of a cell for a field; its text where that is for the field to read.

    Args:
        zone: of moments that tell none.

    Raises:
        ValidationError: it is no such value, or may be several.
    """
    if isinstance(field, models.DateTimeField):
        return moment_of(text, zone)
    if isinstance(field, models.DateField):
        return Date().read(text, None, {})
    if isinstance(field, models.DecimalField):
        return number_of(text)
    if isinstance(field, models.IntegerField):
        number = number_of(text.removesuffix("%"))
        # What is no whole number is for the field to refuse.
        return int(number) if number == int(number) else text
    return text


def moment_of(text: str, zone: ZoneInfo) -> datetime:
    """A moment as ISO 8601 has it, or a day, which begins at midnight.

    A time behind a day may be of a clock with twelve hours.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        day, _, time = text.partition(" ")
        date = Date().read(day, None, {})
        try:
            moment = datetime.fromisoformat(f"{date} {_of_24_hours(time)}".strip())
        except ValueError:
            raise _wrong("This is no moment; write 2026-12-31 18:30.") from None
    try:
        if timezone.is_naive(moment):
            moment = timezone.make_aware(moment, zone)
        return moment.astimezone(UTC)
    except OverflowError:
        raise _wrong("There is no such moment.") from None


def _of_24_hours(time: str) -> str:
    parts = _TIME.fullmatch(time)
    if parts is None:
        return time
    hour, half = int(parts[1]), (parts[3] or "").upper()
    if half and not 1 <= hour <= 12:
        return time
    if half:
        hour = hour % 12 + (12 if half == "PM" else 0)
    return f"{hour:02}{parts[2]}"


def number_of(text: str) -> Decimal:
    """With either decimal separator, and whatever sign of a currency."""
    digits = "".join(c for c in text if unicodedata.category(c) != "Sc").strip()
    number = decimal_of(digits) if digits else None
    if number is None:
        raise _wrong("This is no number.")
    return number


def is_yes(text: str) -> bool:
    if text.casefold() not in YES | NO:
        raise _wrong("This is neither yes nor no.")
    return text.casefold() in YES


def _wrong(detail: str) -> ValidationError:
    return ValidationError(detail, code="invalid")
