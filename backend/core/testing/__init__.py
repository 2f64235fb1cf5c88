"""What the tests of all apps share: a cast of people, and the contract of records."""

from .broker import broker_away
from .contract import RecordContract
from .people import (
    ALL,
    MARKER,
    OWN,
    PASSWORD,
    Cast,
    client_of,
    make_organization,
    make_role,
    make_team,
    make_user,
    system_changes,
)
from .runner import Runner

__all__ = [
    "ALL",
    "MARKER",
    "OWN",
    "PASSWORD",
    "Cast",
    "RecordContract",
    "Runner",
    "broker_away",
    "client_of",
    "make_organization",
    "make_role",
    "make_team",
    "make_user",
    "system_changes",
]
