"""Which models are record types: found by their base class, not listed anywhere."""

from functools import lru_cache

from django.apps import apps

from core.models.organization import OrganizationSettings
from core.models.record import Journaled, Record


@lru_cache(maxsize=1)
def journaled_types() -> dict[str, type[Journaled]]:
    """Every model that the journal follows, by its record type's name."""
    models = [m for m in apps.get_models() if issubclass(m, Journaled)]
    return {model.record_type(): model for model in models}


@lru_cache(maxsize=1)
def record_types() -> dict[str, type[Record]]:
    """Every business record type, by name."""
    return {n: m for n, m in journaled_types().items() if issubclass(m, Record)}


@lru_cache(maxsize=1)
def importable_types() -> dict[str, type[Record]]:
    """The record types that files can be imported as, by name."""
    return {n: m for n, m in record_types().items() if m.is_importable}


@lru_cache(maxsize=1)
def searched_types() -> dict[str, type[Record]]:
    """The record types that hold words, as links between records do not, by name."""
    return {n: m for n, m in record_types().items() if m.searched_fields()}


@lru_cache(maxsize=1)
def inherited_types() -> dict[str, type[Record]]:
    """The record types of which a successor takes over what somebody owns, by name."""
    return {n: m for n, m in record_types().items() if not m.is_personal}


@lru_cache(maxsize=1)
def system_types() -> dict[str, type[Journaled]]:
    """What else people have rights on by its name, such as users and pipelines."""
    others = {*record_types(), *settings_types()}
    return {n: m for n, m in journaled_types().items() if n not in others}


@lru_cache(maxsize=1)
def settings_types() -> frozenset[str]:
    """The names of what follows the right on the organization."""
    return frozenset(
        name
        for name, model in journaled_types().items()
        if issubclass(model, OrganizationSettings)
    )
