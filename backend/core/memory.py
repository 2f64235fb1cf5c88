"""What a process remembers."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock


class Memory:
    """At most so much, and the latest used the longest."""

    def __init__(self, size: int):
        self.size = size
        self._entries = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable):
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def put(self, key: Hashable, entry) -> None:
        with self._lock:
            self._entries[key] = entry
            self._entries.move_to_end(key)
            if len(self._entries) > self.size:
                self._entries.popitem(last=False)

    def kept(self, key: Hashable, make: Callable):
        """The entry; what `make` gives, where there is none yet."""
        entry = self.get(key)
        if entry is None:
            entry = make()
            self.put(key, entry)
        return entry

    def same(self, value: Hashable):
        """The value, or an equal one that was there before: many take one's place."""
        return self.kept(value, lambda: value)
