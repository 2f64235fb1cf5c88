from .api_key import ApiKey, in_90_days, revoke_keys
from .attempts import Attempts
from .letter import Letter
from .role import LastAdministrator, Role, administrators
from .team import Team
from .user import User, UserManager

__all__ = [
    "ApiKey",
    "Attempts",
    "LastAdministrator",
    "Letter",
    "Role",
    "Team",
    "User",
    "UserManager",
    "administrators",
    "in_90_days",
    "revoke_keys",
]
