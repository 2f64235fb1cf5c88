"""Which JSON values the program keeps: those that come back as they were given."""

import math

MAX_DEPTH = 32
# orjson writes integers of 64 bits, and PostgreSQL gives back 1e20 as an integer.
MAX_NUMBER = 2**63 - 1


def check(value, depth: int = 0) -> None:
    """Raise ValueError for a JSON value that no database and no answer can carry."""
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("A number is not finite.")
    elif isinstance(value, int | float) and abs(value) > MAX_NUMBER:
        raise ValueError("A number is too large.")
    elif isinstance(value, dict | list):
        if depth == MAX_DEPTH:
            raise ValueError(f"Nested more than {MAX_DEPTH} deep.")
        for name in value if isinstance(value, dict) else ():
            _check_text(name)
        for item in value.values() if isinstance(value, dict) else value:
            check(item, depth + 1)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("A text holds a NUL character.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("A text holds half a surrogate pair.") from None


def storable(text: str, length: int) -> str:
    """What a database and an answer can carry of a text from anywhere."""
    text = text.replace("\0", "").encode(errors="replace").decode()
    return text[:length]
