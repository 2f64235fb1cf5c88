"""Who is mentioned in a text: `@{id of a user}`, `@ada`, or `@ada@example.com`.

A frontend that lets one pick a colleague writes the id, which stays right whatever they
are called later. By hand one writes the whole e-mail address, or what stands before its
`@`: that mentions somebody only if no colleague has the same before it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Q

from core import access
from core.models import Record

MENTION = re.compile(
    r"(?<![\w@.])@(?:\{([0-9a-fA-F-]{36})\}|([\w.+-]*\w(?:@[\w.-]*\w)?))", re.ASCII
)
# In one text; who mentions more wants a mailing list.
MAX_MENTIONS = 20


def mentioned(text: str) -> set[str]:
    """What is mentioned in a text: ids, addresses, and parts of addresses."""
    found = {}
    for match in MENTION.finditer(text):
        pk, name = match.groups()
        try:
            found[str(UUID(pk)) if pk else name.lower()] = None
        except ValueError:
            continue
        if len(found) == MAX_MENTIONS:
            break
    return set(found)


def mentions(actor, texts: Iterable[tuple]) -> Iterator[tuple[UUID, Record]]:
    """The users mentioned anew, each with the record: those who may see it there.

    Args:
        actor: whose words they are; they do not mention themselves.
        texts: (record, name of the field, its text, and what it was before or None).
    """
    named = defaultdict(list)
    for record, field, text, before in texts:
        for name in mentioned(text) - mentioned(before or ""):
            named[name].append((record, field))
    if not named:
        return
    of_user = defaultdict(list)
    for user, name in people(actor, named):
        of_user[user] += named[name]
    for user, places in of_user.items():
        yield from ((user.pk, record) for record in _seen(user, places))


def people(actor, names: Iterable[str]) -> Iterator[tuple]:
    """(user, name) of each name that says who is meant."""
    wanted = Q()
    for name in names:
        if _is_id(name):
            wanted |= Q(pk=name)
        elif "@" in name:
            wanted |= Q(email=name)
        else:
            wanted |= Q(email__startswith=f"{name}@")
    users = get_user_model().objects.filter(wanted, is_active=True)
    users = users.filter(organization=actor.organization_id).exclude(pk=actor.pk)
    users = list(users.select_related("organization", "role", "team"))
    for name in names:
        meant = [
            user
            for user in users
            if name in (str(user.pk), user.email, user.email.partition("@")[0])
        ]
        if len(meant) == 1:
            yield meant[0], name


def _is_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def _seen(user, places: list[tuple[Record, str]]) -> list[Record]:
    """The records of those that the user sees, with the field that mentions them."""
    seen = {}
    for record, field in places:
        model = type(record)
        if field not in access.hidden_fields(user, model.record_type()):
            seen.setdefault(model, {})[record.pk] = record
    return [
        records[pk]
        for model, records in seen.items()
        for pk in model.objects.visible_to(user)
        .filter(pk__in=records)
        .values_list("pk", flat=True)
    ]
