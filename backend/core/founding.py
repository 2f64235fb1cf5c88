"""How an organization begins."""

from core.models import Changes, Organization
from core.registry import journaled_types


def found(changes: Changes, organization: Organization, **fields) -> None:
    """Save a new organization, with what every one starts with (`Journaled.initial`).

    Args:
        changes: a change set of this very organization.
    """
    changes.save(organization, **fields)
    for model in journaled_types().values():
        for row in model.initial():
            changes.save(row)
