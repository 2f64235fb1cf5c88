"""What an API key may be limited to, worked out from the record types there are.

A scope is named `<records>:<what>`, such as `contacts:read`. It allows nothing by
itself: a key does what one of its scopes and the present role of its owner both allow.
Keys and the organization are beyond every scope; people, teams and roles can be read.
"""

from collections import defaultdict
from functools import lru_cache

from django.utils.text import slugify

from core.access import Verb
from core.registry import journaled_types

WHAT = {
    "read": {Verb.VIEW},
    "write": {Verb.CREATE, Verb.EDIT, Verb.ASSIGN},
    "delete": {Verb.DELETE},
    "export": {Verb.EXPORT},
    "import": {Verb.IMPORT},
}
# What the journal does not follow: its names in rights, and what a key may do with it.
BESIDES = {
    "changeset": ("change-sets", ["read"]),
    "job": ("jobs", ["read", "write"]),
    "notification": ("notifications", ["read", "write"]),
    "auditlog": ("audit-log", ["read", "export"]),
}


@lru_cache(maxsize=1)
def scopes() -> dict[str, frozenset[tuple[str, str]]]:
    """Every scope by its name: the (record type, verb) pairs that it covers."""
    named = {
        name: (slugify(model.plural()), model.key_scopes)
        for name, model in journaled_types().items()
    }
    covered = defaultdict(set)
    for name, (plural, allowed) in {**named, **BESIDES}.items():
        for what in allowed:
            covered[f"{plural}:{what}"] |= {(name, verb) for verb in WHAT[what]}
    return {name: frozenset(pairs) for name, pairs in covered.items()}


def covers(names, record_type: str, verb: str) -> bool:
    """Whether one of the scopes with these names covers the verb on the type."""
    known = scopes()
    return any((record_type, verb) in known.get(name, ()) for name in names)
