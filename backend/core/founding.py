"""How an organization begins."""

from core.models import Changes, Organization
from core.registry import journaled_types


def found_organization(changes: Changes, organization: Organization, **fields) -> None:
    """Save a new organization, with what every one starts with.

    That is what `Journaled.founding_rows` of each type says.

    Args:
        changes: a change set of this very organization.
    """
    changes.save(organization, **fields)
    for model in journaled_types().values():
        for row in model.founding_rows():
            changes.save(row)
