"""Working through many things, some at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice


def batched(items: Iterable, size: int) -> Iterator[tuple]:
    """The items in tuples of `size`: `itertools.batched`, which Python 3.11 lacks."""
    waiting = iter(items)
    return iter(lambda: tuple(islice(waiting, size)), ())
