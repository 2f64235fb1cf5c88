from .api_key import ApiKey, in_90_days, revoke_keys
from .attempts import Attempts
from .role import LastAdministrator, Role, administrators
from .team import Team
from .user import User, UserManager

__all__ = [
    "ApiKey",
    "Attempts",
    "LastAdministrator",
    "Role",
    "Team",
    "User",
    "UserManager",
    "administrators",
    "in_90_days",
    "revoke_keys",
]
