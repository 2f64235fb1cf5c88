"""Where a request comes from, as the journal and the security events keep it."""

from core.jsonvalues import storable

ADDRESS_LENGTH = 45
USER_AGENT_LENGTH = 300
NAMES = ("request_id", "address", "user_agent")


def client_address(request) -> str:
    return storable(request.META.get("REMOTE_ADDR", ""), ADDRESS_LENGTH)


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
