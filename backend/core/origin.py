"""Where a request comes from, as the journal and the security events keep it."""

from contextvars import ContextVar

from django.conf import settings
from django.utils.functional import LazyObject

from core.jsonvalues import storable

ADDRESS_LENGTH = 45
USER_AGENT_LENGTH = 300
NAMES = ("request_id", "address", "user_agent")


# The request that this thread answers, for the logs.
request_now: ContextVar = ContextVar("request_now", default=None)


def actor(request) -> tuple[str, str]:
    """Ids of a request's user and their organization, blank as long as it is unknown.

    Nobody is looked up for it: that is for the view, which may have reasons not to.
    """
    user = vars(request).get("user")
    if isinstance(user, LazyObject):
        user = vars(request).get("_cached_user")
    if user is None or user.pk is None:
        return "", ""
    return str(user.pk), str(user.organization_id or "")


def client_address(request) -> str:
    """The address of the client: of the connection, or as the outermost of our own
    proxies saw it."""
    address = request.META.get("REMOTE_ADDR", "")
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    if settings.NUM_PROXIES and len(forwarded) >= settings.NUM_PROXIES:
        address = forwarded[-settings.NUM_PROXIES].strip() or address
    return storable(address, ADDRESS_LENGTH)


def origin(request) -> dict[str, str]:
    """The request's id, and its client's address and program; blank where unknown."""
    agent = request.META.get("HTTP_USER_AGENT", "")
    return {
        "request_id": getattr(request, "id", ""),
        "address": client_address(request),
        "user_agent": storable(agent, USER_AGENT_LENGTH),
    }


def kept_origin(params: dict) -> dict[str, str]:
    """The `origin` among the params of a job: that of the request that asked for it."""
    return {name: params.get(name, "") for name in NAMES}
